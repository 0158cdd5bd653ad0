// Package lease is the replicated state of one raft group: its leases, its
// locks with their holders and queues, and the idempotency keys it remembers.
//
// It is pure: Apply depends on the state and the entry alone. It has no notion
// of time, and knows nothing of raft, HTTP or the other groups. What must
// happen later is told to the caller as timers (Outcome.Timers); the leader
// measures them and proposes the entry that ends what ran out.
//
// Rules kept by State, and verified by Check:
//  1. a lock never has more holders than its mode and limit allow;
//  2. every holder and waiter belongs to a lease that exists, and has exactly
//     one place per lease and lock;
//  3. the tokens granted for one lock strictly increase, and none is above the
//     group's counter;
//  4. a queue is in order of arrival, and nothing that could be granted waits;
//  5. a request for several locks has all of them or none: while it waits it
//     has a place in the queue of each lock that its lease does not hold;
//  6. a lock that nobody holds or waits for and that is not closed, and a
//     one-shot lease that neither holds nor waits, is not there;
//  7. a key is pending exactly while its request waits;
//  8. everything lies in the hash ranges that the group owns.
//
// Apply refuses what it cannot do with a Code and then changes nothing. It
// assumes nothing of a command beyond what DecodeCommand makes sure of: one
// that no edge should have proposed is refused as INVALID, the same on every
// replica. It panics only when the state itself is broken.
//
// All methods of State are called by one goroutine. A Snapshot, once taken,
// may be encoded by any, while Apply goes on.
package lease
