package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"lockd/lease"
)

// problem is how an error is answered.
type problem struct {
	matches func(error) bool
	status  int
	code    string
	title   string
}

// problems is the one table from errors to answers. The first match counts.
var problems = []problem{
	{as[*lease.LockHeldError], http.StatusConflict, "lock_held", "The lock is held"},
	{is(lease.ErrLeaseNotFound), http.StatusNotFound, "lease_not_found", "No such lease"},
	{is(lease.ErrNotHolder), http.StatusConflict, "not_holder", "The lease does not hold the lock"},
	{is(lease.ErrModeConflict), http.StatusConflict, "mode_conflict", "The lock is held or limited in another way"},
	{is(lease.ErrQuotaExceeded), http.StatusTooManyRequests, "quota_exceeded", "A quota is used up"},
	{is(lease.ErrIdempotencyMismatch), http.StatusUnprocessableEntity, "idempotency_mismatch", "The key was used for another request"},
	{is(lease.ErrOtherGroup), http.StatusNotImplemented, "not_implemented", "Not implemented"},
	{as[*UnavailableError], http.StatusServiceUnavailable, codeUnavailable, "Not available now"},
	{as[*notReadyError], http.StatusServiceUnavailable, codeUnavailable, "Not ready"},
	{is(ErrOutcomeUnknown), http.StatusGatewayTimeout, codeUnknown, "The outcome is unknown"},
	{is(context.Canceled), http.StatusGatewayTimeout, codeUnknown, "The outcome is unknown"},
	{is(context.DeadlineExceeded), http.StatusGatewayTimeout, codeUnknown, "The outcome is unknown"},
	{as[*invalidError], http.StatusBadRequest, "invalid_request", "The request is not valid"},
	{as[*tooLargeError], http.StatusRequestEntityTooLarge, "too_large", "The request is too large"},
	{is(errCrossOrigin), http.StatusForbidden, "forbidden", "Forbidden"},
	{is(errHost), http.StatusForbidden, "forbidden", "Forbidden"},
	{is(errNoRoute), http.StatusNotFound, "not_found", "No such route"},
	{as[*methodError], http.StatusMethodNotAllowed, "method_not_allowed", "No such method here"},
	{func(error) bool { return true }, http.StatusInternalServerError, "internal", "Internal error"},
}

const (
	codeUnavailable = "unavailable"
	codeUnknown     = "outcome_unknown"
)

// errInternal is what a client is told of an error that is not in the table.
var errInternal = errors.New("this is a fault of the service; its log has more under the request id")

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func as[E error](err error) bool {
	var target E
	return errors.As(err, &target)
}

func problemOf(err error) *problem {
	for i := range problems {
		if problems[i].matches(err) {
			return &problems[i]
		}
	}
	panic("unreachable: the last problem matches every error")
}

// fail answers with an error. It is the only place that knows statuses.
func (x *exchange) fail(r *http.Request, err error) {
	// A client that has gone is answered all the same: it may have closed only
	// its own direction of the connection.
	x.gone = x.status != 0 || r.Context().Err() != nil
	if x.status != 0 {
		return // the answer had begun, and could not be written
	}
	p := problemOf(err)
	if p.status == http.StatusInternalServerError && err != errInternal {
		x.server.cfg.Logger.Error().Err(err).Str("request_id", x.id).Str("route", x.routeName()).Msg("unexpected error")
		err = errInternal
	}
	h := x.Header()
	h["Content-Type"] = problemType
	a := &x.out
	a.begin()
	a.text("type", "urn:lockd:error:"+p.code)
	a.text("title", p.title)
	a.int("status", int64(p.status))
	a.text("detail", detailOf(err))
	a.text("code", p.code)
	x.extend(h, err)
	a.endObject()
	x.reply(p.status) // an error here is a client that has gone
}

// detailOf tells a person what to do. A bare sentinel says only what it is.
func detailOf(err error) string {
	switch err {
	case lease.ErrLeaseNotFound:
		return errNoLease.Error()
	case lease.ErrOtherGroup:
		return "these locks, or the lock and its lease, cannot be taken together yet: make the lease in the namespace of its locks"
	}
	return err.Error()
}

// quotaRetry is when it is worth asking a full table again: its entries leave
// one by one.
const quotaRetry = time.Second

// extend adds what the kind of error has to say besides its detail.
func (x *exchange) extend(h http.Header, err error) {
	var (
		bad         *invalidError
		held        *lease.LockHeldError
		method      *methodError
		unavailable *UnavailableError
		notReady    *notReadyError
	)
	switch a := &x.out; {
	case errors.As(err, &held):
		a.blocked(held.Blocked, as[*multilockError](err))
	case errors.As(err, &bad):
		a.text("field", bad.Field)
	case errors.As(err, &method):
		h["Allow"] = []string{strings.Join(method.allowed, ", ")}
	case errors.As(err, &unavailable):
		x.retryAfter(h, unavailable.RetryAfter)
	case errors.As(err, &notReady):
		a.notReady(notReady.groups)
		x.retryAfter(h, notReadyRetry)
	case errors.Is(err, lease.ErrQuotaExceeded):
		x.retryAfter(h, quotaRetry)
	}
}

// retryAfter says when to try again, in whole seconds for HTTP and exactly for
// our clients.
func (x *exchange) retryAfter(h http.Header, after time.Duration) {
	after = max(after, time.Millisecond)
	seconds := (after + time.Second - 1) / time.Second
	h["Retry-After"] = []string{strconv.Itoa(int(seconds))}
	x.out.int("retry_after_ms", millisUp(after))
}

// codeOf is the code of an error within a larger answer.
func codeOf(err error) string { return problemOf(err).code }

func (x *exchange) routeName() string {
	if x.route == nil {
		return ""
	}
	return x.route.method + " " + x.route.path
}
