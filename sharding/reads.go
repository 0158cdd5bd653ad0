package sharding

import (
	"time"

	"lockd/lease"
	"lockd/lease/leasepb"
	"lockd/sharding/shardpb"
)

// staleLock reads a lock as this replica has it, without what only a leader
// knows.
type staleLock struct{ namespace, lock string }

func (s *shard) owns(namespace string) bool {
	return s.state.Owns(lease.HashNamespace(namespace))
}

func (s *shard) lock(now time.Duration, namespace, name string) any {
	if !s.owns(namespace) {
		return lease.ErrWrongGroup
	}
	v := s.state.Lock(namespace, name)
	s.lead.fillLock(now, v)
	return v
}

func (s *shard) lease(now time.Duration, raw []byte) any {
	var id lease.ID
	copy(id[:], raw)
	if !s.state.Owns(id.Hash()) {
		return lease.ErrWrongGroup
	}
	v, ok := s.state.Lease(id)
	if !ok {
		return lease.ErrLeaseNotFound
	}
	s.lead.fillLease(now, v)
	return v
}

func (s *shard) locks(now time.Duration, q *shardpb.LocksQuery) any {
	if !s.owns(q.Namespace) {
		return lease.ErrWrongGroup
	}
	locks, next := s.state.Locks(lease.Page{
		Namespace: q.Namespace, Prefix: q.Prefix, After: q.After, HeldOnly: q.HeldOnly, Limit: int(q.Limit),
	})
	for _, v := range locks {
		s.lead.fillLock(now, v)
	}
	return &shardpb.Page{Locks: locks, More: next != ""}
}

func (s *shard) leases(now time.Duration, q *shardpb.LeasesQuery) any {
	if q.Namespace != "" && !s.owns(q.Namespace) {
		return lease.ErrWrongGroup
	}
	var after lease.ID
	copy(after[:], q.After)
	leases, more := s.state.Leases(q.Namespace, after, int(q.Limit))
	for _, v := range leases {
		s.lead.fillLease(now, v)
	}
	return &shardpb.Page{Leases: leases, More: more}
}

// What follows adds to views what only a leader's timers know.

// expiresIn is in how many milliseconds a lease ends, -1 where that is not
// known: a one-shot lease that still waits does not run down.
func (l *leader) expiresIn(now time.Duration, raw []byte) int64 {
	var id lease.ID
	copy(id[:], raw)
	if tm := l.timers.leases.byID[id]; tm != nil {
		return l.timers.leases.left(now, tm).Milliseconds()
	}
	return -1
}

func (l *leader) fillLock(now time.Duration, v *leasepb.LockView) {
	for _, h := range v.Holders {
		h.ExpiresInMs = l.expiresIn(now, h.Lease)
	}
	if tm := l.timers.delays.byID[lockName{v.Namespace, v.Lock}]; v.Closed && tm != nil {
		v.ClosedForMs = l.timers.delays.left(now, tm).Milliseconds()
	}
}

func (l *leader) fillLease(now time.Duration, v *leasepb.LeaseView) {
	v.ExpiresInMs = l.expiresIn(now, v.Lease)
}

// complete adds to a result what only the leader knows.
func (l *leader) complete(now time.Duration, r *leasepb.Result) {
	if len(r.Lease) > 0 {
		r.ExpiresInMs = l.expiresIn(now, r.Lease)
	}
	for _, ref := range r.BlockedBy {
		v := l.shard.state.Lock(ref.Namespace, ref.Lock)
		v.Queue = nil // its length is enough
		l.fillLock(now, v)
		r.Blocked = append(r.Blocked, v)
	}
	r.BlockedBy = nil
}
