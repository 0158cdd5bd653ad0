package sharding

import (
	"context"
	"iter"
	"strings"
	"time"

	"lockd/httpapi"
	"lockd/lease"
	"lockd/lease/leasepb"
)

// Events implements httpapi.Service: from the feed of this node's replica.
func (r *Router) Events(ctx context.Context, watch httpapi.Watch) (iter.Seq2[*leasepb.Event, bool], error) {
	topology, err := r.topology(ctx)
	if err != nil {
		return nil, err
	}
	_, sh := r.replica(topology.Ring.Group(lease.HashNamespace(watch.Namespace)))
	if sh == nil {
		return nil, &httpapi.UnavailableError{RetryAfter: time.Second, Reason: "the group is not started on this node"}
	}
	sub := sh.feed.subscribe(watch.Namespace, watch.After)
	context.AfterFunc(ctx, sub.close) // whether or not anybody iterates
	return func(yield func(*leasepb.Event, bool) bool) {
		idle := time.NewTimer(watch.Idle)
		defer idle.Stop()
		for {
			events, lost := sub.next()
			if lost && !yield(nil, true) {
				return
			}
			for _, e := range events {
				if strings.HasPrefix(e.Lock, watch.Prefix) {
					if !yield(e, false) {
						return
					}
					idle.Reset(watch.Idle)
				}
			}
			if lost || events != nil {
				if ctx.Err() != nil {
					return
				}
				continue
			}
			select {
			case <-sub.wake:
			case <-idle.C:
				if !yield(nil, false) {
					return
				}
				idle.Reset(watch.Idle)
			case <-ctx.Done():
				return
			case <-r.stopping:
				return
			}
		}
	}, nil
}
