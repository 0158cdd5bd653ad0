package consensus

import (
	"errors"
	"fmt"

	"lockd/consensus/transport"
)

var (
	// ErrOutcomeUnknown comes when a proposal may or may not be applied: its
	// leader lost its place, and the log did not tell within the time allowed.
	// Only an idempotent command may be tried again.
	ErrOutcomeUnknown = errors.New("outcome unknown: it may or may not have been applied")

	// ErrOverloaded comes when a queue of the group is full. Nothing was done;
	// trying again after a moment is safe.
	ErrOverloaded = errors.New("overloaded: a queue is full")

	// ErrStopped comes when the node is shutting down. Nothing was done.
	ErrStopped = errors.New("the node is stopping")

	// ErrNoGroup comes for a group that this node has no replica of.
	ErrNoGroup = errors.New("no replica of this group here")

	// ErrUnreachable comes when a request could not be sent to a node at all.
	// Nothing was done.
	ErrUnreachable = transport.ErrUnreachable

	// ErrLinkLost comes when the link to a node broke after a request was
	// sent and before its answer came. It may or may not have been done.
	ErrLinkLost = transport.ErrLinkLost
)

// NotLeaderError comes from a replica that does not lead, or no longer does.
// What was asked is certainly not done.
type NotLeaderError struct {
	Group GroupID
	// Leader is who this replica believes leads, 0 if it knows nobody.
	Leader NodeID
	// Term is this replica's term.
	Term uint64
}

func (e *NotLeaderError) Error() string {
	if e.Leader == 0 {
		return fmt.Sprintf("group %d: no leader known at term %d", e.Group, e.Term)
	}
	return fmt.Sprintf("group %d: node %d leads at term %d, not this one", e.Group, e.Leader, e.Term)
}
