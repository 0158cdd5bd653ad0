package lease

import (
	"bytes"
	"cmp"

	"lockd/lease/leasepb"
)

// The modes, under the names that the rest of the package uses.
const (
	exclusive = leasepb.Mode_MODE_EXCLUSIVE
	shared    = leasepb.Mode_MODE_SHARED
	permit    = leasepb.Mode_MODE_PERMIT
)

// place is what one lease has in one lock: a hold, or a position in its queue.
// It is never changed: a grant replaces the waiting place by a hold.
type place struct {
	lease   ID
	mode    leasepb.Mode
	permits int32
	limit   int32 // of permit, else 0
	lock    lockName
	owner   string // shown to others
	// token is the fencing token of a hold, 0 while it waits.
	token uint64
	// arrival is the number of the request that waits, 0 of a hold.
	arrival  uint64
	at       int64 // of a hold: when it was granted, for people
	metadata []pair
}

func (p *place) waits() bool { return p.token == 0 }

// like tells whether a request asks for just what the place is.
func (p *place) like(w want) bool {
	return p.mode == w.mode && p.permits == w.permits && p.limit == w.limit
}

// grant is the place in its wire form.
func (p *place) grant() *leasepb.Grant {
	g := new(leasepb.Grant)
	p.fill(g)
	return g
}

func (p *place) fill(g *leasepb.Grant) {
	g.Namespace = p.lock.namespace
	g.Lock = p.lock.lock
	g.Mode = p.mode
	g.Permits = int64(p.permits)
	g.Token = p.token
	g.Lease = p.lease[:]
	g.Owner = p.owner
	g.AtUnixMs = p.at
}

func lessPlace(a, b *place) bool {
	return comparePlaces(a, b) < 0
}

func comparePlaces(a, b *place) int {
	if c := bytes.Compare(a.lease[:], b.lease[:]); c != 0 {
		return c
	}
	return a.lock.compare(b.lock)
}

func (s *State) place(id ID, name lockName) *place {
	s.probe.place.lease, s.probe.place.lock = id, name
	p, _ := s.places.Get(&s.probe.place)
	return p
}

// mustPlace is place for where the state says that there is one.
func (s *State) mustPlace(id ID, name lockName) *place {
	p := s.place(id, name)
	if p == nil {
		s.broken("lease %v has no place in %v", id, name)
	}
	return p
}

// placesOf yields the places of a lease in order of lock. They must not be
// changed meanwhile.
func (s *State) placesOf(id ID, yield func(*place) bool) {
	s.probe.place.lease, s.probe.place.lock = id, lockName{}
	s.places.Ascend(&s.probe.place, func(p *place) bool {
		return p.lease == id && yield(p)
	})
}

// hold grants a lock to a lease. The token is the number of the grant's event.
func (s *State) hold(le *lease, w want, owner string, metadata []pair) *place {
	l := s.ownLock(w.lock)
	p := &place{
		lease:    le.id,
		lock:     l.name,
		mode:     w.mode,
		permits:  w.permits,
		limit:    w.limit,
		owner:    owner,
		metadata: metadata,
		at:       s.turn.at,
		token:    s.counter + 1,
	}
	if len(l.holders) == 0 {
		s.held++
	}
	l.holders = append(l.holders, p)
	l.last = p.token
	l.used += p.permits
	l.enter(p)
	le.holds++
	s.places.Set(p)
	s.tell(leasepb.EventType_EVENT_ACQUIRED, p, "")
	return p
}

// free ends a hold. What it makes possible is granted by settle.
func (s *State) free(le *lease, p *place, kind leasepb.EventType, reason string) *lock {
	l := s.ownLock(p.lock)
	i := l.holder(p.token)
	if i < 0 {
		s.broken("lease %v does not hold %v", p.lease, p.lock)
	}
	l.holders = deleteAt(l.holders, i)
	l.used -= p.permits
	l.leave(p)
	if len(l.holders) == 0 {
		s.held--
	}
	le.holds--
	s.places.Delete(p)
	s.tell(kind, p, reason)
	s.unsettle(l)
	if le.partial > 0 {
		s.cancelThoseCountingOn(p)
	}
	return l
}

// pair is one entry of the metadata that clients attach.
type pair struct {
	key, value string
}

func newPairs(from []*leasepb.Pair) []pair {
	if len(from) == 0 {
		return nil
	}
	pairs := make([]pair, len(from))
	for i, p := range from {
		pairs[i] = pair{key: p.GetKey(), value: p.GetValue()}
	}
	return pairs
}

func pairMessages(pairs []pair) []*leasepb.Pair {
	if len(pairs) == 0 {
		return nil
	}
	messages := make([]*leasepb.Pair, len(pairs))
	for i, p := range pairs {
		messages[i] = &leasepb.Pair{Key: p.key, Value: p.value}
	}
	return messages
}

// deleteAt removes an item and leaves no pointer behind it.
func deleteAt(places []*place, i int) []*place {
	copy(places[i:], places[i+1:])
	places[len(places)-1] = nil
	return places[:len(places)-1]
}

func compareTokens(p *place, token uint64) int { return cmp.Compare(p.token, token) }
