package transport

import "errors"

var (
	// ErrUnreachable comes when something was not sent at all, because there
	// is no link to the node. Nothing was done.
	ErrUnreachable = errors.New("node unreachable")

	// ErrLinkLost comes when the link broke after a request was sent and
	// before its answer came. It may or may not have been done.
	ErrLinkLost = errors.New("link lost before the answer came")

	// ErrOverloaded comes when too much waits to be sent to a node, or for its
	// answers. Nothing was done; trying again after a moment is safe.
	ErrOverloaded = errors.New("overloaded: too much waits for this node")

	// ErrTooLarge comes for a request that no link carries. Nothing was done.
	ErrTooLarge = errors.New("request too large")
)
