package main

import (
	"context"
	"errors"
	"time"

	"lockd/httpapi"
	"lockd/lease"
	"lockd/lease/leasepb"
	"lockd/metrics"
)

// metered counts what the acquires that pass through it come to.
type metered struct {
	httpapi.Service
	locks *metrics.Locks
}

// Do implements httpapi.Service.
func (m metered) Do(ctx context.Context, cmd *leasepb.Command) (*leasepb.Result, error) {
	acquires := cmd.GetAcquire() != nil // cmd is not ours any more after Do
	result, err := m.Service.Do(ctx, cmd)
	if acquires {
		m.locks.Acquired(acquireOutcome(ctx, err), time.Duration(result.GetWaitedMs())*time.Millisecond)
	}
	return result, err
}

func acquireOutcome(ctx context.Context, err error) metrics.AcquireOutcome {
	switch {
	case err == nil:
		return metrics.AcquireGranted
	case ctx.Err() != nil:
		return metrics.AcquireCancelled
	case errors.As(err, new(*lease.LockHeldError)):
		return metrics.AcquireHeld
	case errors.As(err, new(*httpapi.UnavailableError)):
		return metrics.AcquireUnavailable
	case errors.Is(err, httpapi.ErrOutcomeUnknown):
		return metrics.AcquireUnknown
	default:
		return metrics.AcquireRefused
	}
}
