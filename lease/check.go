package lease

import (
	"errors"
	"fmt"
	"slices"
)

// Check verifies the rules of the package comment, and that everything derived
// agrees with what it is derived from. It visits all of the state: tests call
// it after every step, Decode once.
func (s *State) Check() error {
	c := checker{state: s, namespaces: make(map[string]namespace)}
	c.checkRanges()
	s.leases.Scan(c.lease)
	s.locks.Scan(c.lock)
	s.requests.Scan(c.request)
	s.keys.Scan(c.key)
	c.totals()
	if len(c.problems) == 0 { // what canGrant relies on is right
		s.requests.Scan(c.settled)
	}
	return errors.Join(c.problems...)
}

// checker gathers what is wrong, and counts anew what the state counts along.
type checker struct {
	state      *State
	problems   []error
	namespaces map[string]namespace // only looked up
	places     int
	held       int
	waiters    int
	closed     int
	pending    int // keys, as the requests have it
}

// require notes a problem unless ok. At most a few are kept.
func (c *checker) require(ok bool, format string, args ...any) {
	if !ok && len(c.problems) < 10 {
		c.problems = append(c.problems, fmt.Errorf(format, args...))
	}
}

func (c *checker) checkRanges() {
	for i, r := range c.state.ranges {
		c.require(r.First <= r.Last && (i == 0 || c.state.ranges[i-1].Last < r.First), "range %d is not in order", i)
	}
}

func (c *checker) lease(l *lease) bool {
	s := c.state
	var holds, waiting, partial int32
	s.placesOf(l.id, func(p *place) bool {
		if !p.waits() {
			holds++
			return true
		}
		waiting++
		if r := s.request(p.arrival); r != nil && r.partial() && r.anchor() == p.lock {
			partial++
		}
		return true
	})
	if l.holds != holds || l.waiting != waiting || l.partial != partial {
		c.require(false, "lease %v: counts %d, %d, %d, not %d, %d, %d",
			l.id, l.holds, l.waiting, l.partial, holds, waiting, partial)
	}
	if l.oneShot {
		c.require(holds+waiting > 0, "one-shot lease %v has nothing", l.id)
	}
	if !l.running {
		c.require(l.oneShot && holds == 0, "lease %v does not run down", l.id)
	}
	n := c.namespaces[l.namespace]
	n.leases++
	c.namespaces[l.namespace] = n
	if !s.Owns(l.id.Hash()) || l.id.Hash() != HashNamespace(l.namespace) || !validNamespace(l.namespace) {
		c.require(false, "lease %v is not at home here", l.id)
	}
	c.require(l.ttl >= 1 && l.ttl <= maxDuration && l.lockDelay >= 0 && l.lockDelay <= maxDuration,
		"lease %v: durations out of range", l.id)
	return true
}

func (c *checker) lock(l *lock) bool {
	s := c.state
	ok := func(is bool, problem string) {
		if !is {
			c.require(false, "lock %v: %s", l.name, problem)
		}
	}
	ok(len(l.holders) > 0 || len(l.queue) > 0 || l.closed != nil, "is free, and not forgotten")
	ok(validName(l.name.namespace, l.name.lock) && s.Owns(HashNamespace(l.name.namespace)), "is not this group's")
	ok(l.last <= s.counter, "its last token was never given")
	ok(!l.unsettled, "is not settled")

	c.places += len(l.holders) + len(l.queue)
	c.waiters += len(l.queue)
	if len(l.holders) > 0 {
		c.held++
	}
	if l.closed != nil {
		c.closed++
		found, _ := s.closings.Get(l.closed)
		ok(found == l.closed && l.closed.name == l.name, "is closed, and not listed so")
		ok(l.closed.index <= s.counter && l.closed.delay >= 0 && l.closed.delay <= maxDuration, "has a malformed lock-delay")
	}
	n := c.namespaces[l.name.namespace]
	n.locks++
	c.namespaces[l.name.namespace] = n

	used, permits, limit := int64(0), int32(0), int32(0)
	var before *place
	for i, p := range slices.Concat(l.holders, l.queue) {
		waits := i >= len(l.holders)
		ok(s.place(p.lease, p.lock) == p, "a place is not listed with its lease")
		ok(p.lock == l.name && p.waits() == waits && (p.arrival != 0) == waits, "a place is malformed")
		ok(p.mode == permit && p.permits >= 1 && p.permits <= p.limit && p.limit <= maxPermits ||
			(p.mode == exclusive || p.mode == shared) && p.permits == 1 && p.limit == 0, "a place asks for nonsense")
		if p.mode == permit {
			ok(limit == 0 || limit == p.limit, "has two limits")
			limit = p.limit
			permits++
		}
		if !waits {
			used += int64(p.permits)
			ok(p.token <= l.last && (before == nil || before.token < p.token), "tokens are not in order")
		} else {
			r := s.request(p.arrival)
			ok(r != nil && r.lease == p.lease && slices.ContainsFunc(r.locks, func(w want) bool {
				return w.waits && w.lock == l.name && p.like(w)
			}), "a place belongs to no request")
			ok(p.arrival <= s.arrivals && (before == nil || before.arrival < p.arrival), "the queue is not in order")
		}
		before = p
	}
	ok(used == int64(l.used) && permits == l.permits && limit == l.limit, "permits are not counted right")
	if len(l.holders) > 1 {
		mode := l.holders[0].mode
		ok(mode != exclusive, "has two exclusive holders")
		ok(!slices.ContainsFunc(l.holders, func(p *place) bool { return p.mode != mode }), "is held in two modes")
		ok(mode != permit || used <= int64(limit), "has more permits out than its limit")
	}
	return true
}

func (c *checker) request(r *request) bool {
	s := c.state
	ok := func(is bool, problem string) {
		if !is {
			c.require(false, "request %d: %s", r.arrival, problem)
		}
	}
	waits, sound := false, true
	for i, w := range r.locks {
		p := s.place(r.lease, w.lock)
		if p == nil || !p.like(w) || p.waits() != w.waits || (w.waits && p.arrival != r.arrival) {
			sound = false
		}
		waits = waits || w.waits
		for _, before := range r.locks[:i] {
			sound = sound && before.lock != w.lock
		}
	}
	ok(waits && sound, "its places are not what it asks for")
	ok(len(r.locks) <= maxLocks && r.wait >= 1 && r.wait <= maxDuration, "is out of range")
	if r.key != nil {
		c.pending++
		k := s.key(*r.key)
		ok(k != nil && k.pending && k.lease == r.lease, "its key does not wait with it")
	}
	return true
}

func (c *checker) settled(r *request) bool {
	c.require(!c.state.canGrant(r), "request %d could be granted, and waits", r.arrival)
	return true
}

func (c *checker) key(k *key) bool {
	ok := func(is bool, problem string) {
		if !is {
			c.require(false, "key %x: %s", k.hash, problem)
		}
	}
	ok(c.state.Owns(k.home), "is not this group's")
	ok(k.kind >= keyGranted && k.kind <= keyEnded, "is of no kind")
	if k.pending {
		c.pending--
		ok(k.kind == keyGranted && k.index == 0 && len(k.places) == 0, "is pending, and has a result")
	} else {
		ok(k.index > 0 && k.index <= c.state.counter, "has no index")
	}
	ok(k.kind != keyGranted || k.pending || len(k.places) > 0, "has granted nothing")
	return true
}

func (c *checker) totals() {
	s := c.state
	c.require(c.places == s.places.Len(), "%d places, not %d", s.places.Len(), c.places)
	c.require(c.held == s.held && c.waiters == s.waiters, "%d held and %d waiters, not %d and %d",
		s.held, s.waiters, c.held, c.waiters)
	c.require(c.closed == s.closings.Len(), "%d closed, not %d", s.closings.Len(), c.closed)
	c.require(c.pending == 0, "%d pending keys have no request", -c.pending)
	c.require(len(c.namespaces) == s.namespaces.Len(), "%d namespaces, not %d", s.namespaces.Len(), len(c.namespaces))
	s.namespaces.Scan(func(n *namespace) bool {
		counted := c.namespaces[n.name]
		if counted.leases != n.leases || counted.locks != n.locks || n.hash != HashNamespace(n.name) {
			c.require(false, "namespace %s: wrong counts", n.name)
		}
		return true
	})
}
