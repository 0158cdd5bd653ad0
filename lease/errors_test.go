package lease

import (
	"errors"
	"strings"
	"testing"

	"lockd/lease/leasepb"
)

// TestResultError: every code is a success or one known refusal.
func TestResultError(t *testing.T) {
	want := map[leasepb.Code]error{
		leasepb.Code_OK:                   nil,
		leasepb.Code_QUEUED:               nil,
		leasepb.Code_LEASE_NOT_FOUND:      ErrLeaseNotFound,
		leasepb.Code_NOT_HOLDER:           ErrNotHolder,
		leasepb.Code_MODE_CONFLICT:        ErrModeConflict,
		leasepb.Code_QUOTA_EXCEEDED:       ErrQuotaExceeded,
		leasepb.Code_IDEMPOTENCY_MISMATCH: ErrIdempotencyMismatch,
		leasepb.Code_WRONG_GROUP:          ErrWrongGroup,
		leasepb.Code_OTHER_GROUP:          ErrOtherGroup,
		leasepb.Code_DROPPED:              ErrDropped,
		leasepb.Code_INVALID:              ErrInvalid,
	}
	for number, name := range leasepb.Code_name {
		code := leasepb.Code(number)
		err := ResultError(&leasepb.Result{Code: code, Detail: "do this"})
		if code == leasepb.Code_LOCK_HELD {
			var held *LockHeldError
			if !errors.As(err, &held) || !strings.Contains(err.Error(), "do this") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if sentinel, known := want[code]; !known || !errors.Is(err, sentinel) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := ResultError(&leasepb.Result{Code: leasepb.Code_LOCK_HELD, Blocked: []*leasepb.LockView{{Namespace: "jobs", Lock: "x"}}})
	if !strings.Contains(err.Error(), "jobs/x") {
		t.Error(err)
	}
}
