package lease

import (
	"lockd/lease/leasepb"
)

// Attempt names one try of one serving process to get a request served.
type Attempt struct {
	Boot   uint64 // random number of the process
	Number uint64 // unique within it
}

func attemptOf(a *leasepb.Attempt) Attempt {
	return Attempt{Boot: a.GetBoot(), Number: a.GetId()}
}

func (a Attempt) message() *leasepb.Attempt {
	return &leasepb.Attempt{Boot: a.Boot, Id: a.Number}
}

// want is one lock of a request.
type want struct {
	lock    lockName
	mode    leasepb.Mode
	permits int32
	limit   int32
	// waits: the lease did not hold the lock when the request came.
	waits bool
}

func newWant(r *leasepb.LockRequest) want {
	return want{
		lock:    lockName{namespace: r.Namespace, lock: r.Lock},
		mode:    r.Mode,
		permits: int32(r.Permits),
		limit:   int32(r.Limit),
	}
}

// request is an acquire that waits. It has a place in the queue of each lock
// that its lease did not hold, all under one arrival number, and is granted
// when it is its turn in all of them at once. As arrivals are numbered over the
// whole group, the oldest request is behind no other in any queue: requests
// cannot wait for each other in a circle.
//
// It is never changed: a newer attempt replaces it.
type request struct {
	arrival  uint64
	lease    ID
	attempt  Attempt
	wait     int64 // milliseconds
	locks    []want
	owner    string
	metadata []pair
	key      *KeyHash // of the key that is pending with it; nil without
}

func lessRequest(a, b *request) bool { return a.arrival < b.arrival }

// anchor is the lock by which the request's timer and Cancel name it.
func (r *request) anchor() lockName {
	for i := range r.locks {
		if r.locks[i].waits {
			return r.locks[i].lock
		}
	}
	panic("lease: a request that waits for nothing")
}

func (r *request) timer() TimerChange {
	anchor := r.anchor()
	return TimerChange{
		ID: TimerID{
			Kind: TimerWait, Lease: r.lease, Namespace: anchor.namespace, Lock: anchor.lock,
			Boot: r.attempt.Boot, Number: r.attempt.Number,
		},
		After: milliseconds(r.wait),
	}
}

// partial: it also counts on locks that its lease held when it came.
func (r *request) partial() bool {
	for i := range r.locks {
		if !r.locks[i].waits {
			return true
		}
	}
	return false
}

// place makes the place of the request in one of its queues.
func (r *request) place(w *want) *place {
	return &place{
		lease:   r.lease,
		lock:    w.lock,
		mode:    w.mode,
		permits: w.permits,
		limit:   w.limit,
		owner:   r.owner,
		arrival: r.arrival,
	}
}

func (s *State) request(arrival uint64) *request {
	s.probe.request.arrival = arrival
	r, _ := s.requests.Get(&s.probe.request)
	return r
}

func (s *State) mustRequest(arrival uint64) *request {
	r := s.request(arrival)
	if r == nil {
		s.broken("no request has arrival number %d", arrival)
	}
	return r
}

// enqueue gives a request its places.
func (s *State) enqueue(l *lease, r *request) {
	for i := range r.locks {
		w := &r.locks[i]
		if !w.waits {
			continue
		}
		k := s.ownLock(w.lock)
		w.lock = k.name // so that both share one text
		p := r.place(w)
		k.queue.push(p)
		k.enter(p)
		l.waiting++
		s.waiters++
		s.places.Set(p)
		s.tell(leasepb.EventType_EVENT_QUEUED, p, "")
	}
	if r.partial() {
		l.partial++
	}
	s.requests.Set(r)
	s.start(r.timer())
}

// dequeue takes a request's places out of the queues and calls each with them.
func (s *State) dequeue(l *lease, r *request, each func(*place)) {
	for i := range r.locks {
		w := &r.locks[i]
		if !w.waits {
			continue
		}
		k := s.ownLock(w.lock)
		at, found := k.queue.find(r.arrival)
		if !found {
			s.broken("request %d is not in the queue of %v", r.arrival, w.lock)
		}
		p := k.queue[at]
		k.queue.remove(at)
		k.leave(p)
		l.waiting--
		s.waiters--
		s.places.Delete(p)
		s.unsettle(k)
		if each != nil {
			each(p)
		}
	}
	if r.partial() {
		l.partial--
	}
	s.requests.Delete(r)
	s.stop(r.timer())
}

// canGrant tells whether it is the request's turn in all its queues.
func (s *State) canGrant(r *request) bool {
	for i := range r.locks {
		if w := &r.locks[i]; w.waits && !s.reaches(r, w) {
			return false
		}
	}
	return true
}

// reaches tells whether it is the request's turn in one of its queues.
func (s *State) reaches(r *request, w *want) bool {
	l := s.lock(w.lock)
	if l == nil {
		s.broken("request %d waits for %v, which is free", r.arrival, w.lock)
	}
	at, found := l.queue.find(r.arrival)
	if !found {
		s.broken("request %d is not in the queue of %v", r.arrival, w.lock)
	}
	return l.admits(w.mode, w.permits) && l.reaches(w.mode, at)
}

// grantWaiting turns all places of a request into holds and answers it.
func (s *State) grantWaiting(r *request) {
	l := s.mustLease(r.lease)
	s.dequeue(l, r, nil)
	granted := make([]*place, len(r.locks))
	for i, w := range r.locks {
		if w.waits {
			granted[i] = s.hold(l, w, r.owner, r.metadata)
		} else {
			granted[i] = s.mustPlace(l.id, w.lock)
		}
	}
	s.run(l)
	if r.key != nil {
		s.finishKey(*r.key, granted)
	}
	s.answer(Answer{Attempt: r.attempt, Lease: l.id, lease: l, granted: granted, keyed: r.key != nil})
}

// cancel ends a request without a grant. Its lease stays, for the caller to
// end if it is spent.
func (s *State) cancel(l *lease, r *request, reason string, code leasepb.Code) {
	a := Answer{Attempt: r.attempt, Lease: l.id, refusal: code}
	if code == leasepb.Code_LOCK_HELD {
		for i := range r.locks {
			if w := &r.locks[i]; w.waits && !s.reaches(r, w) {
				a.blocked = append(a.blocked, w.lock)
			}
		}
	}
	s.dequeue(l, r, func(p *place) {
		s.tell(leasepb.EventType_EVENT_CANCELLED, p, reason)
	})
	if r.key != nil {
		s.dropKey(*r.key)
	}
	s.answer(a)
}

// cancelThoseCountingOn ends the requests of a lease that count on a hold which
// has just ended: they could no longer be granted as a whole.
func (s *State) cancelThoseCountingOn(ended *place) {
	var counting []*request
	s.placesOf(ended.lease, func(p *place) bool {
		if !p.waits() {
			return true
		}
		r := s.mustRequest(p.arrival)
		for i := range r.locks {
			// Each request once: at the place that is its anchor.
			if !r.locks[i].waits && r.locks[i].lock == ended.lock && r.anchor() == p.lock {
				counting = append(counting, r)
			}
		}
		return true
	})
	for _, r := range counting {
		s.cancel(s.mustLease(r.lease), r, reasonReleased, leasepb.Code_LOCK_HELD)
	}
}

// applyCancel ends a waiting attempt: at the end of its wait, or because its
// client or serving node is gone (R13). If a newer attempt has joined the place,
// or it was granted first, nothing happens: that is then the answer.
func (s *State) applyCancel(cmd *leasepb.Cancel) *leasepb.Result {
	p := s.place(idOf(cmd.Lease), nameOf(cmd.Lock))
	if p == nil || !p.waits() {
		return &leasepb.Result{}
	}
	r := s.mustRequest(p.arrival)
	if r.attempt != attemptOf(cmd.Attempt) {
		return &leasepb.Result{}
	}
	reason := reasonWaitOver
	switch cmd.Reason {
	case leasepb.CancelReason_CANCEL_CLIENT_GONE:
		reason = reasonClientGone
	case leasepb.CancelReason_CANCEL_NODE_GONE:
		reason = reasonNodeGone
	}
	l := s.mustLease(r.lease)
	s.cancel(l, r, reason, leasepb.Code_LOCK_HELD)
	s.endIfSpent(l)
	return &leasepb.Result{Cancelled: true}
}

// Wait is an attempt that waits.
type Wait struct {
	Attempt         Attempt
	Lease           ID
	Namespace, Lock string // a lock that it waits for, as Cancel wants it
}

// Waits yields every waiting attempt, in order of arrival.
func (s *State) Waits(yield func(Wait) bool) {
	s.requests.Scan(func(r *request) bool {
		anchor := r.anchor()
		return yield(Wait{Attempt: r.attempt, Lease: r.lease, Namespace: anchor.namespace, Lock: anchor.lock})
	})
}

// IsWaiting tells whether the place of w still waits under its attempt, and not
// under a newer one.
func (s *State) IsWaiting(w Wait) bool {
	p := s.place(w.Lease, lockName{w.Namespace, w.Lock})
	return p != nil && p.waits() && s.mustRequest(p.arrival).attempt == w.Attempt
}
