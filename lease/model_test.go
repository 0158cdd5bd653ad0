package lease

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"lockd/lease/leasepb"
)

// model is State again, as naively as possible: lists that are searched from
// end to end, and grants found by trying everyone until nobody can be granted.
// It knows no tokens, timers, keys or events.
type model struct {
	leases map[ID]*modelLease
	claims []*modelClaim // held or waiting, in order of arrival
	closed map[lockName]bool
	next   int
}

type modelLease struct {
	oneShot, running bool
	delay            bool
}

// modelClaim is what a lease has in one lock. Those with the same number are of
// one request.
type modelClaim struct {
	lease   ID
	want    want
	number  int
	held    bool
	counts  []lockName // of a waiting one: held before, and counted on
	attempt Attempt
}

func newModel() *model {
	return &model{leases: make(map[ID]*modelLease), closed: make(map[lockName]bool)}
}

func (m *model) claim(id ID, name lockName) *modelClaim {
	for _, c := range m.claims {
		if c.lease == id && c.want.lock == name {
			return c
		}
	}
	return nil
}

func (m *model) drop(which func(*modelClaim) bool) {
	m.claims = slices.DeleteFunc(m.claims, which)
}

// apply returns the code that the command gets.
func (m *model) apply(cmd *leasepb.Command) leasepb.Code {
	code := m.decide(cmd)
	m.grant()
	for id, l := range m.leases {
		if l.oneShot && !slices.ContainsFunc(m.claims, func(c *modelClaim) bool { return c.lease == id }) {
			delete(m.leases, id)
		}
	}
	return code
}

func (m *model) decide(cmd *leasepb.Command) leasepb.Code {
	switch op := cmd.Op.(type) {
	case *leasepb.Command_CreateLease:
		id := idOf(op.CreateLease.Lease)
		if m.leases[id] == nil {
			m.leases[id] = &modelLease{running: true, delay: op.CreateLease.New.LockDelayMs > 0}
		}
	case *leasepb.Command_Acquire:
		return m.acquire(op.Acquire)
	case *leasepb.Command_Release:
		return m.release(op.Release)
	case *leasepb.Command_Cancel:
		c := m.claim(idOf(op.Cancel.Lease), nameOf(op.Cancel.Lock))
		if c != nil && !c.held && c.attempt == attemptOf(op.Cancel.Attempt) {
			m.drop(func(other *modelClaim) bool { return !other.held && other.number == c.number })
		}
	case *leasepb.Command_EndLease:
		id := idOf(op.EndLease.Lease)
		if m.leases[id] == nil {
			return leasepb.Code_LEASE_NOT_FOUND
		}
		m.end(id)
	case *leasepb.Command_Expire:
		for _, b := range op.Expire.Leases {
			id := idOf(b)
			l := m.leases[id]
			if l == nil || !l.running {
				continue
			}
			for _, c := range m.claims {
				if l.delay && c.held && c.lease == id {
					m.closed[c.want.lock] = true
				}
			}
			m.end(id)
		}
	case *leasepb.Command_Open:
		for _, c := range op.Open.Locks {
			delete(m.closed, nameOf(c.Lock))
		}
	case *leasepb.Command_ForceRelease:
		name := nameOf(op.ForceRelease.Lock)
		for _, c := range slices.Clone(m.claims) {
			if c.held && c.want.lock == name {
				m.end1(c)
			}
		}
	}
	return leasepb.Code_OK
}

func (m *model) end(id ID) {
	delete(m.leases, id)
	m.drop(func(c *modelClaim) bool { return c.lease == id })
}

// end1 ends one claim: all of its request if it waits, and what counts on it.
func (m *model) end1(ended *modelClaim) {
	numbers := map[int]bool{}
	if !ended.held {
		numbers[ended.number] = true
	}
	for _, c := range m.claims {
		if ended.held && !c.held && c.lease == ended.lease && slices.Contains(c.counts, ended.want.lock) {
			numbers[c.number] = true
		}
	}
	m.drop(func(c *modelClaim) bool { return c == ended || !c.held && numbers[c.number] })
}

func (m *model) release(cmd *leasepb.Release) leasepb.Code {
	id := idOf(cmd.Lease)
	if m.leases[id] == nil {
		return leasepb.Code_LEASE_NOT_FOUND
	}
	var ending []*modelClaim
	for _, c := range m.claims {
		named := slices.ContainsFunc(cmd.Locks, func(r *leasepb.ReleaseRef) bool {
			return c.want.lock == lockName{namespace: r.Namespace, lock: r.Lock}
		})
		if c.lease == id && (named || len(cmd.Locks) == 0) {
			ending = append(ending, c)
		}
	}
	if len(ending) == 0 {
		return leasepb.Code_NOT_HOLDER
	}
	for _, c := range ending {
		if slices.Contains(m.claims, c) {
			m.end1(c)
		}
	}
	return leasepb.Code_OK
}

func (m *model) acquire(cmd *leasepb.Acquire) leasepb.Code {
	id := idOf(cmd.Lease)
	if m.leases[id] == nil && cmd.OneShot == nil {
		return leasepb.Code_LEASE_NOT_FOUND
	}
	var missing []want
	var held []lockName
	var joined *modelClaim
	for _, r := range cmd.Locks {
		w := newWant(r)
		c := m.claim(id, w.lock)
		for _, other := range m.claims {
			if c == nil && w.mode == permit && other.want.lock == w.lock && other.want.mode == permit && other.want.limit != w.limit {
				return leasepb.Code_MODE_CONFLICT
			}
		}
		switch {
		case c == nil:
			missing = append(missing, w)
		case c.want != w:
			return leasepb.Code_MODE_CONFLICT
		case c.held:
			held = append(held, w.lock)
		default:
			joined = c
			missing = append(missing, w)
		}
	}
	switch {
	case len(missing) == 0:
		return leasepb.Code_OK
	case joined != nil:
		return m.join(cmd, joined, missing, held)
	}
	for _, w := range missing {
		m.claims = append(m.claims, &modelClaim{
			lease: id, want: w, number: m.next, counts: held, attempt: attemptOf(cmd.Attempt),
		})
	}
	number := m.next
	m.next++
	granted := m.mayHave(number)
	if !granted && cmd.WaitMs == 0 {
		m.drop(func(c *modelClaim) bool { return !c.held && c.number == number })
		return leasepb.Code_LOCK_HELD
	}
	if m.leases[id] == nil {
		m.leases[id] = &modelLease{oneShot: true, delay: cmd.OneShot.LockDelayMs > 0}
	}
	if !granted {
		return leasepb.Code_QUEUED
	}
	return leasepb.Code_OK // grant will
}

func (m *model) join(cmd *leasepb.Acquire, joined *modelClaim, missing []want, held []lockName) leasepb.Code {
	if cmd.WaitMs == 0 {
		return leasepb.Code_LOCK_HELD
	}
	var waiting []want
	for _, c := range m.claims {
		if !c.held && c.number == joined.number {
			waiting = append(waiting, c.want)
		}
	}
	if !sameSet(waiting, missing) || !sameSet(joined.counts, held) {
		return leasepb.Code_MODE_CONFLICT
	}
	for _, c := range m.claims {
		if !c.held && c.number == joined.number {
			c.attempt = attemptOf(cmd.Attempt)
		}
	}
	return leasepb.Code_QUEUED
}

func sameSet[T comparable](a, b []T) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(t T) bool { return !slices.Contains(b, t) })
}

// mayHave tells whether all claims of a request can be granted now.
func (m *model) mayHave(number int) bool {
	for _, c := range m.claims {
		if !c.held && c.number == number && !m.mayHaveOne(c) {
			return false
		}
	}
	return true
}

func (m *model) mayHaveOne(c *modelClaim) bool {
	if m.closed[c.want.lock] {
		return false
	}
	used := c.want.permits
	for _, other := range m.claims {
		switch {
		case other.want.lock != c.want.lock || other == c:
		case other.held && (other.want.mode != c.want.mode || c.want.mode == exclusive):
			return false
		case other.held:
			used += other.want.permits
		case other.number < c.number && (other.want.mode != shared || c.want.mode != shared):
			return false // it came first
		}
	}
	return c.want.mode != permit || used <= c.want.limit
}

// grant grants, in any order, until nobody can be granted.
func (m *model) grant() {
	for again := true; again; {
		again = false
		for number := range m.next {
			var mine []*modelClaim
			for _, c := range m.claims {
				if !c.held && c.number == number {
					mine = append(mine, c)
				}
			}
			if len(mine) == 0 || !m.mayHave(number) {
				continue
			}
			for _, c := range mine {
				c.held = true
			}
			m.leases[mine[0].lease].running = true
			again = true
		}
	}
}

// describe tells who holds and waits for what: holders by lease, the queue in order.
func (m *model) describe() string {
	return describe(func(yield func(ID, lockName, bool, leasepb.Mode)) {
		for _, c := range m.claims {
			yield(c.lease, c.want.lock, c.held, c.want.mode)
		}
	})
}

func (s *State) describe() string {
	return describe(func(yield func(ID, lockName, bool, leasepb.Mode)) {
		s.locks.Scan(func(l *lock) bool {
			for _, p := range slices.Concat(l.holders, l.queue) {
				yield(p.lease, p.lock, !p.waits(), p.mode)
			}
			return true
		})
	})
}

func describe(all func(yield func(ID, lockName, bool, leasepb.Mode))) string {
	holders, queues := map[lockName][]string{}, map[lockName][]string{}
	var names []lockName
	all(func(id ID, name lockName, held bool, mode leasepb.Mode) {
		if holders[name] == nil && queues[name] == nil {
			names = append(names, name)
		}
		text := fmt.Sprintf("%s %s", strings.TrimRight(string(id[8:]), "\x00"), mode)
		if held {
			holders[name] = append(holders[name], text)
		} else {
			queues[name] = append(queues[name], text)
		}
	})
	slices.SortFunc(names, lockName.compare)
	var b strings.Builder
	for _, name := range names {
		slices.SortFunc(holders[name], cmp.Compare[string])
		fmt.Fprintf(&b, "%v holders=%v queue=%v\n", name, holders[name], queues[name])
	}
	return b.String()
}
