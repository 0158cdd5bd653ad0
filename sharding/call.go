package sharding

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"lockd/consensus"
	"lockd/lease/leasepb"
	"lockd/sharding/shardpb"
)

// call is one question to one replica, here or on another node. Its funcs are
// made once, so that a call that is used again costs no memory.
type call struct {
	group  consensus.GroupID
	done   chan struct{} // has a value when the answer is there
	answer any
	err    error
	cancel func() // of a question to another node, once it was sent
	timer  *time.Timer

	// Of the goroutine of a group of this node.
	waiter *waiter
	gone   bool // nobody takes the answer any more

	onApplied func(any, error)
	onSettled func(*leasepb.Result, error)
	onWire    func([]byte, error)
}

func newCall() *call {
	c := &call{done: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	c.onApplied, c.onSettled, c.onWire = c.applied, c.settled, c.wire
	return c
}

// local asks a group of this node.
func (c *call) local(g group, term uint64, a *question) {
	if a.query != nil {
		g.Query(a.query, c.onApplied)
		return
	}
	g.Propose(consensus.Proposal{Data: a.command, Term: term, Done: c.onApplied})
}

// remote asks another node.
func (c *call) remote(peers caller, t target, a *question) error {
	raw, err := a.encode(c.group, t.term)
	if err != nil {
		return err
	}
	c.cancel = peers.Call(t.node, raw, c.onWire)
	return nil
}

func (c *call) applied(answer any, err error) {
	switch answer := answer.(type) {
	case *waiter:
		c.waiter = answer
		answer.then(c.onSettled)
		if c.gone {
			answer.abandon()
		}
	case *leasepb.Result:
		c.finish(answer, queuedElsewhere(answer))
	default:
		c.finish(answer, err)
	}
}

func (c *call) settled(r *leasepb.Result, err error) { c.finish(r, err) }

func (c *call) wire(raw []byte, err error) {
	var answer any
	if err == nil {
		answer, err = decodeAnswer(c.group, raw)
	}
	c.finish(answer, err)
}

func (c *call) finish(answer any, err error) {
	if failed, ok := answer.(error); ok {
		answer, err = nil, failed
	}
	c.answer, c.err = answer, err
	c.done <- struct{}{}
}

// wait returns true when the answer is there, false when ctx, the time or the
// node's came first.
func (c *call) wait(ctx context.Context, limit time.Time, stopping <-chan struct{}) bool {
	c.timer.Reset(time.Until(limit))
	defer c.timer.Stop()
	select {
	case <-c.done:
		return true
	case <-ctx.Done():
	case <-c.timer.C:
	case <-stopping:
	}
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// giveUp tells the other side that nobody takes the answer any more.
func (c *call) giveUp(g group) {
	if c.cancel != nil {
		c.cancel()
		return
	}
	abandon(g, c)
}

func (c *call) abandon() {
	c.gone = true
	if c.waiter != nil {
		c.waiter.abandon()
	}
}

// question is what a replica is asked: a command's bytes, or a query.
type question struct {
	command []byte
	query   any
}

func (a *question) encode(group consensus.GroupID, term uint64) ([]byte, error) {
	req := &shardpb.Request{Group: uint64(group), Term: term}
	switch q := a.query.(type) {
	case nil:
		req.Ask = &shardpb.Request_Command{Command: a.command}
	case *keepalive:
		req.Ask = &shardpb.Request_Renew{Renew: encodeKeepalive(q.ids)}
	case *shardpb.LockQuery:
		req.Ask = &shardpb.Request_Lock{Lock: q}
	case *shardpb.LeaseQuery:
		req.Ask = &shardpb.Request_Lease{Lease: q}
	case *shardpb.LocksQuery:
		req.Ask = &shardpb.Request_Locks{Locks: q}
	case *shardpb.LeasesQuery:
		req.Ask = &shardpb.Request_Leases{Leases: q}
	case *shardpb.NamespacesQuery:
		req.Ask = &shardpb.Request_Namespaces{Namespaces: q}
	}
	return proto.Marshal(req)
}
