package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"lockd/lease"
	"lockd/lease/leasepb"
)

// The statuses and codes of the contract, in its order. 401 comes with access
// control.
var contractCodes = []string{
	"400 invalid_request",
	"403 forbidden",
	"404 lease_not_found",
	"404 not_found",
	"405 method_not_allowed",
	"409 lock_held",
	"409 mode_conflict",
	"409 not_holder",
	"413 too_large",
	"422 idempotency_mismatch",
	"429 quota_exceeded",
	"500 internal", // not of the contract: a fault of the service
	"501 not_implemented",
	"503 unavailable",
	"504 outcome_unknown",
}

func TestTheTableHasTheCodesOfTheContract(t *testing.T) {
	var have []string
	for _, p := range problems {
		have = append(have, fmt.Sprintf("%d %s", p.status, p.code))
	}
	slices.Sort(have)
	if have = slices.Compact(have); !slices.Equal(have, contractCodes) {
		t.Errorf("codes\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(contractCodes, "\n"))
	}
}

// heldError is the refusal of a lock, as the router gives it.
func heldError(views ...*leasepb.LockView) error {
	return fmt.Errorf("acquire: %w", lease.ResultError(&leasepb.Result{Code: leasepb.Code_LOCK_HELD, Detail: "wait or try later", Blocked: views}))
}

func refusal(code leasepb.Code) error {
	return fmt.Errorf("acquire: %w", lease.ResultError(&leasepb.Result{Code: code, Detail: "what to do"}))
}

func TestEveryErrorOfTheService(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	for _, test := range []struct {
		err    error
		status int
		code   string
	}{
		{heldError(fakeLock("jobs", "nightly")), 409, "lock_held"},
		{heldError(), 409, "lock_held"},
		{refusal(leasepb.Code_LEASE_NOT_FOUND), 404, "lease_not_found"},
		{refusal(leasepb.Code_NOT_HOLDER), 409, "not_holder"},
		{refusal(leasepb.Code_MODE_CONFLICT), 409, "mode_conflict"},
		{refusal(leasepb.Code_QUOTA_EXCEEDED), 429, "quota_exceeded"},
		{refusal(leasepb.Code_IDEMPOTENCY_MISMATCH), 422, "idempotency_mismatch"},
		{refusal(leasepb.Code_OTHER_GROUP), 501, "not_implemented"},
		{fmt.Errorf("acquire: %w", &UnavailableError{RetryAfter: 1500 * time.Millisecond, Reason: "no leader"}), 503, "unavailable"},
		{fmt.Errorf("acquire: %w", ErrOutcomeUnknown), 504, "outcome_unknown"},
		{context.DeadlineExceeded, 504, "outcome_unknown"},
		{context.Canceled, 504, "outcome_unknown"},
		{errors.New("disk on fire in rack 7"), 500, "internal"},
		{lease.ErrWrongGroup, 500, "internal"},
	} {
		svc.do = func(context.Context, *leasepb.Command) (*leasepb.Result, error) { return nil, test.err }
		a := n.ask("POST", acquirePath, "")
		p := a.wantProblem(test.status, test.code)
		retry := test.status == 429 || test.status == 503
		if _, has := p["retry_after_ms"]; has != retry || (a.header.Get("Retry-After") != "") != retry {
			t.Errorf("%v: Retry-After %q, %s", test.err, a.header.Get("Retry-After"), a.text)
		}
	}
	if logs := n.logs.String(); !strings.Contains(logs, "disk on fire in rack 7") || strings.Contains(logs, "no leader") {
		t.Errorf("logs:\n%s", logs)
	}
	svc.do = func(context.Context, *leasepb.Command) (*leasepb.Result, error) {
		return nil, errors.New("secret plans")
	}
	if a := n.ask("POST", acquirePath, ""); strings.Contains(a.text, "secret plans") {
		t.Errorf("a fault of the service is shown outside: %s", a.text)
	}
}

func TestRetryAfterIsInWholeSecondsAndExact(t *testing.T) {
	svc := &fakeService{}
	n := start(t, svc)
	for after, want := range map[time.Duration][2]string{
		0:                       {"1", "1"},
		300 * time.Millisecond:  {"1", "300"},
		1500 * time.Millisecond: {"2", "1500"},
		2 * time.Second:         {"2", "2000"},
	} {
		svc.do = func(context.Context, *leasepb.Command) (*leasepb.Result, error) {
			return nil, &UnavailableError{RetryAfter: after}
		}
		a := n.ask("POST", acquirePath, "")
		if got := [2]string{a.header.Get("Retry-After"), fmt.Sprint(a.object()["retry_after_ms"])}; got != want {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
}

func TestLockHeldSaysWhoHoldsIt(t *testing.T) {
	svc := &fakeService{do: func(context.Context, *leasepb.Command) (*leasepb.Result, error) {
		return nil, heldError(fakeLock("jobs", "nightly"))
	}}
	p := start(t, svc).ask("POST", acquirePath, "").wantProblem(http.StatusConflict, "lock_held")
	holder := p["holders"].([]any)[0].(map[string]any)
	if holder["lease_id"] != fakeID.String() || holder["owner"] != "worker-1" || holder["token"] != 42.0 || holder["expires_in_ms"] != 29000.0 {
		t.Errorf("holder %v", holder)
	}
	if p["queue_length"] != 1.0 || p["closed_for_ms"] != 1500.0 {
		t.Errorf("problem %v", p)
	}
	if _, has := p["blocked_by"]; has {
		t.Errorf("one lock has blocked_by: %v", p)
	}
}

// Secrets appear in no error and no log, whatever is wrong with the request.
func TestSecretsAreNotRepeated(t *testing.T) {
	svc := &fakeService{err: errors.New("broken"), do: func(context.Context, *leasepb.Command) (*leasepb.Result, error) { return nil, errors.New("broken") }}
	n := start(t, svc)
	proof := fakeLeaseSecret[idLength+1:]
	for _, a := range []*answered{
		n.ask("POST", acquirePath, `{"lease":"`+fakeLeaseSecret+`"}`),
		n.ask("POST", acquirePath, `{"lease":"`+fakeLeaseSecret+`x"}`),
		n.ask("POST", acquirePath, `{"lease":"`+fakeLeaseSecret+`\n"}`),
		n.ask("POST", acquirePath, `{"lease":"`+fakeLeaseSecret+`","lease":"`+fakeLeaseSecret+`"}`),
		n.ask("POST", acquirePath, `{"lease":"`+fakeLeaseSecret),
		n.ask("POST", "/v1/leases/"+fakeLeaseSecret+"/keepalive", ""),
		n.ask("POST", "/v1/leases/keepalive", `{"leases":["`+fakeLeaseSecret+`","`+fakeLeaseSecret+`x"]}`),
		n.ask("DELETE", "/v1/leases/"+fakeLeaseSecret, ""),
		n.ask("GET", "/v1/leases/"+fakeLeaseSecret, ""),
		n.ask("PUT", "/v1/leases/"+fakeLeaseSecret, ""),
		n.ask("GET", "/v1/lease/"+fakeLeaseSecret, ""),
	} {
		if strings.Contains(a.text, proof) || strings.Contains(fmt.Sprint(a.header), proof) {
			t.Errorf("a secret is repeated: %v %s", a.header, a.text)
		}
	}
	if logs := n.logs.String() + n.audit.String(); logs == "" || strings.Contains(logs, proof) {
		t.Errorf("logs:\n%s", logs)
	}
}
