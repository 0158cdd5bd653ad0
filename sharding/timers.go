package sharding

import (
	"iter"
	"time"

	"lockd/lease"
)

// timers are all timers of one term of a group's leader (R-time). They are
// pure: the time is an argument, and what has run out is handed to the caller,
// who proposes the entry that ends it. One goroutine owns them.
//
// The kinds have a table each, so that a hundred thousand leases which run out
// at once do not stand before the end of somebody's wait.
type timers struct {
	leases table[lease.ID]
	waits  table[lease.Attempt]
	delays table[lockName] // numbered by the index of the closing
	keys   table[keyName]
}

// keyName names a memory of an Idempotency-Key, as Forget does.
type keyName struct {
	hash  [16]byte
	index uint64
}

// lockName names a lock of a group.
type lockName struct{ namespace, lock string }

// newTimers starts all timers in full, in O(n): no leader knows how much of
// them passed under another one (S3).
func newTimers(now time.Duration, all iter.Seq[lease.TimerChange]) *timers {
	t := &timers{}
	for c := range all {
		switch id := c.ID; id.Kind {
		case lease.TimerLease:
			t.leases.add(now, id.Lease, c)
		case lease.TimerWait:
			t.waits.add(now, attemptOf(id), c)
		case lease.TimerDelay:
			t.delays.add(now, lockName{id.Namespace, id.Lock}, c)
		case lease.TimerKey:
			t.keys.add(now, keyName{id.Key, id.Number}, c)
		}
	}
	t.leases.order()
	t.waits.order()
	t.delays.order()
	t.keys.order()
	return t
}

// change starts or stops what an applied entry says.
func (t *timers) change(now time.Duration, c lease.TimerChange) {
	switch id := c.ID; id.Kind {
	case lease.TimerLease:
		t.leases.change(now, id.Lease, c)
	case lease.TimerWait:
		t.waits.change(now, attemptOf(id), c)
	case lease.TimerDelay:
		t.delays.change(now, lockName{id.Namespace, id.Lock}, c)
	case lease.TimerKey:
		t.keys.change(now, keyName{id.Key, id.Number}, c)
	}
}

func attemptOf(id lease.TimerID) lease.Attempt {
	return lease.Attempt{Boot: id.Boot, Number: id.Number}
}

// extend puts everything off by the time in which the loop stood still: what
// clients sent meanwhile still waits in its sockets (R-time).
func (t *timers) extend(gap time.Duration) {
	t.leases.offset += gap
	t.waits.offset += gap
	t.delays.offset += gap
	t.keys.offset += gap
}

// next is when the first timer that does not fire yet runs out; ok is false if
// there is none.
func (t *timers) next() (at time.Duration, ok bool) {
	t.leases.first(&at, &ok)
	t.waits.first(&at, &ok)
	t.delays.first(&at, &ok)
	t.keys.first(&at, &ok)
	return at, ok
}

// timer is one thing that runs out.
type timer[K comparable] struct {
	id K
	// number tells the closings of one lock apart.
	number uint64
	after  time.Duration // how long it runs in full
	// at is when it runs out and due, never later, by which it is ordered in
	// the heap; both without the table's offset. A keepalive only moves at:
	// the heap learns of it when due has come.
	at, due time.Duration
	slot    int // in the heap; firing while its end is proposed
}

// firing is the slot of a timer whose end was proposed and whose proposal is
// still open (R6).
const firing = -1

// table is a heap of timers that are also found by id. Its zero value is ready.
type table[K comparable] struct {
	byID   map[K]*timer[K]
	heap   []*timer[K]
	offset time.Duration
}

// add puts a timer at the end of the heap, which order then puts in order.
func (t *table[K]) add(now time.Duration, id K, c lease.TimerChange) *timer[K] {
	if t.byID == nil {
		t.byID = make(map[K]*timer[K])
	}
	at := now + c.After - t.offset
	tm := &timer[K]{id: id, number: c.ID.Number, after: c.After, at: at, due: at, slot: len(t.heap)}
	t.byID[id] = tm
	t.heap = append(t.heap, tm)
	return tm
}

func (t *table[K]) order() {
	for i := len(t.heap)/2 - 1; i >= 0; i-- {
		t.down(i)
	}
}

// change starts a timer anew, in full, or stops it.
func (t *table[K]) change(now time.Duration, id K, c lease.TimerChange) {
	t.stop(id)
	if !c.Stop {
		t.up(t.add(now, id, c).slot)
	}
}

// stop forgets a timer, also a firing one: its proposal has ended it, or
// something else did.
func (t *table[K]) stop(id K) {
	tm := t.byID[id]
	if tm == nil {
		return
	}
	delete(t.byID, id)
	if tm.slot != firing {
		t.remove(tm)
	}
}

// renew lets a timer run in full from a moment, or as long as it does already
// if that is longer. It returns nil for one that is not there; one that fires
// is left alone (R6).
func (t *table[K]) renew(from time.Duration, id K) *timer[K] {
	tm := t.byID[id]
	if tm != nil && tm.slot != firing {
		tm.at = max(tm.at, from+tm.after-t.offset)
	}
	return tm
}

// left is how long a timer still runs; one that is over or fires has 0.
func (t *table[K]) left(now time.Duration, tm *timer[K]) time.Duration {
	if tm.slot == firing {
		return 0
	}
	return max(0, tm.at+t.offset-now)
}

// first lowers *at to the first time when a timer of the table runs out.
func (t *table[K]) first(at *time.Duration, ok *bool) {
	if len(t.heap) == 0 {
		return
	}
	if due := t.heap[0].due + t.offset; !*ok || due < *at {
		*at, *ok = due, true
	}
}

// fire takes up to limit timers that have run out, in the order in which they
// did. They fire until they are stopped or held.
func (t *table[K]) fire(now time.Duration, limit int) []*timer[K] {
	var fired []*timer[K]
	for len(fired) < limit && len(t.heap) > 0 {
		tm := t.heap[0]
		if tm.due+t.offset > now {
			break
		}
		if tm.at > tm.due { // was renewed
			tm.due = tm.at
			t.down(0)
			continue
		}
		t.remove(tm)
		tm.slot = firing
		fired = append(fired, tm)
	}
	return fired
}

// hold undoes fire for a timer whose proposal certainly was not done: it is
// tried again at a later moment, and may be renewed before that.
func (t *table[K]) hold(tm *timer[K], until time.Duration) {
	if tm.slot != firing || t.byID[tm.id] != tm {
		return
	}
	tm.at = max(tm.at, until-t.offset)
	tm.due = tm.at
	tm.slot = len(t.heap)
	t.heap = append(t.heap, tm)
	t.up(tm.slot)
}

func (t *table[K]) remove(tm *timer[K]) {
	i, last := tm.slot, len(t.heap)-1
	t.swap(i, last)
	t.heap[last] = nil
	t.heap = t.heap[:last]
	if i < last {
		t.down(i)
		t.up(i)
	}
}

func (t *table[K]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if t.heap[parent].due <= t.heap[i].due {
			return
		}
		t.swap(i, parent)
		i = parent
	}
}

func (t *table[K]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(t.heap) {
			return
		}
		if right := child + 1; right < len(t.heap) && t.heap[right].due < t.heap[child].due {
			child = right
		}
		if t.heap[i].due <= t.heap[child].due {
			return
		}
		t.swap(i, child)
		i = child
	}
}

func (t *table[K]) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.heap[i].slot, t.heap[j].slot = i, j
}
