package lease

import (
	"slices"

	"lockd/lease/leasepb"
)

// maxWaiters bounds the queue of one lock.
const maxWaiters = 100_000

// lock is what is known of a lock that somebody holds or waits for, or that a
// lock-delay keeps closed. Any other lock has no record.
type lock struct {
	name    lockName
	holders []*place // in order of token
	queue   queue
	// last is the last token granted, or, of a lock that has come back, a
	// number not below it.
	last uint64
	// closed is set while a lock-delay runs.
	closed *closing
	used   int32 // permits held
	// limit of a permit lock, while any place in it asks for permits, else 0.
	limit   int32
	permits int32 // places that ask for permits
	// unsettled is set while the lock is on the list that settle works off.
	unsettled  bool
	generation uint64
}

func (s *State) lock(name lockName) *lock {
	s.probe.lock.name = name
	l, _ := s.locks.Get(&s.probe.lock)
	return l
}

// ownLock returns the record of a lock to be changed, new if there is none.
func (s *State) ownLock(name lockName) *lock {
	l := s.lock(name)
	switch {
	case l == nil:
		n := s.ownNamespace(name.namespace)
		n.locks++
		name.namespace = n.name
		l = &lock{name: name, last: s.counter, generation: s.generation}
		s.locks.Set(l)
	case l.generation != s.generation:
		clone := *l
		clone.holders = slices.Clone(l.holders)
		clone.queue = slices.Clone(l.queue)
		clone.generation = s.generation
		l = &clone
		s.locks.Set(l)
	}
	return l
}

// admits tells whether the holders and a lock-delay leave room for one more,
// whoever waits.
func (l *lock) admits(mode leasepb.Mode, permits int32) bool {
	if l.closed != nil {
		return false // R14
	}
	if len(l.holders) == 0 {
		return true
	}
	if l.holders[0].mode != mode {
		return false
	}
	switch mode {
	case shared:
		return true
	case permit:
		return l.used+permits <= l.limit
	}
	return false
}

// admitsNew tells whether a request that has just come can be granted. Strictly
// first come, first served: it overtakes nobody, except that a shared one may
// join shared ones at the head that wait only for other locks.
func (l *lock) admitsNew(w want) bool {
	return l.admits(w.mode, w.permits) && l.reaches(w.mode, len(l.queue))
}

// reaches tells whether it is the turn of position i of the queue.
func (l *lock) reaches(mode leasepb.Mode, i int) bool {
	return i == 0 || (mode == shared && l.queue.sharedBefore(i))
}

// holder returns the position of the holder with this token, or -1.
func (l *lock) holder(token uint64) int {
	i, found := slices.BinarySearchFunc(l.holders, token, compareTokens)
	if !found {
		return -1
	}
	return i
}

// enter and leave keep the limit for as long as anyone holds or waits for permits.
func (l *lock) enter(p *place) {
	if p.mode == permit {
		l.permits++
		l.limit = p.limit
	}
}

func (l *lock) leave(p *place) {
	if p.mode == permit {
		if l.permits--; l.permits == 0 {
			l.limit = 0
		}
	}
}

// unsettle notes that a lock may now have something to grant, or be free.
func (s *State) unsettle(l *lock) {
	if !l.unsettled {
		l.unsettled = true
		s.turn.unsettled = append(s.turn.unsettled, l)
	}
}

// settle grants whatever the entry has made possible, in the order in which
// locks were touched, and forgets the locks that nobody needs any more.
func (s *State) settle() {
	// Granting a request for several locks touches more of them.
	for i := 0; i < len(s.turn.unsettled); i++ {
		l := s.turn.unsettled[i]
		l.unsettled = false
		s.advance(l)
		if len(l.holders) == 0 && len(l.queue) == 0 && l.closed == nil {
			s.locks.Delete(l)
			n := s.ownNamespace(l.name.namespace)
			n.locks--
			s.dropNamespace(n)
		}
	}
	clear(s.turn.unsettled)
	s.turn.unsettled = s.turn.unsettled[:0]
}

// advance grants from the head of the queue. A request that waits for other
// locks too holds up those behind it, but not adjacent shared ones: they take
// nothing away from it.
func (s *State) advance(l *lock) {
	for i := 0; i < len(l.queue); {
		p := l.queue[i]
		if !l.admits(p.mode, p.permits) {
			return
		}
		if r := s.mustRequest(p.arrival); s.canGrant(r) {
			s.grantWaiting(r)
			continue // the next one is at i now
		}
		if p.mode != shared {
			return
		}
		i++
	}
}

// closing is a lock-delay: after an expiry the lock stays closed until Open (R14).
type closing struct {
	index uint64 // names this closing; of the expiry's event
	name  lockName
	delay int64 // milliseconds
}

func (c *closing) timer() TimerChange {
	return TimerChange{
		ID:    TimerID{Kind: TimerDelay, Namespace: c.name.namespace, Lock: c.name.lock, Number: c.index},
		After: milliseconds(c.delay),
	}
}

func lessClosing(a, b *closing) bool { return a.index < b.index }

// close begins a lock-delay at the event that was told last. One that already
// runs is replaced, and never shortened.
func (s *State) close(l *lock, delay int64) {
	if old := l.closed; old != nil {
		delay = max(delay, old.delay)
		s.closings.Delete(old)
		s.stop(old.timer())
	}
	l.closed = &closing{index: s.counter, name: l.name, delay: delay}
	s.closings.Set(l.closed)
	s.start(l.closed.timer())
}

// applyOpen ends lock-delays that ran out on the leader's clock. One that has
// begun since, under another index, goes on.
func (s *State) applyOpen(cmd *leasepb.Open) *leasepb.Result {
	for _, c := range cmd.GetLocks() {
		name := nameOf(c.Lock)
		if !s.Owns(HashNamespace(name.namespace)) {
			continue // R1
		}
		l := s.lock(name)
		if l == nil || l.closed == nil || l.closed.index != c.Index {
			continue
		}
		l = s.ownLock(name)
		s.closings.Delete(l.closed)
		s.stop(l.closed.timer())
		l.closed = nil
		s.unsettle(l)
	}
	return &leasepb.Result{}
}

func lessLock(a, b *lock) bool { return a.name.compare(b.name) < 0 }

func nameOf(ref *leasepb.LockRef) lockName {
	return lockName{namespace: ref.GetNamespace(), lock: ref.GetLock()}
}
