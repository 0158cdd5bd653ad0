package sharding

import (
	"context"
	"errors"
	"sync"
	"time"

	"lockd/consensus"
	"lockd/httpapi"
	"lockd/lease"
	"lockd/sharding/shardpb"
)

// Keepalive implements httpapi.Service: one query for each group, all at once.
func (r *Router) Keepalive(ctx context.Context, ids []lease.ID) []httpapi.Renewal {
	out := make([]httpapi.Renewal, len(ids))
	for i, id := range ids {
		out[i].Lease = id
	}
	topology, err := r.topology(ctx)
	if err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	batches := batch(topology.Ring, ids)
	var others sync.WaitGroup
	for _, b := range batches[1:] {
		others.Go(func() { r.renew(ctx, b, out) })
	}
	r.renew(ctx, batches[0], out)
	others.Wait()
	return out
}

// renewals are the leases of a keepalive that one group has.
type renewals struct {
	group consensus.GroupID
	query keepalive
	at    []int // where the answer of each belongs
}

func batch(ring *Ring, ids []lease.ID) []*renewals {
	var batches []*renewals
next:
	for i, id := range ids {
		g := ring.Group(id.Hash())
		for _, b := range batches {
			if b.group == g {
				b.add(id, i)
				continue next
			}
		}
		b := &renewals{group: g}
		b.add(id, i)
		batches = append(batches, b)
	}
	if batches == nil {
		batches = []*renewals{{}}
	}
	return batches
}

func (b *renewals) add(id lease.ID, at int) {
	b.query.ids = append(b.query.ids, id)
	b.at = append(b.at, at)
}

// renew asks until every lease of the batch has its answer. Renewing twice
// does no harm.
func (r *Router) renew(ctx context.Context, b *renewals, out []httpapi.Renewal) {
	if len(b.at) == 0 {
		return
	}
	err := r.renewAll(ctx, b, out)
	for _, at := range b.at { // those that are left
		out[at].Err = err
	}
}

func (r *Router) renewAll(ctx context.Context, b *renewals, out []httpapi.Renewal) error {
	limit, unknown := time.Now().Add(answerWithin), false
	s, err := r.search(b.group, limit)
	if err != nil {
		return err
	}
	for {
		t, err := s.next(ctx, nil)
		if err != nil {
			return orUnknown(unknown, err)
		}
		answer, open, err := r.ask(ctx, nil, &s, t, &question{query: &b.query}, limit)
		if open != nil {
			open.giveUp(s.group)
			return orUnknown(true, whyNot(ctx))
		}
		if err == nil {
			if err = b.take(answer, out); err == nil {
				return nil
			}
		}
		if overloaded(err) {
			return orUnknown(unknown, errOverloaded)
		}
		unknown = unknown || maybeDone(err)
		s.failed(t, err)
	}
}

func orUnknown(unknown bool, err error) error {
	if unknown {
		return httpapi.ErrOutcomeUnknown
	}
	return err
}

// errExpiring comes for a lease whose Expire is under way: what becomes of it
// is known in a moment.
var errExpiring = &httpapi.UnavailableError{RetryAfter: retryPause, Reason: "the lease is about to expire"}

// take gives the answers of a query to those who asked, and keeps the rest of
// the batch for the next.
func (b *renewals) take(answer any, out []httpapi.Renewal) error {
	outcomes, err := renewedOf(answer, len(b.at))
	if err != nil {
		return err
	}
	var left error
	ids, at := b.query.ids, b.at
	b.query, b.at = keepalive{}, nil
	for i, o := range outcomes {
		to := &out[at[i]]
		switch o.outcome {
		case shardpb.Renewed_RENEWED:
			to.TTL, to.ExpiresIn = o.ttl, o.expiresIn
		case shardpb.Renewed_RENEWED_NOT_FOUND:
			to.Err = lease.ErrLeaseNotFound
		case shardpb.Renewed_RENEWED_EXPIRING:
			left = errExpiring
			b.add(ids[i], at[i])
		default:
			left = lease.ErrWrongGroup
			b.add(ids[i], at[i])
		}
	}
	return left
}

var errShortAnswer = errors.New("an answer that does not fit the question")

// renewedOf reads an answer of this node or of another.
func renewedOf(answer any, n int) ([]renewal, error) {
	switch a := answer.(type) {
	case *keepalive:
		return a.outcomes, nil
	case *shardpb.Renewals:
		if len(a.Renewals) != n {
			return nil, errShortAnswer
		}
		outcomes := make([]renewal, n)
		for i, o := range a.Renewals {
			outcomes[i] = renewal{
				outcome: o.Outcome,
				ttl:     time.Duration(o.TtlMs) * time.Millisecond, expiresIn: time.Duration(o.ExpiresInMs) * time.Millisecond,
			}
		}
		return outcomes, nil
	}
	return nil, errShortAnswer
}
