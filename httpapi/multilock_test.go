package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"lockd/lease"
	"lockd/lease/leasepb"
)

const multiAcquire, multiRelease = "/v1/multilock/acquire", "/v1/multilock/release"

func TestMultilockAcquire(t *testing.T) {
	svc := new(fakeService)
	a := start(t, svc).ask("POST", multiAcquire, `{"locks":[{"namespace":"jobs","lock":"b"},{"lock":"a/b","namespace":"jobs","mode":"permit","limit":5}],"ttl":"10s","owner":"o","wait":"1s","metadata":{"k":"v"}}`)
	a.wantJSON(http.StatusOK, `{"lease":"`+fakeLeaseSecret+`","lease_id":"`+fakeID.String()+`","ttl":"10s","expires_in_ms":10000,"waited_ms":0,`+
		`"grants":[{"namespace":"jobs","lock":"b","mode":"exclusive","token":42},{"namespace":"jobs","lock":"a/b","mode":"permit","token":42}]}`)
	if got := a.header.Get("Lockd-Lease"); got != fakeLeaseSecret {
		t.Errorf("Lockd-Lease %q", got)
	}
	metadata := []*leasepb.Pair{{Key: "k", Value: "v"}}
	wantCommand(t, svc.last(), &leasepb.Command{Op: &leasepb.Command_Acquire{Acquire: &leasepb.Acquire{
		OneShot: &leasepb.NewLease{Owner: "o", TtlMs: 10_000, Metadata: metadata},
		Locks: []*leasepb.LockRequest{
			{Namespace: "jobs", Lock: "b", Permits: 1},
			{Namespace: "jobs", Lock: "a/b", Mode: leasepb.Mode_MODE_PERMIT, Permits: 1, Limit: 5},
		},
		WaitMs: 1000, Metadata: metadata,
	}}})
}

func TestMultilockRefusals(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	for body, field := range map[string]string{
		`{}`:                            "locks",
		`{"locks":[]}`:                  "locks",
		`{"locks":{}}`:                  "locks",
		`{"locks":[1]}`:                 "locks[0]",
		`{"locks":[{"lock":"a"}]}`:      "locks[0].namespace",
		`{"locks":[{"namespace":"a"}]}`: "locks[0].lock",
		`{"locks":[{"namespace":"a","lock":".."}]}`:                                                          "locks[0].lock",
		`{"locks":[{"namespace":"_","lock":"a"}]}`:                                                           "locks[0].namespace",
		`{"locks":[{"namespace":"a","lock":"a"},{"namespace":"a","lock":"b","mod":"x"}]}`:                    "locks[1].mod",
		`{"locks":[{"namespace":"a","lock":"a","limit":2}]}`:                                                 "locks[0].limit",
		`{"locks":[{"namespace":"a","lock":"a","lock":"b"}]}`:                                                "locks[0].lock",
		`{"locks":[{"namespace":"a","lock":"a"},{"namespace":"b","lock":"a"},{"lock":"a","namespace":"a"}]}`: "locks[2]",
		`{"locks":[{"namespace":"a","lock":"a"}],"lease":"x","ttl":"3s"}`:                                    "ttl",
		`{"locks":[{"namespace":"a","lock":"a"}],"mode":"shared"}`:                                           "mode",
	} {
		n.ask("POST", multiAcquire, body).wantInvalid(field)
	}
	svc.do = func(_ context.Context, cmd *leasepb.Command) (*leasepb.Result, error) {
		return nil, lease.ResultError(&leasepb.Result{Code: leasepb.Code_LOCK_HELD, Blocked: []*leasepb.LockView{fakeLock("jobs", "a"), {Namespace: "jobs", Lock: "b", QueueLength: 2}}})
	}
	p := n.ask("POST", multiAcquire, `{"locks":[{"namespace":"jobs","lock":"a"},{"namespace":"jobs","lock":"b"}]}`).wantProblem(http.StatusConflict, "lock_held")
	blocked, _ := p["blocked_by"].([]any)
	if len(blocked) != 2 {
		t.Fatalf("blocked_by %v", p["blocked_by"])
	}
	if b := blocked[1].(map[string]any); b["namespace"] != "jobs" || b["lock"] != "b" || b["queue_length"] != 2.0 {
		t.Errorf("blocked_by %v", blocked)
	}
	if p["queue_length"] != 1.0 || p["closed_for_ms"] != 1500.0 {
		t.Errorf("problem %v", p)
	}
}

// manyLocks is a list of locks in JSON.
func manyLocks(count int) string {
	locks := make([]string, count)
	for i := range locks {
		locks[i] = fmt.Sprintf(`{"namespace":"jobs","lock":"l%d"}`, i)
	}
	return `"locks":[` + strings.Join(locks, ",") + `]`
}

func TestMultilockHas64LocksAtMost(t *testing.T) {
	n := start(t, new(fakeService))
	lease := `,"lease":"` + fakeLeaseSecret + `"}`
	for _, path := range []string{multiAcquire, multiRelease} {
		if a := n.ask("POST", path, "{"+manyLocks(64)+lease); a.status != http.StatusOK {
			t.Errorf("%s of 64: %d %s", path, a.status, a.text)
		}
		n.ask("POST", path, "{"+manyLocks(65)+lease).wantProblem(http.StatusRequestEntityTooLarge, "too_large")
	}
}

func TestMultilockRelease(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	lease := `"lease":"` + fakeLeaseSecret + `"`
	n.ask("POST", multiRelease, `{`+lease+`,"locks":[{"namespace":"jobs","lock":"a","token":42},{"namespace":"jobs","lock":"b"}]}`).
		wantJSON(http.StatusOK, `{"released":[{"namespace":"jobs","lock":"a","token":42},{"namespace":"jobs","lock":"b","token":42}],"not_held":[{"namespace":"jobs","lock":"other"}]}`)
	wantCommand(t, svc.last(), &leasepb.Command{Op: &leasepb.Command_Release{Release: &leasepb.Release{
		Lease: fakeID[:], Multi: true, Namespace: "jobs",
		Locks: []*leasepb.ReleaseRef{{Namespace: "jobs", Lock: "a", Token: 42}, {Namespace: "jobs", Lock: "b"}},
	}}})
	n.ask("POST", multiRelease, `{`+lease+`}`)
	wantCommand(t, svc.last(), &leasepb.Command{Op: &leasepb.Command_Release{Release: &leasepb.Release{Lease: fakeID[:], Multi: true}}})
	n.ask("POST", multiRelease, `{`+lease+`,"locks":[]}`).wantInvalid("locks")
	n.ask("POST", multiRelease, `{"locks":[{"namespace":"jobs","lock":"a"}]}`).wantInvalid("lease")
	n.ask("POST", multiRelease, `{`+lease+`,"locks":[{"namespace":"jobs","lock":"a"},{"namespace":"jobs","lock":"a"}]}`).wantInvalid("locks[1]")
	n.ask("POST", multiRelease, `{`+lease+`,"locks":[{"namespace":"jobs","lock":"a","mode":"shared"}]}`).wantInvalid("locks[0].mode")
}
