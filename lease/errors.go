package lease

import (
	"errors"
	"fmt"

	"lockd/lease/leasepb"
)

// Refusals. The answer is certain: what was asked was not done.
var (
	// ErrLeaseNotFound comes for a lease that never existed or has ended. The
	// caller holds nothing by it and must make a new one.
	ErrLeaseNotFound = errors.New("lease not found")

	// ErrNotHolder comes for a release of what the lease does not have, or not
	// under that token, and for a repeat whose grant was released since.
	ErrNotHolder = errors.New("not the holder")

	// ErrModeConflict comes when the lease has the lock in another mode or with
	// other permits, or when the lock has another limit now.
	ErrModeConflict = errors.New("mode conflict")

	// ErrQuotaExceeded comes when a bound of this package is reached. It is
	// worth another try when others have released something.
	ErrQuotaExceeded = errors.New("quota exceeded")

	// ErrIdempotencyMismatch comes for a key that was used with another body.
	ErrIdempotencyMismatch = errors.New("idempotency key used with another body")

	// ErrOtherGroup comes for a request whose locks and lease are of several
	// groups.
	ErrOtherGroup = errors.New("locks and lease are of several groups")

	// ErrWrongGroup comes from a group that does not own the namespace. The
	// router must ask the one that does.
	ErrWrongGroup = errors.New("the group does not own the namespace")

	// ErrDropped comes for a leader's command that was applied in another term.
	ErrDropped = errors.New("dropped: proposed by the leader of another term")

	// ErrInvalid comes for a command that no edge should have proposed.
	ErrInvalid = errors.New("invalid command")
)

// LockHeldError comes when a lock was not granted at once, or not within its
// wait.
type LockHeldError struct {
	// Blocked are the locks that were in the way, as they were when it was
	// decided; empty where the leader did not fill them in.
	Blocked []*leasepb.LockView
	detail  string
}

func (e *LockHeldError) Error() string {
	if len(e.Blocked) == 0 {
		return "lock held: " + e.detail
	}
	v := e.Blocked[0]
	return fmt.Sprintf("lock %s/%s held: %s", v.Namespace, v.Lock, e.detail)
}

// ResultError returns the refusal that a result is, or nil for a success and
// for QUEUED. The detail is in its text.
func ResultError(r *leasepb.Result) error {
	switch r.GetCode() {
	case leasepb.Code_OK, leasepb.Code_QUEUED:
		return nil
	case leasepb.Code_LEASE_NOT_FOUND:
		return detailed(ErrLeaseNotFound, r)
	case leasepb.Code_LOCK_HELD:
		return &LockHeldError{Blocked: r.Blocked, detail: r.Detail}
	case leasepb.Code_NOT_HOLDER:
		return detailed(ErrNotHolder, r)
	case leasepb.Code_MODE_CONFLICT:
		return detailed(ErrModeConflict, r)
	case leasepb.Code_QUOTA_EXCEEDED:
		return detailed(ErrQuotaExceeded, r)
	case leasepb.Code_IDEMPOTENCY_MISMATCH:
		return detailed(ErrIdempotencyMismatch, r)
	case leasepb.Code_WRONG_GROUP:
		return ErrWrongGroup
	case leasepb.Code_OTHER_GROUP:
		return ErrOtherGroup
	case leasepb.Code_DROPPED:
		return ErrDropped
	}
	return detailed(ErrInvalid, r)
}

// detailed adds what to do about it.
func detailed(err error, r *leasepb.Result) error {
	if r.Detail == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, r.Detail)
}
