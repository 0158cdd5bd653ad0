package lease

import (
	"bytes"

	"lockd/lease/leasepb"
)

// maxPlaces bounds what one lease may hold and wait for.
const maxPlaces = 10_000

// lease is a promise to its holder that lasts while it is renewed.
type lease struct {
	id        ID
	namespace string // home
	owner     string
	ttl       int64 // milliseconds
	lockDelay int64 // milliseconds; 0 for none
	metadata  []pair
	// oneShot: made by an acquire, it goes with its last place.
	oneShot bool
	// running: its TTL has started. A one-shot lease does not run down before
	// its first grant.
	running bool
	holds   int32
	waiting int32 // places in queues
	// partial counts its waiting requests that also count on locks which the
	// lease held already when they came.
	partial    int32
	generation uint64
}

func (l *lease) timer() TimerChange {
	return TimerChange{ID: TimerID{Kind: TimerLease, Lease: l.id}, After: milliseconds(l.ttl)}
}

func lessLease(a, b *lease) bool { return bytes.Compare(a.id[:], b.id[:]) < 0 }

func (s *State) lease(id ID) *lease {
	s.probe.lease.id = id
	l, _ := s.leases.Get(&s.probe.lease)
	return l
}

// mustLease is lease, to be changed, for where the state says that there is one.
func (s *State) mustLease(id ID) *lease {
	l := s.lease(id)
	if l == nil {
		s.broken("lease %v is gone", id)
	}
	return s.ownLease(l)
}

// ownLease returns the record of a lease to be changed.
func (s *State) ownLease(l *lease) *lease {
	if l.generation != s.generation {
		clone := *l
		clone.generation = s.generation
		l = &clone
		s.leases.Set(l)
	}
	return l
}

func (s *State) newLease(id ID, home string, of *leasepb.NewLease) *lease {
	n := s.ownNamespace(home)
	n.leases++
	l := &lease{
		id:         id,
		namespace:  n.name,
		owner:      of.GetOwner(),
		ttl:        of.GetTtlMs(),
		lockDelay:  of.GetLockDelayMs(),
		metadata:   newPairs(of.GetMetadata()),
		generation: s.generation,
	}
	s.leases.Set(l)
	return l
}

// run starts the TTL of a lease, once: later grants do not renew it (R6).
func (s *State) run(l *lease) {
	if !l.running {
		l.running = true
		s.start(l.timer())
	}
}

// applyCreateLease makes a lease. A repeat finds it made.
func (s *State) applyCreateLease(cmd *leasepb.CreateLease) *leasepb.Result {
	id := idOf(cmd.Lease)
	l := s.lease(id)
	if l == nil {
		l = s.newLease(id, cmd.Namespace, cmd.New)
		s.run(l)
	}
	return resultAbout(l)
}

// applyEndLease revokes a lease. Its locks are free at once: whoever revokes
// knows that its holder has stopped, so a lock-delay is not wanted.
func (s *State) applyEndLease(cmd *leasepb.EndLease) *leasepb.Result {
	l := s.lease(idOf(cmd.Lease))
	if l == nil {
		return refuseLeaseNotFound()
	}
	s.endLease(s.ownLease(l), leasepb.EventType_EVENT_RELEASED, reasonRevoked)
	return &leasepb.Result{Released: grants(s.turn.freed)}
}

// applyExpire ends leases that ran out on the leader's timer. The entry's place
// in the log is the moment of expiry, the same for every replica. One that is
// gone was released first, or this is the second time of asking.
func (s *State) applyExpire(cmd *leasepb.Expire) *leasepb.Result {
	for _, b := range cmd.GetLeases() {
		id := idOf(b)
		if !s.Owns(id.Hash()) {
			continue // R1
		}
		if l := s.lease(id); l != nil && l.running {
			s.endLease(s.ownLease(l), leasepb.EventType_EVENT_EXPIRED, reasonExpired)
		}
	}
	return &leasepb.Result{}
}

// endLease ends everything that a lease holds and waits for, in order of lock,
// and the lease itself. What it held is listed in turn.freed.
func (s *State) endLease(l *lease, kind leasepb.EventType, reason string) {
	s.turn.freed = s.turn.freed[:0]
	s.placesOf(l.id, func(p *place) bool {
		s.turn.freed = append(s.turn.freed, p)
		return true
	})
	places := s.turn.freed
	held := places[:0]
	for _, p := range places {
		if !p.waits() {
			held = append(held, p)
		} else if r := s.request(p.arrival); r != nil { // else it went with another of its places
			s.cancel(l, r, reason, leasepb.Code_LEASE_NOT_FOUND)
		}
	}
	eventReason := reason
	if kind == leasepb.EventType_EVENT_EXPIRED {
		eventReason = ""
	}
	for _, p := range held {
		freed := s.free(l, p, kind, eventReason)
		if kind == leasepb.EventType_EVENT_EXPIRED && l.lockDelay > 0 {
			s.close(freed, l.lockDelay)
		}
	}
	s.turn.freed = held
	s.removeLease(l)
}

// endIfSpent ends a one-shot lease that neither holds nor waits any more, in
// the entry that made it so (R13).
func (s *State) endIfSpent(l *lease) {
	if l.oneShot && l.holds == 0 && l.waiting == 0 {
		s.removeLease(l)
	}
}

func (s *State) removeLease(l *lease) {
	if l.running {
		s.stop(l.timer())
	}
	s.leases.Delete(l)
	n := s.ownNamespace(l.namespace)
	n.leases--
	s.dropNamespace(n)
}

func idOf(b []byte) ID {
	var id ID
	copy(id[:], b)
	return id
}
