package httpapi

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"lockd/lease/leasepb"
)

func TestAcquireMakesAOneShotLease(t *testing.T) {
	svc := new(fakeService)
	before := time.Now().UnixMilli()
	a := start(t, svc).ask("POST", acquirePath, `{"ttl":"1500ms","owner":"worker-1","mode":"permit","permits":2,"limit":3,"metadata":{"z":"1","a":"2"}}`)
	a.wantJSON(http.StatusOK, `{"namespace":"jobs","lock":"nightly","mode":"permit","permits":2,"lease":"`+fakeLeaseSecret+`","lease_id":"`+fakeID.String()+
		`","token":42,"owner":"worker-1","ttl":"1500ms","expires_in_ms":1500,"waited_ms":0,"acquired_at":"2026-01-02T03:04:05.678Z"}`)
	if got := a.header.Get("Lockd-Lease"); got != fakeLeaseSecret {
		t.Errorf("Lockd-Lease %q", got)
	}
	if got := a.header.Get("Lockd-Token"); got != "42" {
		t.Errorf("Lockd-Token %q", got)
	}
	cmd := svc.last()
	if cmd.AtUnixMs < before || cmd.AtUnixMs > time.Now().UnixMilli() {
		t.Errorf("at_unix_ms %d", cmd.AtUnixMs)
	}
	metadata := []*leasepb.Pair{{Key: "a", Value: "2"}, {Key: "z", Value: "1"}}
	wantCommand(t, cmd, &leasepb.Command{Op: &leasepb.Command_Acquire{Acquire: &leasepb.Acquire{
		OneShot:  &leasepb.NewLease{Owner: "worker-1", TtlMs: 1500, Metadata: metadata},
		Locks:    []*leasepb.LockRequest{{Namespace: "jobs", Lock: "nightly", Mode: leasepb.Mode_MODE_PERMIT, Permits: 2, Limit: 3}},
		Metadata: metadata,
	}}})
}

func TestAcquireWithALease(t *testing.T) {
	svc := new(fakeService)
	a := start(t, svc).ask("POST", acquirePath, `{"lease":"`+fakeLeaseSecret+`","owner":"worker-1","mode":"shared","wait":"1m"}`)
	if a.status != http.StatusOK || a.object()["lease"] != fakeLeaseSecret || a.header.Get("Lockd-Lease") != fakeLeaseSecret {
		t.Errorf("got %d %s", a.status, a.text)
	}
	wantCommand(t, svc.last(), &leasepb.Command{Op: &leasepb.Command_Acquire{Acquire: &leasepb.Acquire{
		Lease: fakeID[:], Owner: "worker-1", WaitMs: 60_000,
		Locks: []*leasepb.LockRequest{{Namespace: "jobs", Lock: "nightly", Mode: leasepb.Mode_MODE_SHARED, Permits: 1}},
	}}})
}

func TestAnEmptyBodyIsAnEmptyObject(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	for _, body := range []string{"", "{}"} {
		if a := n.ask("POST", acquirePath, body); a.status != http.StatusOK || a.object()["ttl"] != "30s" {
			t.Errorf("body %q: %d %s", body, a.status, a.text)
		}
	}
}

func TestAnyContentTypeIsJSON(t *testing.T) {
	n := start(t, new(fakeService))
	if a := n.ask("POST", acquirePath, `{"ttl":"5s"}`, "Content-Type", "application/x-www-form-urlencoded"); a.status != http.StatusOK {
		t.Errorf("got %d %s", a.status, a.text)
	}
}

// wantCommand compares commands but for when they were made.
func wantCommand(t *testing.T, got, want *leasepb.Command) {
	t.Helper()
	got = proto.CloneOf(got)
	got.AtUnixMs = want.AtUnixMs
	if !proto.Equal(got, want) {
		t.Errorf("command\n%v\nwant\n%v", got, want)
	}
}

func TestRelease(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	path := "/v1/namespaces/jobs/locks/nightly/release"
	n.ask("POST", path, `{"lease":"`+fakeLeaseSecret+`","token":42}`).wantJSON(http.StatusOK, `{"released":true,"token":42}`)
	wantCommand(t, svc.last(), &leasepb.Command{Op: &leasepb.Command_Release{Release: &leasepb.Release{
		Lease: fakeID[:], Namespace: "jobs", Locks: []*leasepb.ReleaseRef{{Namespace: "jobs", Lock: "nightly", Token: 42}},
	}}})
	n.ask("POST", path, `{}`).wantInvalid("lease")

	svc.do = func(context.Context, *leasepb.Command) (*leasepb.Result, error) {
		return &leasepb.Result{Cancelled: true}, nil
	}
	n.ask("POST", path, `{"lease":"`+fakeLeaseSecret+`"}`).wantJSON(http.StatusOK, `{"released":false,"cancelled":true}`)
}

func TestForceRelease(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	path := "/v1/namespaces/jobs/locks/nightly/force-release"
	n.ask("POST", path, `{"reason":"stuck","token":42}`, "X-Request-Id", "r-1").wantJSON(http.StatusOK, `{"released":[{"lease_id":"`+fakeID.String()+`","token":42}]}`)
	wantCommand(t, svc.last(), &leasepb.Command{Op: &leasepb.Command_ForceRelease{ForceRelease: &leasepb.ForceRelease{
		Lock: &leasepb.LockRef{Namespace: "jobs", Lock: "nightly"}, Reason: "stuck", Token: 42,
	}}})
	for _, want := range []string{`"action":"force_release"`, `"outcome":"done"`, `"request_id":"r-1"`, `"remote":"127.0.0.1:`,
		`"namespace":"jobs"`, `"lock":"nightly"`, `"token":42`, `"reason":"stuck"`, `"released":[{"lease_id":"` + fakeID.String() + `","token":42}]`} {
		if !strings.Contains(n.audit.String(), want) {
			t.Errorf("audit line without %s: %s", want, n.audit)
		}
	}
	svc.do = func(context.Context, *leasepb.Command) (*leasepb.Result, error) { return nil, ErrOutcomeUnknown }
	n.ask("POST", path, `{"token":42}`).wantInvalid("reason")
	n.ask("POST", path, `{"reason":"stuck"}`).wantProblem(http.StatusGatewayTimeout, "outcome_unknown")
	if lines := strings.Split(strings.TrimSpace(n.audit.String()), "\n"); len(lines) != 2 || !strings.Contains(lines[1], `"outcome":"outcome_unknown"`) {
		t.Errorf("audit:\n%s", n.audit)
	}
}

const fakeLockJSON = `{"namespace":"jobs","lock":"nightly","held":true,"mode":"permit","limit":3,"holders":[{"lease_id":"LEASE","owner":"worker-1","mode":"permit","permits":2,"token":42,` +
	`"acquired_at":"2026-01-02T03:04:05.678Z","metadata":{"host":"a\"b","zone":"ü"},"expires_in_ms":29000}],` +
	`"queue":[{"lease_id":"LEASE","owner":"worker-2","mode":"permit","permits":3,"position":1}],"queue_length":1,"closed_for_ms":1500,"last_token":43,"index":981}`

func lockJSON() string { return strings.ReplaceAll(fakeLockJSON, "LEASE", fakeID.String()) }

func TestReadLock(t *testing.T) {
	var read LockRead
	svc := &fakeService{lock: func(_ context.Context, r LockRead) (LockState, error) {
		read = r
		return LockState{View: fakeLock(r.Namespace, r.Lock), StaleFor: 12 * time.Millisecond}, nil
	}}
	n := start(t, svc)
	path := "/v1/namespaces/jobs/locks/nightly"
	for query, want := range map[string]LockRead{
		"":                          {},
		"?consistency=linearizable": {},
		"?consistency=stale":        {Stale: true},
		"?index=981&wait=30s":       {AfterIndex: 981, Wait: 30 * time.Second},
		"?index=981":                {AfterIndex: 981},
	} {
		a := n.ask("GET", path+query, "")
		a.wantJSON(http.StatusOK, lockJSON())
		want.Namespace, want.Lock = "jobs", "nightly"
		if read != want {
			t.Errorf("%s: read %+v, want %+v", query, read, want)
		}
		if got := a.header.Get("Lockd-Stale-Ms"); (got == "12") != want.Stale {
			t.Errorf("%s: Lockd-Stale-Ms %q", query, got)
		}
	}
	for query, field := range map[string]string{
		"?consistency=":              "consistency",
		"?consistency=eventual":      "consistency",
		"?index=-1":                  "index",
		"?index=1e3":                 "index",
		"?index=9007199254740992":    "index",
		"?wait=30s":                  "wait",
		"?index=1&wait=30":           "wait",
		"?index=1&wait=601s":         "wait",
		"?index=1&wait=-1s":          "wait",
		"?consistency=stale&index=1": "index",
		"?indx=1":                    "indx",
		"?index=1&index=2":           "index",
		"?a=%zz":                     "query",
	} {
		n.ask("GET", path+query, "").wantInvalid(field)
	}
}

func TestReadOfALockNobodyHas(t *testing.T) {
	svc := &fakeService{lock: func(_ context.Context, r LockRead) (LockState, error) {
		return LockState{View: &leasepb.LockView{Namespace: r.Namespace, Lock: r.Lock, LastToken: 7, Index: 9}, StaleFor: -1}, nil
	}}
	start(t, svc).ask("GET", "/v1/namespaces/jobs/locks/nightly", "").
		wantJSON(http.StatusOK, `{"namespace":"jobs","lock":"nightly","held":false,"mode":"exclusive","limit":0,"holders":[],"queue":[],"queue_length":0,"last_token":7,"index":9}`)
}

func TestVerify(t *testing.T) {
	n := start(t, new(fakeService))
	path := "/v1/namespaces/jobs/locks/nightly/verify"
	for token, valid := range map[string]string{"42": "true", "41": "false"} {
		want := `{"valid":` + valid + `,"current_tokens":[42],"last_token":43}`
		n.ask("POST", path, `{"token":`+token+`}`).wantJSON(http.StatusOK, want)
		n.ask("GET", path+"?token="+token, "").wantJSON(http.StatusOK, want)
	}
	n.ask("POST", path, "").wantInvalid("token")
	n.ask("GET", path, "").wantInvalid("token")
	n.ask("GET", path+"?token=0", "").wantInvalid("token")
	n.ask("GET", path+"?token=x", "").wantInvalid("token")
}

func TestListLocks(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	path := "/v1/namespaces/jobs/locks"
	n.ask("GET", path+"?prefix=n&held=true&limit=7&after=m%2F1", "").wantJSON(http.StatusOK, `{"locks":[`+lockJSON()+`],"next":"nightly"}`)
	n.ask("GET", path, "")
	want := []LocksPage{{Namespace: "jobs", Prefix: "n", After: "m/1", HeldOnly: true, Limit: 7}, {Namespace: "jobs", Limit: 100}}
	if len(svc.pages) != 2 || svc.pages[0] != want[0] || svc.pages[1] != want[1] {
		t.Errorf("pages %+v, want %+v", svc.pages, want)
	}
	for query, field := range map[string]string{
		"?limit=0": "limit", "?limit=1001": "limit", "?limit=": "limit", "?held=yes": "held", "?held": "held",
		"?prefix=%00": "prefix", "?after=%ff": "after", "?after=" + strings.Repeat("a", 513): "after", "?Limit=1": "Limit",
	} {
		n.ask("GET", path+query, "").wantInvalid(field)
	}
}

func TestListNamespaces(t *testing.T) {
	n := start(t, new(fakeService))
	n.ask("GET", "/v1/namespaces?limit=2&after=a", "").wantJSON(http.StatusOK, `{"namespaces":["default","jobs"],"next":"jobs"}`)
	n.ask("GET", "/v1/namespaces?limit=x", "").wantInvalid("limit")
	n.ask("GET", "/v1/namespaces?after=%0a", "").wantInvalid("after")
}
