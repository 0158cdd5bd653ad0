// Package sharding makes one service of many groups: it says which group has a
// namespace, carries requests to that group's leader, and is what the groups
// replicate.
//
// It decides nothing about locks, which is package lease's, nor about the order
// of entries, which is package consensus's. It adds what only a leader can:
// time, and the patience to answer later.
//
// Its parts, from the log up:
//   - system: the state machine of group 0. The cluster's id, secret, members
//     and ring are in its log and nowhere else; the atlas is where the others
//     read them.
//   - shard: the state machine of a data group. While it leads, a leader
//     beside it has the timers, those who wait, and what is to be proposed.
//   - feed: the recent events of a group, on every replica.
//   - Router: from a client's command to a leader, here or on another node,
//     and again where that is safe.
//   - Node: all of them in one process, from Open to Close.
//
// Rules kept here (the names are those of the protocol's rules):
//  1. what ends by time is measured by the leader alone, in full from the start
//     of its term, and ended by an entry with that term (R-time);
//  2. a keepalive is answered only for a lease that is alive after leadership
//     was confirmed (R5), and not while its Expire is open (R6);
//  3. a wait ends by a Cancel in the log, and is answered when that was applied
//     (R13); so is that of a process which cannot be reached;
//  4. a grant that reaches nobody is undone, unless a retry can ask for it;
//  5. nothing is sent again that may have been done and is not the same when it
//     is done twice; no lease id is made twice, no attempt is sent twice;
//  6. a request says in which term it believes; no other term appends it;
//  7. every request is answered within its wait and five seconds.
//
// A shard and what hangs on it belong to their group's goroutine. Router and
// Node may be used from any.
package sharding
