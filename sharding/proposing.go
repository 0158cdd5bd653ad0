package sharding

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"time"

	"lockd/consensus"
	"lockd/lease"
	"lockd/lease/leasepb"
)

// Bounds of what a leader proposes of its own. Entries are small and few are
// open at a time, so that the end of very many leases at once takes turns with
// what clients ask for.
const (
	expireBatch = 256 // leases in an entry
	maxExpires  = 4   // entries open
	maxCancels  = 512
	openBatch   = 256
	maxOpens    = 2
	forgetBatch = 1024
	maxForgets  = 1

	// wakeStep is how late a leader may notice that something ran out: timers
	// within it share a turn.
	wakeStep = 5 * time.Millisecond
	// unappliedPause comes before an end is proposed again that was applied
	// and changed nothing.
	unappliedPause = time.Second
)

// openEntries counts the entries that a leader proposed and that are not
// applied yet.
type openEntries struct{ expires, cancels, opens, forgets int }

// proposing is the end of a turn, in which a leader proposes what is due.
// Everything it proposes carries its term (R-time).
type proposing struct {
	*leader
	proposals []consensus.Proposal
}

// turn proposes what is due, and says when it wants to look again.
func (l *leader) turn(now, gap time.Duration) (proposals []consensus.Proposal, wake time.Duration) {
	l.now = now
	if gap > 0 {
		l.timers.extend(gap)
	}
	p := proposing{leader: l}
	p.own()
	p.sweep()
	p.expire()
	p.endWaits()
	p.endDelays()
	p.forget()
	return p.proposals, l.wake()
}

func (p *proposing) add(cmd *leasepb.Command, done func(err error)) {
	cmd.Term = p.term
	p.proposals = append(p.proposals, consensus.Proposal{
		Data: mustMarshal(cmd), Term: p.term, Done: func(_ any, err error) { done(err) },
	})
}

// own gives a group that owns nothing the ranges it was made for.
func (p *proposing) own() {
	if !p.landless() || p.now < p.ownAt {
		return
	}
	p.ownAt = p.now + unappliedPause
	p.add(&leasepb.Command{Op: &leasepb.Command_Own{Own: &leasepb.Own{Ranges: p.shard.ranges}}}, func(err error) {
		if err != nil {
			p.ownAt = p.now + refusedPause
		}
	})
}

func (l *leader) landless() bool {
	return len(l.shard.state.Ranges()) == 0 && len(l.shard.ranges) > 0
}

// expire ends leases whose time is over.
func (p *proposing) expire() {
	for p.open.expires < maxExpires {
		fired := p.timers.leases.fire(p.now, expireBatch)
		if len(fired) == 0 {
			return
		}
		ids := make([][]byte, len(fired))
		for i, tm := range fired {
			ids[i] = tm.id[:]
		}
		p.open.expires++
		p.add(&leasepb.Command{Op: &leasepb.Command_Expire{Expire: &leasepb.Expire{Leases: ids}}}, func(err error) {
			p.open.expires--
			holdFired(p.leader, &p.timers.leases, fired, err)
		})
	}
}

// endWaits cancels what waits for longer than it wanted to (R13).
func (p *proposing) endWaits() {
	for _, tm := range p.timers.waits.fire(p.now, maxCancels-p.open.cancels) {
		w := p.waiters[tm.id]
		if w == nil {
			p.timers.waits.stop(tm.id)
			continue
		}
		p.cancel(w, leasepb.CancelReason_CANCEL_WAIT_OVER, func(err error) {
			holdFired(p.leader, &p.timers.waits, []*timer[lease.Attempt]{tm}, err)
		})
	}
}

func (p *proposing) cancel(w *waiter, reason leasepb.CancelReason, done func(error)) {
	p.open.cancels++
	at := &w.place
	p.add(&leasepb.Command{Op: &leasepb.Command_Cancel{Cancel: &leasepb.Cancel{
		Lease: at.Lease[:], Lock: &leasepb.LockRef{Namespace: at.Namespace, Lock: at.Lock},
		Attempt: &leasepb.Attempt{Boot: at.Attempt.Boot, Id: at.Attempt.Number}, Reason: reason,
	}}}, func(err error) {
		p.open.cancels--
		done(err)
	})
}

// endDelays opens locks whose lock-delay is over (R14).
func (p *proposing) endDelays() {
	for p.open.opens < maxOpens {
		fired := p.timers.delays.fire(p.now, openBatch)
		if len(fired) == 0 {
			return
		}
		closed := make([]*leasepb.Closed, len(fired))
		for i, tm := range fired {
			closed[i] = &leasepb.Closed{Lock: &leasepb.LockRef{Namespace: tm.id.namespace, Lock: tm.id.lock}, Index: tm.number}
		}
		p.open.opens++
		p.add(&leasepb.Command{Op: &leasepb.Command_Open{Open: &leasepb.Open{Locks: closed}}}, func(err error) {
			p.open.opens--
			holdFired(p.leader, &p.timers.delays, fired, err)
		})
	}
}

// forget drops keys that were remembered for long enough (R8).
func (p *proposing) forget() {
	for p.open.forgets < maxForgets {
		fired := p.timers.keys.fire(p.now, forgetBatch)
		if len(fired) == 0 {
			return
		}
		keys := make([]*leasepb.ForgetKey, len(fired))
		for i, tm := range fired {
			keys[i] = &leasepb.ForgetKey{Hash: tm.id.hash[:], Index: tm.id.index}
		}
		p.open.forgets++
		p.add(&leasepb.Command{Op: &leasepb.Command_Forget{Forget: &leasepb.Forget{Keys: keys}}}, func(err error) {
			p.open.forgets--
			holdFired(p.leader, &p.timers.keys, fired, err)
		})
	}
}

// holdFired ends the firing of timers whose proposal's outcome is known and
// has not stopped them (R6). While it is unknown they go on firing: then the
// leadership is over, and the next one has timers of its own.
func holdFired[K comparable](l *leader, t *table[K], fired []*timer[K], err error) {
	until := l.now + unappliedPause
	switch {
	case err == nil:
	case certainlyNot(err):
		until = l.now + refusedPause
	default:
		return
	}
	for _, tm := range fired {
		t.hold(tm, until)
	}
}

// certainlyNot tells whether what failed was certainly not done.
func certainlyNot(err error) bool {
	var notLeader *consensus.NotLeaderError
	return errors.As(err, &notLeader) || errors.Is(err, consensus.ErrOverloaded) || errors.Is(err, consensus.ErrStopped)
}

// sweep looks for what nobody waits for any more: places whose client or
// serving process is gone (R13), and one-shot grants that reached nobody.
func (p *proposing) sweep() {
	if p.sweepAt == 0 || p.now < p.sweepAt {
		return
	}
	p.sweepAt = 0
	lost := p.lostBoots()
	unwanted := p.waitersWhere(func(w *waiter) bool {
		return !w.cancelling && (w.gone || slices.Contains(lost, w.place.Attempt.Boot))
	})
	for _, w := range unwanted {
		if p.open.cancels >= maxCancels {
			p.sweepBy(p.now + wakeStep)
			break
		}
		p.dismiss(w)
	}
	p.endOrphans(lost)
}

// lostBoots lists the processes with something in the queues that have not
// reached this node for an election timeout. As long as there are others, it
// is asked for again.
func (p *proposing) lostBoots() (lost []uint64) {
	var checked []uint64
	check := func(boot uint64) {
		if !p.shard.links.remote(boot) || boot == 0 || slices.Contains(checked, boot) {
			return
		}
		checked = append(checked, boot)
		if p.shard.links.downFor(p.now, boot) >= p.shard.election {
			lost = append(lost, boot)
		}
		p.sweepBy(p.now + p.shard.election/2)
	}
	for attempt := range p.waiters {
		check(attempt.Boot)
	}
	for _, o := range p.orphans {
		check(o.boot)
	}
	return lost
}

func (p *proposing) dismiss(w *waiter) {
	reason := leasepb.CancelReason_CANCEL_NODE_GONE
	if w.gone {
		reason = leasepb.CancelReason_CANCEL_CLIENT_GONE
	}
	w.cancelling = true
	p.cancel(w, reason, func(err error) {
		w.cancelling = false
		if err != nil {
			p.sweepBy(p.now + refusedPause)
		}
	})
}

// endOrphans releases one-shot grants that reached nobody: those whose request
// was given up, and those of a process that is gone. One that can be reached
// is given the time to ask for what it waited for.
func (p *proposing) endOrphans(lost []uint64) {
	for _, id := range slices.SortedFunc(maps.Keys(p.orphans), func(a, b lease.ID) int { return bytes.Compare(a[:], b[:]) }) {
		o := p.orphans[id]
		switch {
		case o.ending:
		case o.boot == 0 || slices.Contains(lost, o.boot):
			p.end(id, o)
		case p.now-o.since >= 2*p.shard.election:
			delete(p.orphans, id)
		default:
			p.sweepBy(p.now + p.shard.election/2)
		}
	}
}

func (p *proposing) end(id lease.ID, o *orphan) {
	o.ending = true
	p.add(&leasepb.Command{Op: &leasepb.Command_EndLease{EndLease: &leasepb.EndLease{Lease: id[:]}}}, func(err error) {
		o.ending = false
		if err == nil {
			delete(p.orphans, id)
			return
		}
		p.sweepBy(p.now + refusedPause)
	})
}

// wake is when the next timer is to be looked at; 0 if there is none.
func (l *leader) wake() time.Duration {
	var at time.Duration
	var some bool
	if l.open.expires < maxExpires {
		l.timers.leases.first(&at, &some)
	}
	if l.open.cancels < maxCancels {
		l.timers.waits.first(&at, &some)
	}
	if l.open.opens < maxOpens {
		l.timers.delays.first(&at, &some)
	}
	if l.open.forgets < maxForgets {
		l.timers.keys.first(&at, &some)
	}
	if some {
		at = max(at, l.now+wakeStep)
	}
	at = sooner(at, l.sweepAt)
	if l.landless() {
		at = sooner(at, l.ownAt)
	}
	return at
}

// sooner returns the earlier of two times, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}
