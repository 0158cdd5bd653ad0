package sharding

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"lockd/consensus"
	"lockd/lease"
	"lockd/lease/leasepb"
	"lockd/sharding/shardpb"
)

// leader is what a shard has while it leads one term: the timers, those who
// wait for a later entry, and what is to be proposed. It is made anew in every
// term (R-time) and decides on events alone, with the time as an argument.
type leader struct {
	shard   *shard
	term    uint64
	now     time.Duration // of the last turn
	timers  *timers
	waiters map[lease.Attempt]*waiter
	// orphans are one-shot leases that were granted a lock while nobody took
	// the answer.
	orphans map[lease.ID]*orphan
	sweepAt time.Duration // when waiters and orphans are looked through; 0: no need
	ownAt   time.Duration // when the group's ranges may be proposed
	open    openEntries
	// proposals are those of the present turn.
	proposals []consensus.Proposal
}

// orphan is a one-shot lease whose grant may have reached nobody.
type orphan struct {
	boot   uint64 // of the process that asked for it
	since  time.Duration
	ending bool // its end is proposed and open
}

func newLeader(s *shard, now time.Duration, term uint64) *leader {
	l := &leader{
		shard: s, term: term, now: now,
		timers:  newTimers(now, s.state.Timers),
		waiters: make(map[lease.Attempt]*waiter),
		orphans: make(map[lease.ID]*orphan),
	}
	for w := range s.state.Waits {
		l.waiters[w.Attempt] = &waiter{leader: l, place: w, since: now}
		l.sweepAt = now + s.election
	}
	return l
}

// fail tells everybody who waits that this leadership is over.
func (l *leader) fail() {
	for _, w := range l.waitersWhere(func(*waiter) bool { return true }) {
		w.settle(nil, errPlaceLeft)
	}
}

// waitersWhere lists some waiters, in an order that does not depend on the
// map's.
func (l *leader) waitersWhere(wanted func(*waiter) bool) []*waiter {
	var some []*waiter
	for _, w := range l.waiters {
		if wanted(w) {
			some = append(some, w)
		}
	}
	slices.SortFunc(some, func(a, b *waiter) int {
		x, y := a.place.Attempt, b.place.Attempt
		return cmp.Or(cmp.Compare(x.Boot, y.Boot), cmp.Compare(x.Number, y.Number))
	})
	return some
}

// applied follows an entry: it sets timers, answers those who waited for it,
// and completes the result with what only the leader knows.
func (l *leader) applied(now time.Duration, cmd *leasepb.Command, o *lease.Outcome) any {
	// Timers first: an answer tells when its lease expires.
	for i := range o.Timers {
		if c := &o.Timers[i]; !c.Stop || !l.outlasts(c.ID, o.Answers) {
			l.timers.change(now, *c)
		}
	}
	for i := range o.Answers {
		l.answer(now, &o.Answers[i])
	}
	l.complete(now, o.Result)
	switch op := cmd.Op.(type) {
	case *leasepb.Command_Acquire:
		if o.Result.Code == leasepb.Code_QUEUED {
			return l.enqueue(now, o)
		}
		if len(l.orphans) > 0 { // its lease has found its way home
			delete(l.orphans, idOf(op.Acquire.Lease))
		}
	case *leasepb.Command_Cancel:
		l.cancelled(now, op.Cancel)
	}
	return o.Result
}

// outlasts tells whether a wait goes on here though its place was taken over
// by a newer attempt: somebody still waits for this one's answer.
func (l *leader) outlasts(id lease.TimerID, answers []lease.Answer) bool {
	if id.Kind != lease.TimerWait {
		return false
	}
	for i := range answers {
		if a := &answers[i]; a.Joined && a.Attempt == attemptOf(id) {
			w := l.waiters[a.Attempt]
			return w != nil && w.delivers()
		}
	}
	return false
}

// enqueue waits for the entry that will answer an acquire.
func (l *leader) enqueue(now time.Duration, o *lease.Outcome) *waiter {
	attempt := lease.Attempt{Boot: o.Result.Attempt.GetBoot(), Number: o.Result.Attempt.GetId()}
	w := l.waiter(attempt)
	w.since = now
	for i := range o.Timers {
		if id := &o.Timers[i].ID; id.Kind == lease.TimerWait && attemptOf(*id) == attempt {
			w.place = lease.Wait{Attempt: attempt, Lease: id.Lease, Namespace: id.Namespace, Lock: id.Lock}
		}
	}
	if l.shard.links.remote(attempt.Boot) {
		l.sweepBy(now + l.shard.election/2)
	}
	return w
}

// waiter returns the waiter of an attempt, new if there is none.
func (l *leader) waiter(attempt lease.Attempt) *waiter {
	w := l.waiters[attempt]
	if w == nil {
		w = &waiter{leader: l}
		l.waiters[attempt] = w
	}
	return w
}

// answer settles who waited for this entry.
func (l *leader) answer(now time.Duration, a *lease.Answer) {
	w := l.waiters[a.Attempt]
	if w == nil {
		return
	}
	if a.Joined {
		// The older attempt hears what the newer one does, unless its own wait
		// is over before: its timer goes on.
		newer := l.waiter(a.By)
		for _, older := range w.older {
			if !older.settled {
				newer.older = append(newer.older, older)
			}
		}
		w.older = nil
		if w.delivers() {
			newer.older = append(newer.older, w)
		} else {
			delete(l.waiters, a.Attempt)
		}
		return
	}
	delete(l.waiters, a.Attempt)
	r := a.Result()
	l.complete(now, r)
	heard := l.hear(now, w, r)
	for _, older := range w.older {
		if !older.settled {
			delete(l.waiters, older.place.Attempt)
			l.timers.waits.stop(older.place.Attempt)
			heard = l.hear(now, older, proto.Clone(r).(*leasepb.Result)) || heard
		}
	}
	if r.Code == leasepb.Code_OK && !heard && l.owedOnly(r) {
		o := &orphan{since: now}
		if !w.gone {
			o.boot = w.place.Attempt.Boot // it may yet ask
		}
		l.orphan(r, o)
	}
}

// hear gives a waiter its answer, and tells whether it reaches anybody.
func (l *leader) hear(now time.Duration, w *waiter, r *leasepb.Result) bool {
	if r.Code == leasepb.Code_OK {
		r.WaitedMs = (now - w.since).Milliseconds()
	}
	delivers := w.delivers()
	w.settle(r, nil)
	return delivers
}

// undelivered notes a grant at once whose caller was gone by then.
func (l *leader) undelivered(command []byte, r *leasepb.Result) {
	cmd, err := lease.DecodeCommand(command)
	if err != nil || cmd.GetAcquire().GetOneShot() == nil || r.Code != leasepb.Code_OK || r.Keyed {
		return
	}
	l.orphan(r, &orphan{since: l.now})
}

// owedOnly tells whether a grant is all that its one-shot lease has, and no
// retry with a key can ask for it.
func (l *leader) owedOnly(r *leasepb.Result) bool {
	if !r.OneShot || r.Keyed {
		return false
	}
	v, ok := l.shard.state.Lease(idOf(r.Lease))
	return ok && len(v.Locks) == len(r.Grants) && len(v.Waiting) == 0
}

func (l *leader) orphan(r *leasepb.Result, o *orphan) {
	l.orphans[idOf(r.Lease)] = o
	l.sweepBy(l.now)
}

// cancelled answers an attempt whose place a newer one had taken: the Cancel
// found it gone, and nothing else will answer.
func (l *leader) cancelled(now time.Duration, c *leasepb.Cancel) {
	attempt := lease.Attempt{Boot: c.Attempt.GetBoot(), Number: c.Attempt.GetId()}
	w := l.waiters[attempt]
	if w == nil || w.place.Lease != idOf(c.Lease) || l.shard.state.IsWaiting(w.place) {
		return // it waits on: the Cancel named a lock that its lease holds
	}
	delete(l.waiters, attempt)
	l.timers.waits.stop(attempt)
	r := &leasepb.Result{Code: leasepb.Code_LOCK_HELD, BlockedBy: []*leasepb.LockRef{{Namespace: w.place.Namespace, Lock: w.place.Lock}}}
	l.complete(now, r)
	w.settle(r, nil)
}

func (l *leader) sweepBy(at time.Duration) {
	if l.sweepAt == 0 || at < l.sweepAt {
		l.sweepAt = at
	}
}

// renew answers a keepalive (R5): leadership was confirmed after it was
// received, so a lease that is alive now has not been ended by anyone else.
func (l *leader) renew(now, received time.Duration, k *keepalive) {
	k.outcomes = slices.Grow(k.outcomes[:0], len(k.ids))
	for _, id := range k.ids {
		k.outcomes = append(k.outcomes, l.renewOne(now, received, id))
	}
}

func (l *leader) renewOne(now, received time.Duration, id lease.ID) renewal {
	if !l.shard.state.Owns(id.Hash()) {
		return renewal{outcome: shardpb.Renewed_RENEWED_WRONG_GROUP}
	}
	tm := l.timers.leases.renew(received, id)
	switch {
	case tm == nil:
		return l.renewWaiting(id)
	case tm.slot == firing: // R6
		return renewal{outcome: shardpb.Renewed_RENEWED_EXPIRING}
	}
	return renewal{ttl: tm.after, expiresIn: l.timers.leases.left(now, tm)}
}

// renewWaiting answers for a lease without a timer: there is none, or it is a
// one-shot lease that waits and does not run down yet.
func (l *leader) renewWaiting(id lease.ID) renewal {
	v, ok := l.shard.state.Lease(id)
	if !ok {
		return renewal{outcome: shardpb.Renewed_RENEWED_NOT_FOUND}
	}
	ttl := time.Duration(v.TtlMs) * time.Millisecond
	return renewal{ttl: ttl, expiresIn: ttl}
}

func idOf(raw []byte) lease.ID {
	var id lease.ID
	copy(id[:], raw)
	return id
}
