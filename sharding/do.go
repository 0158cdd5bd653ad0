package sharding

import (
	"context"
	"slices"
	"time"

	"lockd/consensus"
	"lockd/httpapi"
	"lockd/lease"
	"lockd/lease/leasepb"
)

// Do implements httpapi.Service.
func (r *Router) Do(ctx context.Context, cmd *leasepb.Command) (*leasepb.Result, error) {
	began := time.Now()
	id, err := r.home(ctx, cmd)
	if err != nil {
		return nil, err
	}
	e, err := r.errand(id, cmd, began)
	if err != nil {
		return nil, err
	}
	result, err := e.run(ctx)
	if err != nil {
		return nil, err
	}
	if err := lease.ResultError(result); err != nil {
		return nil, err
	}
	return result, nil
}

// home returns the group of a command. All that it names must be in one.
func (r *Router) home(ctx context.Context, cmd *leasepb.Command) (consensus.GroupID, error) {
	topology, err := r.topology(ctx)
	if err != nil {
		return 0, err
	}
	h := homes{ring: topology.Ring}
	switch op := cmd.Op.(type) {
	case *leasepb.Command_CreateLease:
		h.namespace(op.CreateLease.Namespace)
	case *leasepb.Command_Acquire:
		for _, l := range op.Acquire.Locks {
			h.namespace(l.Namespace)
		}
		if op.Acquire.OneShot == nil {
			h.lease(op.Acquire.Lease)
		}
	case *leasepb.Command_Release:
		h.lease(op.Release.Lease)
		for _, l := range op.Release.Locks {
			h.namespace(l.Namespace)
		}
	case *leasepb.Command_EndLease:
		h.lease(op.EndLease.Lease)
	case *leasepb.Command_ForceRelease:
		h.namespace(op.ForceRelease.Lock.GetNamespace())
	}
	if h.group == 0 || h.several {
		return 0, lease.ErrOtherGroup
	}
	return h.group, nil
}

// homes gathers the groups of what a command names.
type homes struct {
	ring    *Ring
	group   consensus.GroupID
	several bool
}

func (h *homes) namespace(name string) { h.hash(lease.HashNamespace(name)) }

func (h *homes) lease(raw []byte) { h.hash(idOf(raw).Hash()) }

func (h *homes) hash(hash uint64) {
	g := h.ring.Group(hash)
	h.several = h.several || (h.group != 0 && h.group != g)
	h.group = g
}

// errand is one command until it has its answer.
//
// What a lost answer means depends on the command. A command that does the
// same when it is applied twice is sent again. So is a new one-shot lease's
// acquire without a key, but never with an id that may exist: the lease may
// have got its lock, or a place in the queue. The leader of a later term knows
// for certain, so there the errand asks for the locks with that lease; if it
// does not exist, it never will, and a new id is free to try. A leader of the
// same term, to which only the link was lost, first ends the lease, should it
// be there.
type errand struct {
	router  *Router
	cmd     *leasepb.Command
	acquire *leasepb.Acquire  // of cmd, or nil
	oneShot *leasepb.NewLease // of acquire as it came, or nil
	search  search
	waitEnd time.Time // of acquire
	limit   time.Time // for the answer
	// stopping ends a wait when the node stops; nil for what does not wait.
	stopping chan struct{}

	unknown uint64 // a term in which it may have been done, 0: none is open
	// queued are the attempts of an acquire that may have got a place.
	queued []*leasepb.Attempt
	stage  stage
}

// stage is what an errand sends next.
type stage uint8

const (
	asIs    stage = iota // the command; a one-shot acquire under a new id
	joining              // a one-shot acquire with a lease that may exist
	ending               // the end of a one-shot lease that may exist
)

func (r *Router) errand(id consensus.GroupID, cmd *leasepb.Command, began time.Time) (*errand, error) {
	if cmd.AtUnixMs == 0 {
		cmd.AtUnixMs = began.UnixMilli()
	}
	e := &errand{router: r, cmd: cmd, acquire: cmd.GetAcquire(), waitEnd: began}
	if e.acquire != nil {
		e.oneShot = e.acquire.OneShot
	}
	if wait := e.acquire.GetWaitMs(); wait > 0 {
		e.waitEnd = began.Add(time.Duration(wait) * time.Millisecond)
		e.stopping = r.stopping
		if isClosed(r.stopping) {
			return nil, errStopping
		}
	}
	e.limit = e.waitEnd.Add(answerWithin)
	var err error
	e.search, err = r.search(id, e.limit)
	return e, err
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// run sends the command until there is an answer that counts.
func (e *errand) run(ctx context.Context) (*leasepb.Result, error) {
	for {
		t, err := e.search.next(ctx, e.stopping)
		if err != nil {
			return nil, e.leave(ctx, nil, err)
		}
		q := question{command: mustMarshal(e.prepare(t))}
		answer, open, err := e.router.ask(ctx, e.stopping, &e.search, t, &q, e.limit)
		if open != nil {
			e.maybe(t)
			return nil, e.leave(ctx, open, e.whyNot(ctx))
		}
		result, ok := answer.(*leasepb.Result)
		switch {
		case err == nil && !ok:
			return nil, httpapi.ErrOutcomeUnknown
		case err == nil && result.Code == leasepb.Code_WRONG_GROUP:
			e.search.failed(t, lease.ErrWrongGroup)
		case err == nil && e.finished(result):
			return result, nil
		case err == nil:
			e.search.answered()
		case overloaded(err) && e.unknown == 0:
			return nil, errOverloaded
		default:
			if !maybeDone(err) {
				e.search.failed(t, err)
				continue
			}
			e.search.answered()           // a leader was found, and went
			e.search.patience = e.waitEnd // a place in a queue may be worth more patience
			e.search.failed(t, err)
			e.maybe(t)
			if !e.repeatable() {
				return nil, httpapi.ErrOutcomeUnknown
			}
		}
	}
}

// maybe notes that what was sent last may have been done.
func (e *errand) maybe(t target) {
	e.unknown = max(e.unknown, t.term)
	if e.acquire != nil {
		e.queued = append(e.queued, e.acquire.Attempt)
	}
}

func (e *errand) whyNot(ctx context.Context) error {
	if isClosed(e.stopping) {
		return errStopping
	}
	return whyNot(ctx)
}

// finished tells whether a result is the answer, or only clears the way.
func (e *errand) finished(r *leasepb.Result) bool {
	if e.stage == ending || (e.stage == joining && r.Code == leasepb.Code_LEASE_NOT_FOUND) {
		e.unknown = 0
		return false
	}
	return true
}

// repeatable tells whether the command may be sent again though it may have
// been done.
func (e *errand) repeatable() bool {
	if e.cmd.Key != nil {
		return true // R8
	}
	switch op := e.cmd.Op.(type) {
	case *leasepb.Command_Release:
		// Without a token a repeat might end a newer grant of the same lease.
		for _, l := range op.Release.Locks {
			if l.Token == 0 {
				return false
			}
		}
		return len(op.Release.Locks) > 0
	case *leasepb.Command_ForceRelease:
		return op.ForceRelease.Token != 0
	}
	return true
}

// prepare returns the command for the next attempt.
func (e *errand) prepare(t target) *leasepb.Command {
	e.stage = asIs
	switch {
	case e.acquire != nil:
		e.prepareAcquire(t)
		if e.stage == ending {
			return &leasepb.Command{AtUnixMs: e.cmd.AtUnixMs, Op: &leasepb.Command_EndLease{EndLease: &leasepb.EndLease{Lease: e.acquire.Lease}}}
		}
	case e.cmd.GetCreateLease() != nil:
		// An id is never sent twice; a lease that nobody hears of runs out.
		if c := e.cmd.GetCreateLease(); len(c.Lease) == 0 || e.unknown != 0 {
			id := newID(c.Namespace)
			c.Lease = id[:]
		}
	}
	return e.cmd
}

func (e *errand) prepareAcquire(t target) {
	a := e.acquire
	if a.WaitMs > 0 {
		left := time.Until(e.waitEnd) + time.Millisecond - 1 // rounded up
		a.WaitMs = max(1, left.Milliseconds())
	}
	a.Attempt = e.router.attempt()
	if e.oneShot == nil {
		return
	}
	a.OneShot = e.oneShot
	switch {
	case e.unknown == 0 || e.cmd.Key != nil:
		id := newID(a.Locks[0].Namespace)
		a.Lease = id[:]
	case t.term > e.unknown:
		e.stage, a.OneShot = joining, nil
	default:
		e.stage = ending
	}
}

// leave gives an errand up: its client is gone, its time is over, or the node
// stops. Nothing that it may have got stays behind.
func (e *errand) leave(ctx context.Context, open *call, why error) error {
	if open != nil {
		defer open.giveUp(e.search.group)
	}
	if e.unknown == 0 {
		return why
	}
	if !e.settle(ctx) {
		return httpapi.ErrOutcomeUnknown
	}
	return why
}

// settle sees to it that an acquire that may have been done leaves neither a
// one-shot lease nor a place in a queue. It tells whether that is certain.
func (e *errand) settle(ctx context.Context) bool {
	within := settleWithin
	if ctx.Err() != nil {
		within = goneWithin
	}
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer done()
	switch {
	case e.acquire == nil || e.cmd.Key != nil:
		return false
	case e.oneShot != nil:
		_, err := e.router.follow(ctx, e.search.id, &leasepb.Command{
			AtUnixMs: e.cmd.AtUnixMs, Op: &leasepb.Command_EndLease{EndLease: &leasepb.EndLease{Lease: e.acquire.Lease}}})
		return err == nil
	case e.acquire.WaitMs == 0:
		return false // a try with a lease leaves nothing but what the lease then has
	}
	for _, attempt := range slices.Backward(e.queued) {
		for _, l := range e.acquire.Locks {
			r, err := e.router.follow(ctx, e.search.id, &leasepb.Command{
				AtUnixMs: e.cmd.AtUnixMs, Op: &leasepb.Command_Cancel{Cancel: &leasepb.Cancel{
					Lease: e.acquire.Lease, Lock: &leasepb.LockRef{Namespace: l.Namespace, Lock: l.Lock},
					Attempt: attempt, Reason: leasepb.CancelReason_CANCEL_CLIENT_GONE}}})
			if err != nil {
				return false
			}
			if r.Cancelled {
				return true
			}
		}
	}
	return false // granted, or gone before
}

// follow sends a command that may be repeated until it was applied.
func (r *Router) follow(ctx context.Context, id consensus.GroupID, cmd *leasepb.Command) (*leasepb.Result, error) {
	limit, _ := ctx.Deadline()
	s, err := r.search(id, limit)
	if err != nil {
		return nil, err
	}
	s.patience = limit
	raw := mustMarshal(cmd)
	for {
		t, err := s.next(ctx, nil)
		if err != nil {
			return nil, err
		}
		answer, open, err := r.ask(ctx, nil, &s, t, &question{command: raw}, limit)
		if open != nil {
			open.giveUp(s.group)
			return nil, httpapi.ErrOutcomeUnknown
		}
		if result, ok := answer.(*leasepb.Result); ok && err == nil && result.Code != leasepb.Code_WRONG_GROUP {
			return result, nil
		}
		s.failed(t, err)
	}
}
