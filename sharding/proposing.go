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
	expireBatch = 128 // leases in an entry
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

// turn ends a turn of the group's loop: the leader proposes what is due, and
// says when it wants to look again. All that it proposes carries its term
// (R-time).
func (l *leader) turn(now, gap time.Duration) (proposals []consensus.Proposal, wake time.Duration) {
	l.now = now
	if gap > 0 {
		l.timers.extend(gap)
	}
	l.own()
	l.sweep()
	l.expire()
	l.endWaits()
	l.endDelays()
	l.forget()
	proposals, l.proposals = l.proposals, nil
	return proposals, l.wake()
}

func (l *leader) propose(cmd *leasepb.Command, done func(err error)) {
	cmd.Term, cmd.AtUnixMs = l.term, l.shard.wall().UnixMilli()
	l.proposals = append(l.proposals, consensus.Proposal{
		Data: mustMarshal(cmd), Term: l.term, Done: func(_ any, err error) { done(err) },
	})
}

// own gives a group that owns nothing the ranges it was made for.
func (l *leader) own() {
	if !l.landless() || l.now < l.ownAt {
		return
	}
	l.ownAt = l.now + unappliedPause
	l.propose(&leasepb.Command{Op: &leasepb.Command_Own{Own: &leasepb.Own{Ranges: l.shard.ranges}}}, func(err error) {
		if err != nil {
			l.ownAt = l.now + refusedPause
		}
	})
}

func (l *leader) landless() bool {
	return len(l.shard.state.Ranges()) == 0 && len(l.shard.ranges) > 0
}

// expire ends leases whose time is over.
func (l *leader) expire() {
	for l.open.expires < maxExpires {
		fired := l.timers.leases.fire(l.now, expireBatch)
		if len(fired) == 0 {
			return
		}
		ids := make([][]byte, len(fired))
		for i, tm := range fired {
			ids[i] = tm.id[:]
		}
		l.open.expires++
		l.propose(&leasepb.Command{Op: &leasepb.Command_Expire{Expire: &leasepb.Expire{Leases: ids}}}, func(err error) {
			l.open.expires--
			holdFired(l, &l.timers.leases, fired, err)
		})
	}
}

// endWaits cancels what waits for longer than it wanted to (R13).
func (l *leader) endWaits() {
	for _, tm := range l.timers.waits.fire(l.now, maxCancels-l.open.cancels) {
		w := l.waiters[tm.id]
		if w == nil {
			l.timers.waits.stop(tm.id)
			continue
		}
		l.cancel(w, leasepb.CancelReason_CANCEL_WAIT_OVER, func(err error) {
			holdFired(l, &l.timers.waits, []*timer[lease.Attempt]{tm}, err)
		})
	}
}

func (l *leader) cancel(w *waiter, reason leasepb.CancelReason, done func(error)) {
	l.open.cancels++
	at := &w.place
	l.propose(&leasepb.Command{Op: &leasepb.Command_Cancel{Cancel: &leasepb.Cancel{
		Lease: at.Lease[:], Lock: &leasepb.LockRef{Namespace: at.Namespace, Lock: at.Lock},
		Attempt: &leasepb.Attempt{Boot: at.Attempt.Boot, Id: at.Attempt.Number}, Reason: reason,
	}}}, func(err error) {
		l.open.cancels--
		done(err)
	})
}

// endDelays opens locks whose lock-delay is over (R14).
func (l *leader) endDelays() {
	for l.open.opens < maxOpens {
		fired := l.timers.delays.fire(l.now, openBatch)
		if len(fired) == 0 {
			return
		}
		closed := make([]*leasepb.Closed, len(fired))
		for i, tm := range fired {
			closed[i] = &leasepb.Closed{Lock: &leasepb.LockRef{Namespace: tm.id.namespace, Lock: tm.id.lock}, Index: tm.number}
		}
		l.open.opens++
		l.propose(&leasepb.Command{Op: &leasepb.Command_Open{Open: &leasepb.Open{Locks: closed}}}, func(err error) {
			l.open.opens--
			holdFired(l, &l.timers.delays, fired, err)
		})
	}
}

// forget drops keys that were remembered for long enough (R8).
func (l *leader) forget() {
	for l.open.forgets < maxForgets {
		fired := l.timers.keys.fire(l.now, forgetBatch)
		if len(fired) == 0 {
			return
		}
		keys := make([]*leasepb.ForgetKey, len(fired))
		for i, tm := range fired {
			keys[i] = &leasepb.ForgetKey{Hash: tm.id.hash[:], Index: tm.id.index}
		}
		l.open.forgets++
		l.propose(&leasepb.Command{Op: &leasepb.Command_Forget{Forget: &leasepb.Forget{Keys: keys}}}, func(err error) {
			l.open.forgets--
			holdFired(l, &l.timers.keys, fired, err)
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
func (l *leader) sweep() {
	if l.sweepAt == 0 || l.now < l.sweepAt {
		return
	}
	l.sweepAt = 0
	lost := l.lostBoots()
	unwanted := l.waitersWhere(func(w *waiter) bool {
		return !w.cancelling && (w.gone || slices.Contains(lost, w.place.Attempt.Boot))
	})
	for _, w := range unwanted {
		if l.open.cancels >= maxCancels {
			l.sweepBy(l.now + wakeStep)
			break
		}
		l.dismiss(w)
	}
	l.endOrphans(lost)
}

// lostBoots lists the processes with something in the queues that have not
// reached this node for an election timeout. As long as there are others, it
// is asked for again.
func (l *leader) lostBoots() (lost []uint64) {
	var checked []uint64
	check := func(boot uint64) {
		if !l.shard.links.remote(boot) || boot == 0 || slices.Contains(checked, boot) {
			return
		}
		checked = append(checked, boot)
		if l.shard.links.downFor(l.now, boot) >= l.shard.election {
			lost = append(lost, boot)
		}
		l.sweepBy(l.now + l.shard.election/2)
	}
	for attempt := range l.waiters {
		check(attempt.Boot)
	}
	for _, o := range l.orphans {
		check(o.boot)
	}
	return lost
}

func (l *leader) dismiss(w *waiter) {
	reason := leasepb.CancelReason_CANCEL_NODE_GONE
	if w.gone {
		reason = leasepb.CancelReason_CANCEL_CLIENT_GONE
	}
	w.cancelling = true
	l.cancel(w, reason, func(err error) {
		w.cancelling = false
		if err != nil {
			l.sweepBy(l.now + refusedPause)
		}
	})
}

// endOrphans releases one-shot grants that reached nobody: those whose request
// was given up, and those of a process that is gone. One that can be reached
// is given the time to ask for what it waited for.
func (l *leader) endOrphans(lost []uint64) {
	for _, id := range slices.SortedFunc(maps.Keys(l.orphans), func(a, b lease.ID) int { return bytes.Compare(a[:], b[:]) }) {
		o := l.orphans[id]
		switch {
		case o.ending:
		case o.boot == 0 || slices.Contains(lost, o.boot):
			l.end(id, o)
		case l.now-o.since >= 2*l.shard.election:
			delete(l.orphans, id)
		default:
			l.sweepBy(l.now + l.shard.election/2)
		}
	}
}

func (l *leader) end(id lease.ID, o *orphan) {
	o.ending = true
	l.propose(&leasepb.Command{Op: &leasepb.Command_EndLease{EndLease: &leasepb.EndLease{Lease: id[:]}}}, func(err error) {
		o.ending = false
		if err == nil {
			delete(l.orphans, id)
			return
		}
		l.sweepBy(l.now + refusedPause)
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
