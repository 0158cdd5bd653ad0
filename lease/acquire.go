package lease

import (
	"fmt"
	"slices"

	"lockd/lease/leasepb"
)

// applyAcquire grants all locks that a request names, queues it for those it
// cannot have yet, or refuses it and changes nothing. id is the lease, which
// for a repeat under a key is that of the first time.
func (s *State) applyAcquire(cmd *leasepb.Acquire, id ID, key *KeyHash) *leasepb.Result {
	// Whether a lease is alive is decided here and never before: between its
	// proposal and this entry it may have ended.
	l := s.lease(id)
	if l == nil && cmd.OneShot == nil {
		return refuseLeaseNotFound()
	}
	a := acquisition{cmd: cmd, id: id, lease: l, key: key}
	if refusal := s.survey(&a); refusal != nil {
		return refusal
	}
	switch {
	case a.missing == 0:
		// Asking again for what one has gets the same tokens.
		for _, w := range s.turn.wants {
			s.turn.granted = append(s.turn.granted, s.mustPlace(id, w.lock))
		}
		return resultGranted(l, s.turn.granted)
	case a.joins != nil:
		return s.join(&a)
	case l != nil && int(l.holds+l.waiting)+a.missing > maxPlaces:
		return refuse(leasepb.Code_QUOTA_EXCEEDED, "the lease holds or waits for 10000 locks, the most one can; release some")
	}
	blocked := s.blocking(s.turn.wants)
	switch {
	case len(blocked) == 0:
		return s.grantNow(&a)
	case cmd.WaitMs == 0:
		return refuseHeld(blocked)
	}
	return s.wait(&a)
}

// acquisition is an acquire while it is decided. Its locks are in turn.wants.
type acquisition struct {
	cmd     *leasepb.Acquire
	id      ID
	lease   *lease // nil: to be made
	key     *KeyHash
	missing int      // locks that the lease does not hold
	joins   *request // of the same lease, waiting for one of them
}

// survey finds what the lease has already of what it asks for.
func (s *State) survey(a *acquisition) *leasepb.Result {
	wants := s.turn.wants[:0]
	for _, r := range a.cmd.Locks {
		w := newWant(r)
		p := s.place(a.id, w.lock)
		w.waits = p == nil || p.waits()
		switch {
		case p != nil && !p.like(w):
			return refuse(leasepb.Code_MODE_CONFLICT, fmt.Sprintf(
				"the lease has %v in another mode or with other permits; release it first", w.lock))
		case p != nil && p.waits():
			a.joins = s.mustRequest(p.arrival)
		case p == nil && w.mode == permit:
			if k := s.lock(w.lock); k != nil && k.limit != 0 && k.limit != w.limit {
				return refuse(leasepb.Code_MODE_CONFLICT, fmt.Sprintf(
					"the limit of %v is %d as long as anyone holds it or waits for it", w.lock, k.limit))
			}
		}
		if w.waits {
			a.missing++
		}
		wants = append(wants, w)
	}
	s.turn.wants = wants
	return nil
}

// blocking lists the wanted locks that cannot be granted now.
func (s *State) blocking(wants []want) []lockName {
	var blocked []lockName
	for _, w := range wants {
		if !w.waits {
			continue
		}
		if l := s.lock(w.lock); l != nil && !l.admitsNew(w) {
			blocked = append(blocked, w.lock)
		}
	}
	return blocked
}

// holderOf returns the lease of an acquire, made now if it is a one-shot one.
func (s *State) holderOf(a *acquisition) *lease {
	if a.lease != nil {
		return s.ownLease(a.lease)
	}
	l := s.newLease(a.id, a.cmd.Locks[0].Namespace, a.cmd.OneShot)
	l.oneShot = true
	return l
}

func (a *acquisition) owner(l *lease) string {
	if a.cmd.Owner != "" {
		return a.cmd.Owner
	}
	return l.owner
}

func (s *State) grantNow(a *acquisition) *leasepb.Result {
	l := s.holderOf(a)
	owner, metadata := a.owner(l), newPairs(a.cmd.Metadata)
	for _, w := range s.turn.wants {
		var p *place
		if w.waits {
			p = s.hold(l, w, owner, metadata)
		} else {
			p = s.mustPlace(l.id, w.lock)
		}
		s.turn.granted = append(s.turn.granted, p)
	}
	s.run(l)
	return resultGranted(l, s.turn.granted)
}

// wait queues a request. It has places everywhere at once, so that it can be
// granted everywhere at once.
func (s *State) wait(a *acquisition) *leasepb.Result {
	for _, w := range s.turn.wants {
		if l := s.lock(w.lock); w.waits && l != nil && len(l.queue) >= maxWaiters {
			return refuse(leasepb.Code_QUOTA_EXCEEDED, fmt.Sprintf("%d others wait for %v already", maxWaiters, w.lock))
		}
	}
	l := s.holderOf(a)
	s.arrivals++
	s.enqueue(l, &request{
		arrival:  s.arrivals,
		lease:    l.id,
		attempt:  attemptOf(a.cmd.Attempt),
		wait:     a.cmd.WaitMs,
		locks:    slices.Clone(s.turn.wants),
		owner:    a.owner(l),
		metadata: newPairs(a.cmd.Metadata),
		key:      a.key,
	})
	return resultQueued(l, a.cmd.Attempt)
}

// join lets a newer attempt take over a request that waits already, with a wait
// of its own. A try answers what it would without the request, which goes on.
func (s *State) join(a *acquisition) *leasepb.Result {
	old := a.joins
	if a.cmd.WaitMs == 0 {
		var waiting []lockName
		for _, w := range s.turn.wants {
			if w.waits {
				waiting = append(waiting, w.lock)
			}
		}
		return refuseHeld(waiting)
	}
	if !sameLocks(old.locks, s.turn.wants) {
		return refuse(leasepb.Code_MODE_CONFLICT,
			"the lease waits for some of these locks in another request; repeat that one, or release them first")
	}
	joined := *old
	joined.attempt = attemptOf(a.cmd.Attempt)
	joined.wait = a.cmd.WaitMs
	if a.key != nil {
		if old.key != nil && *old.key != *a.key {
			s.dropKey(*old.key)
		}
		joined.key = a.key
	}
	// The newest attempt's order is the one in which the grants are answered.
	joined.locks = slices.Clone(s.turn.wants)
	s.requests.Set(&joined)
	if joined.timer() != old.timer() {
		s.stop(old.timer())
		s.start(joined.timer())
	}
	if joined.attempt != old.attempt {
		s.answer(Answer{Attempt: old.attempt, Lease: a.id, Joined: true, By: joined.attempt})
	}
	return resultQueued(a.lease, a.cmd.Attempt)
}

func resultQueued(l *lease, attempt *leasepb.Attempt) *leasepb.Result {
	r := resultAbout(l)
	r.Code = leasepb.Code_QUEUED
	r.Attempt = attemptOf(attempt).message()
	return r
}

// sameLocks tells whether a request asks for just what another waits for. Both
// are short.
func sameLocks(a, b []want) bool {
	return len(a) == len(b) && !slices.ContainsFunc(b, func(w want) bool { return !slices.Contains(a, w) })
}
