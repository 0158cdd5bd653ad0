package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"lockd/httpapi"
	"lockd/lease"
	"lockd/lease/leasepb"
	"lockd/metrics"
)

// answering is a Service whose Do gives one answer.
type answering struct {
	httpapi.Service
	err error
}

func (a answering) Do(context.Context, *leasepb.Command) (*leasepb.Result, error) {
	return &leasepb.Result{WaitedMs: 1500}, a.err
}

func TestAcquiresAreCountedByOutcome(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	locks := metrics.New(reg).Locks
	gone, leave := context.WithCancel(t.Context())
	leave()
	acquire := func() *leasepb.Command {
		return &leasepb.Command{Op: &leasepb.Command_Acquire{Acquire: &leasepb.Acquire{}}}
	}
	for _, tt := range []struct {
		ctx context.Context
		cmd *leasepb.Command
		err error
	}{
		{t.Context(), acquire(), nil},
		{t.Context(), acquire(), &lease.LockHeldError{}},
		{gone, acquire(), context.Canceled},
		{t.Context(), acquire(), lease.ErrModeConflict},
		{t.Context(), acquire(), &httpapi.UnavailableError{}},
		{t.Context(), acquire(), httpapi.ErrOutcomeUnknown},
		{t.Context(), &leasepb.Command{Op: &leasepb.Command_Release{Release: &leasepb.Release{}}}, nil},
	} {
		service := metered{answering{err: tt.err}, locks}
		if _, err := service.Do(tt.ctx, tt.cmd); !errors.Is(err, tt.err) {
			t.Errorf("err = %v, want %v", err, tt.err)
		}
	}
	want := `
# HELP lockd_acquires_total Acquires answered by this node, by outcome.
# TYPE lockd_acquires_total counter
lockd_acquires_total{outcome="cancelled"} 1
lockd_acquires_total{outcome="granted"} 1
lockd_acquires_total{outcome="held"} 1
lockd_acquires_total{outcome="refused"} 1
lockd_acquires_total{outcome="unavailable"} 1
lockd_acquires_total{outcome="unknown"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "lockd_acquires_total"); err != nil {
		t.Error(err)
	}
}
