package consensus

import (
	"encoding/binary"
	"time"
)

// A query waits for a moment at which the state may be read.
type query struct {
	query    any
	received time.Duration
	stale    bool
	done     func(any, error)
}

// round is one confirmation of leadership that all queries share which were
// waiting when it was asked for (R5): a heartbeat with a context that was
// never used before, acknowledged by a quorum.
type round struct {
	context   string
	term      uint64
	asked     time.Duration
	index     uint64 // to be applied before the queries run; 0: not confirmed yet
	queries   []query
	confirmed bool
}

// contexts makes ReadIndex contexts that are unique over nodes, groups and
// restarts (R21): node id, random boot number, group, counter.
type contexts struct {
	node, boot, group, counter uint64
}

func (c *contexts) next() []byte {
	c.counter++
	b := make([]byte, 0, 32)
	for _, v := range [...]uint64{c.node, c.boot, c.group, c.counter} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}
