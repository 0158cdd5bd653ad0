package sharding

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"lockd/consensus"
	"lockd/consensus/transport"
	"lockd/httpapi"
	"lockd/lease"
	"lockd/lease/leasepb"
)

// Every request is answered within its wait and five seconds: the first part
// of them is for the answer, the rest to make sure that a place whose answer
// did not come is given up.
const (
	answerWithin = 3500 * time.Millisecond
	settleWithin = 1400 * time.Millisecond
	// goneWithin is how long a place is followed whose client is gone.
	goneWithin = 10 * time.Second
)

// caller asks other nodes. It is a *consensus.Node.
type caller interface {
	Call(to consensus.NodeID, payload []byte, done func([]byte, error)) (cancel func())
}

// Router carries what clients of this node ask for to the leaders of the
// groups, and tries again where nothing can have been done, or where doing it
// twice is the same as once. Its methods may be called from any goroutine.
type Router struct {
	self     consensus.NodeID
	boot     uint64
	peers    caller
	replica  func(consensus.GroupID) (group, *shard) // nil, nil: none here
	atlas    *atlas
	attempts atomic.Uint64
	stopping chan struct{} // closed when nothing may wait here any more
	calls    sync.Pool
}

func newRouter(self consensus.NodeID, boot uint64, peers caller, replica func(consensus.GroupID) (group, *shard), a *atlas) *Router {
	return &Router{self: self, boot: boot, peers: peers, replica: replica, atlas: a, stopping: make(chan struct{})}
}

// topology returns what is known of the cluster, and waits for it on a node
// that has just started.
func (r *Router) topology(ctx context.Context) (*Topology, error) {
	if t := r.atlas.load(); t != nil {
		return t, nil
	}
	limit := time.NewTimer(leaderless)
	defer limit.Stop()
	for {
		t, changed := r.atlas.watch()
		if t != nil {
			return t, nil
		}
		select {
		case <-changed:
		case <-limit.C:
			return nil, &httpapi.UnavailableError{RetryAfter: time.Second, Reason: "the cluster has not been made yet"}
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-r.stopping:
			return nil, errStopping
		}
	}
}

// search begins to look for the leader of a group, and does so until latest at
// most.
func (r *Router) search(id consensus.GroupID, latest time.Time) (search, error) {
	g, _ := r.replica(id)
	if g == nil {
		return search{}, &httpapi.UnavailableError{RetryAfter: time.Second, Reason: "the group is not started on this node"}
	}
	return search{self: r.self, id: id, group: g, latest: latest}, nil
}

// ask puts one question to one replica. It returns the call if no answer came
// in time; the caller then gives it up.
func (r *Router) ask(ctx context.Context, stopping <-chan struct{}, s *search, t target, q *question, limit time.Time) (any, *call, error) {
	c := r.call(s.id)
	if t.local {
		c.local(s.group, t.term, q)
	} else if err := c.remote(r.peers, t, q); err != nil {
		return nil, nil, err
	}
	if !c.wait(ctx, limit, stopping) {
		return nil, c, nil
	}
	answer, err := c.answer, c.err
	r.free(c)
	return answer, nil, err
}

func (r *Router) call(id consensus.GroupID) *call {
	c, ok := r.calls.Get().(*call)
	if !ok {
		c = newCall()
	}
	c.group = id
	return c
}

// free takes back a call that was answered. One that was not must be left to
// whoever still has its funcs.
func (r *Router) free(c *call) {
	c.answer, c.err, c.cancel, c.waiter = nil, nil, nil, nil
	r.calls.Put(c)
}

// query asks a group's leader something that changes nothing, as often as is
// needed.
func (r *Router) query(ctx context.Context, id consensus.GroupID, q any) (any, error) {
	limit := time.Now().Add(answerWithin)
	s, err := r.search(id, limit)
	if err != nil {
		return nil, err
	}
	for {
		t, err := s.next(ctx, nil)
		if err != nil {
			return nil, err
		}
		answer, open, err := r.ask(ctx, nil, &s, t, &question{query: q}, limit)
		switch {
		case open != nil:
			open.giveUp(s.group)
			return nil, whyNot(ctx)
		case err == nil:
			return answer, nil
		case errors.Is(err, lease.ErrLeaseNotFound):
			return nil, err
		case overloaded(err):
			return nil, errOverloaded
		}
		s.failed(t, err)
	}
}

// whyNot is the error for an answer that did not come.
func whyNot(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return &httpapi.UnavailableError{RetryAfter: time.Second, Reason: "no answer in time"}
}

var errOverloaded = &httpapi.UnavailableError{RetryAfter: 100 * time.Millisecond, Reason: "overloaded"}

func overloaded(err error) bool {
	return errors.Is(err, consensus.ErrOverloaded) || errors.Is(err, transport.ErrOverloaded)
}

// maybeDone tells whether what failed may have been done after all. What is
// not known to be harmless counts as that.
func maybeDone(err error) bool {
	var unavailable *httpapi.UnavailableError
	return !errors.As(err, &unavailable) && !certainlyNot(err) && !overloaded(err) && !errors.Is(err, consensus.ErrUnreachable) && !errors.Is(err, consensus.ErrNoGroup) &&
		!errors.Is(err, lease.ErrWrongGroup) && !errors.Is(err, errMalformed) && !errors.Is(err, transport.ErrTooLarge)
}

// newID makes the id of a new lease.
func newID(namespace string) lease.ID {
	var random [12]byte
	rand.Read(random[:]) // never fails
	return lease.NewID(namespace, random)
}

func (r *Router) attempt() *leasepb.Attempt {
	return &leasepb.Attempt{Boot: r.boot, Id: r.attempts.Add(1)}
}
