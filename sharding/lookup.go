package sharding

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"lockd/consensus"
	"lockd/httpapi"
	"lockd/lease"
	"lockd/lease/leasepb"
	"lockd/sharding/shardpb"
)

// Lock implements httpapi.Service.
func (r *Router) Lock(ctx context.Context, read httpapi.LockRead) (httpapi.LockState, error) {
	topology, err := r.topology(ctx)
	if err != nil {
		return httpapi.LockState{}, err
	}
	id := topology.Ring.Group(lease.HashNamespace(read.Namespace))
	if read.Wait > 0 {
		if err := r.awaitChange(ctx, id, read); err != nil {
			return httpapi.LockState{}, err
		}
	}
	staleFor := time.Duration(-1)
	if read.Stale {
		state, err := r.staleLock(ctx, id, read)
		if !errors.Is(err, lease.ErrWrongGroup) {
			return state, err
		}
		staleFor = 0 // this replica does not have the namespace: its leader tells
	}
	v, err := query[*leasepb.LockView](ctx, r, id, &shardpb.LockQuery{Namespace: read.Namespace, Lock: read.Lock})
	return httpapi.LockState{View: v, StaleFor: staleFor}, err
}

// staleLock reads this node's replica.
func (r *Router) staleLock(ctx context.Context, id consensus.GroupID, read httpapi.LockRead) (httpapi.LockState, error) {
	limit := time.Now().Add(answerWithin)
	s, err := r.search(id, limit)
	if err != nil {
		return httpapi.LockState{}, err
	}
	staleFor := s.group.SinceHeard()
	c := r.call(id)
	s.group.QueryStale(staleLock{read.Namespace, read.Lock}, c.onApplied)
	if !c.wait(ctx, limit, nil) {
		return httpapi.LockState{}, whyNot(ctx)
	}
	answer, err := c.answer, c.err
	r.free(c)
	switch {
	case overloaded(err):
		return httpapi.LockState{}, errOverloaded
	case errors.Is(err, consensus.ErrStopped):
		return httpapi.LockState{}, errStopping
	case err != nil:
		return httpapi.LockState{}, err
	}
	return httpapi.LockState{View: answer.(*leasepb.LockView), StaleFor: staleFor}, nil
}

// awaitChange waits until this node's replica sees the lock change after the
// index, or the wait is over. What the leader says then is the answer.
func (r *Router) awaitChange(ctx context.Context, id consensus.GroupID, read httpapi.LockRead) error {
	_, sh := r.replica(id)
	if sh == nil {
		return &httpapi.UnavailableError{RetryAfter: time.Second, Reason: "the group is not started on this node"}
	}
	sub := sh.feed.subscribe(read.Namespace, read.AfterIndex)
	defer sub.close()
	over := time.NewTimer(read.Wait)
	defer over.Stop()
	for {
		events, lost := sub.next()
		if lost || slices.ContainsFunc(events, func(e *leasepb.Event) bool { return e.Lock == read.Lock }) {
			return nil
		}
		if events != nil {
			continue
		}
		select {
		case <-sub.wake:
		case <-over.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-r.stopping:
			return errStopping
		}
	}
}

// query asks a group's leader something whose answer is a T.
func query[T any](ctx context.Context, r *Router, id consensus.GroupID, q any) (T, error) {
	answer, err := r.query(ctx, id, q)
	t, ok := answer.(T)
	if err == nil && !ok {
		err = fmt.Errorf("group %d answered %T: %w", id, answer, errShortAnswer)
	}
	return t, err
}

// Lease implements httpapi.Service.
func (r *Router) Lease(ctx context.Context, id lease.ID) (*leasepb.LeaseView, error) {
	topology, err := r.topology(ctx)
	if err != nil {
		return nil, err
	}
	return query[*leasepb.LeaseView](ctx, r, topology.Ring.Group(id.Hash()), &shardpb.LeaseQuery{Lease: id[:]})
}

// Locks implements httpapi.Service.
func (r *Router) Locks(ctx context.Context, page httpapi.LocksPage) (locks []*leasepb.LockView, next string, err error) {
	topology, err := r.topology(ctx)
	if err != nil {
		return nil, "", err
	}
	got, err := query[*shardpb.Page](ctx, r, topology.Ring.Group(lease.HashNamespace(page.Namespace)), &shardpb.LocksQuery{
		Namespace: page.Namespace, Prefix: page.Prefix, After: page.After, HeldOnly: page.HeldOnly, Limit: int64(page.Limit),
	})
	if err != nil {
		return nil, "", err
	}
	if got.More && len(got.Locks) > 0 {
		next = got.Locks[len(got.Locks)-1].Lock
	}
	return got.Locks, next, nil
}

// Leases implements httpapi.Service. Without a namespace, the pages of all
// groups are merged.
func (r *Router) Leases(ctx context.Context, namespace, after string, limit int) (leases []*leasepb.LeaseView, next string, err error) {
	topology, err := r.topology(ctx)
	if err != nil {
		return nil, "", err
	}
	q := &shardpb.LeasesQuery{Namespace: namespace, Limit: int64(limit)}
	if after != "" {
		id, err := lease.ParseID(after)
		if err != nil {
			return nil, "", err
		}
		q.After = id[:]
	}
	groups := topology.Ring.Groups()
	if namespace != "" {
		groups = []consensus.GroupID{topology.Ring.Group(lease.HashNamespace(namespace))}
	}
	pages, more, err := r.pages(ctx, groups, q)
	if err != nil {
		return nil, "", err
	}
	for _, p := range pages {
		leases = append(leases, p.Leases...)
	}
	slices.SortFunc(leases, func(a, b *leasepb.LeaseView) int { return bytes.Compare(a.Lease, b.Lease) })
	if len(leases) > limit {
		leases, more = leases[:limit], true
	}
	if more && len(leases) > 0 {
		next = idOf(leases[len(leases)-1].Lease).String()
	}
	return leases, next, nil
}

// Namespaces implements httpapi.Service: the pages of all groups, merged.
func (r *Router) Namespaces(ctx context.Context, after string, limit int) (names []string, next string, err error) {
	topology, err := r.topology(ctx)
	if err != nil {
		return nil, "", err
	}
	pages, more, err := r.pages(ctx, topology.Ring.Groups(), &shardpb.NamespacesQuery{After: after, Limit: int64(limit)})
	if err != nil {
		return nil, "", err
	}
	for _, p := range pages {
		names = append(names, p.Namespaces...)
	}
	slices.Sort(names)
	if len(names) > limit {
		names, more = names[:limit], true
	}
	if more && len(names) > 0 {
		next = names[len(names)-1]
	}
	return names, next, nil
}

// pages asks several groups for a page each, at once. What is beyond the first
// limit of all of them together comes with the next page.
func (r *Router) pages(ctx context.Context, groups []consensus.GroupID, q any) (pages []*shardpb.Page, more bool, err error) {
	pages = make([]*shardpb.Page, len(groups))
	errs := make([]error, len(groups))
	var asking sync.WaitGroup
	for i, id := range groups {
		asking.Go(func() { pages[i], errs[i] = query[*shardpb.Page](ctx, r, id, q) })
	}
	asking.Wait()
	for i, p := range pages {
		if errs[i] != nil {
			return nil, false, errs[i]
		}
		more = more || p.More
	}
	return pages, more, nil
}
