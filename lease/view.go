package lease

import (
	"encoding/binary"
	"math"
	"strings"

	"lockd/lease/leasepb"
)

// queueShown is how much of a queue a view lists.
const queueShown = 100

// unknown stands for a time that only the leader's timers know.
const unknown = -1

// Lock returns a lock as clients see it. One of which nothing is known is free;
// its last token is then the group's counter, which is never too low.
func (s *State) Lock(namespace, name string) *leasepb.LockView {
	n := lockName{namespace: namespace, lock: name}
	l := s.lock(n)
	if l == nil {
		l = &lock{name: n, last: s.counter}
	}
	return s.lockView(l)
}

// LastToken returns a number not below any token granted for a lock so far.
func (s *State) LastToken(namespace, name string) uint64 {
	if l := s.lock(lockName{namespace: namespace, lock: name}); l != nil {
		return l.last
	}
	return s.counter
}

func (s *State) lockView(l *lock) *leasepb.LockView {
	v := &leasepb.LockView{
		Namespace:   l.name.namespace,
		Lock:        l.name.lock,
		Limit:       int64(l.limit),
		QueueLength: int64(len(l.queue)),
		LastToken:   l.last,
		Index:       s.counter,
		Closed:      l.closed != nil,
	}
	if v.Closed {
		v.ClosedForMs = unknown
	}
	switch {
	case len(l.holders) > 0:
		v.Mode = l.holders[0].mode
	case len(l.queue) > 0:
		v.Mode = l.queue[0].mode
	}
	for _, p := range l.holders {
		v.Holders = append(v.Holders, &leasepb.Holder{
			Lease:       p.lease[:],
			Owner:       p.owner,
			Mode:        p.mode,
			Permits:     int64(p.permits),
			Token:       p.token,
			AtUnixMs:    p.at,
			Metadata:    pairMessages(p.metadata),
			ExpiresInMs: unknown,
		})
	}
	for i, p := range l.queue[:min(len(l.queue), queueShown)] {
		v.Queue = append(v.Queue, &leasepb.Waiter{
			Lease:    p.lease[:],
			Owner:    p.owner,
			Mode:     p.mode,
			Permits:  int64(p.permits),
			Position: int64(i) + 1,
		})
	}
	return v
}

// Page asks for some locks of a namespace, in order of name.
type Page struct {
	Namespace string
	Prefix    string // of the names
	After     string // a name; "" begins with the first
	HeldOnly  bool
	Limit     int
}

// Locks returns a page of locks, and what goes into After for the next one, ""
// on the last.
func (s *State) Locks(page Page) (locks []*leasepb.LockView, next string) {
	from := lockName{namespace: page.Namespace, lock: max(page.Prefix, page.After)}
	s.locks.Ascend(&lock{name: from}, func(l *lock) bool {
		if l.name.namespace != page.Namespace || !strings.HasPrefix(l.name.lock, page.Prefix) {
			return false
		}
		if l.name.lock == page.After || (page.HeldOnly && len(l.holders) == 0) {
			return true
		}
		if len(locks) == page.Limit {
			next = locks[len(locks)-1].Lock
			return false
		}
		locks = append(locks, s.lockView(l))
		return true
	})
	return locks, next
}

// Lease returns a lease as clients see it, and whether it exists.
func (s *State) Lease(id ID) (*leasepb.LeaseView, bool) {
	l := s.lease(id)
	if l == nil {
		return nil, false
	}
	return s.leaseView(l), true
}

func (s *State) leaseView(l *lease) *leasepb.LeaseView {
	v := &leasepb.LeaseView{
		Lease:       l.id[:],
		Namespace:   l.namespace,
		Owner:       l.owner,
		TtlMs:       l.ttl,
		Metadata:    pairMessages(l.metadata),
		LockDelayMs: l.lockDelay,
		OneShot:     l.oneShot,
		ExpiresInMs: unknown,
	}
	s.placesOf(l.id, func(p *place) bool {
		if p.waits() {
			v.Waiting = append(v.Waiting, p.grant())
		} else {
			v.Locks = append(v.Locks, p.grant())
		}
		return true
	})
	return v
}

// Leases returns a page of the leases homed in a namespace, in order of id; of
// all namespaces if it is "". The page begins behind the id after. more tells
// whether there is another page, behind the last of this one.
func (s *State) Leases(namespace string, after ID, limit int) (leases []*leasepb.LeaseView, more bool) {
	first, last := ID{}, uint64(math.MaxUint64)
	if namespace != "" {
		last = HashNamespace(namespace)
		binary.BigEndian.PutUint64(first[:], last)
	}
	from := &lease{id: first}
	if from.id.Hash() <= after.Hash() {
		from.id = after
	}
	var page []*lease
	s.leases.Ascend(from, func(l *lease) bool {
		if l.id.Hash() > last {
			return false
		}
		if l.id == after || (namespace != "" && l.namespace != namespace) {
			return true
		}
		more = len(page) == limit
		if !more {
			page = append(page, l)
		}
		return !more
	})
	for _, l := range page {
		leases = append(leases, s.leaseView(l))
	}
	return leases, more
}

// Namespaces returns a page of the namespaces that have a lock or a lease, in
// order of name, and what goes into after for the next one, "" on the last.
func (s *State) Namespaces(after string, limit int) (names []string, next string) {
	s.namespaces.Ascend(&namespace{name: after}, func(n *namespace) bool {
		if n.name == after {
			return true
		}
		if len(names) == limit {
			next = names[len(names)-1]
			return false
		}
		names = append(names, n.name)
		return true
	})
	return names, next
}
