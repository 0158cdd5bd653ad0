package consensus

import (
	"io"
	"time"
)

// NodeID is a node's raft id. It is given once and never reused: a node that
// lost its disk comes back under a new one.
type NodeID uint64

// GroupID names a raft group. Group 0 is the system group.
type GroupID uint64

// Entry is a committed entry of a group's log as its StateMachine sees it.
type Entry struct {
	Index uint64
	Term  uint64
	// Data is what was proposed. It is valid only during Apply.
	Data []byte
}

// Proposal is something to be appended to a group's log.
type Proposal struct {
	Data []byte
	// Term, if not 0, is the only term in which the proposal may be appended.
	Term uint64
	// Done is called exactly once, on the group's goroutine, with what Apply
	// returned for the entry, or with an error: *NotLeaderError and
	// ErrOverloaded mean certainly not done, ErrOutcomeUnknown means that it
	// may or may not be. It must not block.
	Done func(result any, err error)
}

// StateMachine is what a group replicates. consensus knows nothing of what the
// entries mean.
//
// All methods but those of a Snapshot are called by the one goroutine that
// owns the group; a StateMachine needs no locks. now is the time on the node's
// monotonic clock since the process started, the same clock for all calls.
type StateMachine interface {
	// Apply applies a committed entry and returns what its proposer gets. Same
	// entries, same state on every replica. An entry that cannot be decoded is
	// corruption: Apply panics.
	Apply(now time.Duration, e Entry) any

	// Query answers a read. A linearizable one is asked for only while this
	// replica leads, after leadership was confirmed by a quorum at a moment
	// after the query was received, and after the confirmed index was applied.
	// received is when the node got it.
	Query(now, received time.Duration, query any) any

	// Lead is called when this replica leads term and has applied an entry of
	// that term: timers start in full here.
	Lead(now time.Duration, term uint64)

	// Follow is called when the leadership announced by Lead is over: what
	// waits here for this leader's answer must fail with a retryable error.
	Follow()

	// Turn is called at the end of each turn of the group's loop, after
	// everything that had arrived was handled; gap is how long the loop did
	// not run if that was longer than half an election timeout, else 0. It
	// returns what the machine itself wants to propose (only while it leads)
	// and when it wants to be called again at the latest (0: no wish).
	Turn(now, gap time.Duration) (proposals []Proposal, wake time.Duration)

	// Snapshot returns the state as it is, in O(1). Reading it must be safe
	// while Apply goes on.
	Snapshot() Snapshot

	// Restore reads a snapshot, on any goroutine, without touching the present
	// state; install, called on the group's goroutine, replaces the state.
	Restore(r io.Reader) (install func(), err error)
}

// Snapshot is a state at one index.
type Snapshot interface {
	// Encode writes the state as a stream. It may take long, and runs on a
	// goroutine of its own.
	Encode(w io.Writer) error
}
