package httpapi

import (
	"errors"
	"fmt"
	"time"
)

// ErrOutcomeUnknown comes when a change may or may not have been done. Trying
// again is safe with the same lease or the same Idempotency-Key only.
var ErrOutcomeUnknown = errors.New("outcome unknown: it may or may not have been done; a retry with the same lease or the same Idempotency-Key is safe")

// UnavailableError comes when a request was certainly not done: no leader was
// found in time, or a queue is full. Trying again is always safe.
type UnavailableError struct {
	// RetryAfter is when it is worth trying again.
	RetryAfter time.Duration
	// Reason is a phrase for people.
	Reason string
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("unavailable: %s; try again in %v", e.Reason, e.RetryAfter)
}
