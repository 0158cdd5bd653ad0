package lease

import (
	"slices"

	"lockd/lease/leasepb"
)

// applyRelease ends what one lease holds or waits for.
func (s *State) applyRelease(cmd *leasepb.Release) *leasepb.Result {
	id := idOf(cmd.Lease)
	l := s.lease(id)
	if l == nil {
		return refuseLeaseNotFound()
	}
	if cmd.Multi {
		return s.releaseSome(l, cmd.Locks)
	}
	ref := cmd.Locks[0]
	p := s.place(id, lockName{namespace: ref.Namespace, lock: ref.Lock})
	if p == nil || (ref.Token != 0 && p.token != ref.Token) {
		// A late, repeated release never ends a newer grant of the same lease.
		return refuseNotHolder()
	}
	l = s.ownLease(l)
	waited := p.waits()
	s.release(l, p)
	s.endIfSpent(l)
	result := resultReleased(s.turn.freed)
	result.Cancelled = waited
	return result
}

// releaseSome releases what a lease has of some locks, or of all.
func (s *State) releaseSome(l *lease, locks []*leasepb.ReleaseRef) *leasepb.Result {
	id := l.id
	var notHeld []lockName
	var places []*place
	if len(locks) == 0 {
		s.placesOf(id, func(p *place) bool {
			places = append(places, p)
			return true
		})
	}
	for _, ref := range locks {
		name := lockName{namespace: ref.Namespace, lock: ref.Lock}
		p := s.place(id, name)
		if p == nil || (ref.Token != 0 && p.token != ref.Token) {
			notHeld = append(notHeld, name)
			continue
		}
		if p.waits() {
			notHeld = append(notHeld, name)
		}
		places = append(places, p)
	}
	if len(places) == 0 {
		return refuseNotHolder()
	}
	l = s.ownLease(l)
	result := new(leasepb.Result)
	// What waits goes first: a request may count on locks that are released.
	for _, p := range places {
		// It may have gone with another place of the same request.
		if p.waits() && s.request(p.arrival) != nil {
			s.release(l, p)
			result.Cancelled = true
		}
	}
	for _, p := range places {
		// It may have been named twice.
		if !p.waits() && s.place(id, p.lock) == p {
			s.release(l, p)
		}
	}
	s.endIfSpent(l)
	result.Released = grants(s.turn.freed)
	result.NotHeld = refs(notHeld)
	return result
}

// release ends a hold, or the request to which a waiting place belongs.
func (s *State) release(l *lease, p *place) {
	if p.waits() {
		s.cancel(l, s.mustRequest(p.arrival), reasonReleased, leasepb.Code_LOCK_HELD)
		return
	}
	s.free(l, p, leasepb.EventType_EVENT_RELEASED, "")
	s.turn.freed = append(s.turn.freed, p)
}

// applyForceRelease takes a lock away from its holders, whoever they are.
// Their leases live on, but for a one-shot one left with nothing.
func (s *State) applyForceRelease(cmd *leasepb.ForceRelease) *leasepb.Result {
	var holders []*place
	if k := s.lock(nameOf(cmd.Lock)); k != nil {
		holders = k.holders
	}
	if cmd.Token != 0 {
		i := slices.IndexFunc(holders, func(p *place) bool { return p.token == cmd.Token })
		if i < 0 {
			return refuse(leasepb.Code_NOT_HOLDER, "nobody holds the lock under this token")
		}
		holders = holders[i : i+1]
	}
	s.turn.freed = append(s.turn.freed, holders...)
	for _, p := range s.turn.freed {
		l := s.mustLease(p.lease)
		s.free(l, p, leasepb.EventType_EVENT_FORCED, cmd.Reason)
		s.endIfSpent(l)
	}
	return resultReleased(s.turn.freed)
}
