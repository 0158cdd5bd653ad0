package httpapi

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"lockd/lease/leasepb"
)

func TestParseKey(t *testing.T) {
	for value, want := range map[string]string{
		"abc":                                "abc",
		`"abc"`:                              "abc",
		`"a\"b\\c"`:                          `a"b\c`,
		"a b":                                "a b",
		`a"b`:                                `a"b`,
		`a\b`:                                `a\b`,
		strings.Repeat("k", 128):             strings.Repeat("k", 128),
		`"` + strings.Repeat("k", 128) + `"`: strings.Repeat("k", 128),
	} {
		if got, ok := parseKey(value); !ok || got != want {
			t.Errorf("parseKey(%s) = %q, %v, want %q", value, got, ok, want)
		}
	}
	for _, value := range []string{"", `""`, `"`, `"abc`, `"abc"x`, `"abc";p=1`, `"a\b"`, `"abc\"`, "ä", "a\tb", strings.Repeat("k", 129), `"` + strings.Repeat("k", 129) + `"`} {
		if got, ok := parseKey(value); ok {
			t.Errorf("parseKey(%s) = %q", value, got)
		}
	}
}

// keyed lists a request for every logged call.
var keyed = []struct{ method, path, body string }{
	{"POST", acquirePath, `{}`},
	{"POST", "/v1/namespaces/jobs/locks/nightly/release", `{"lease":"` + fakeLeaseSecret + `"}`},
	{"POST", "/v1/namespaces/jobs/locks/nightly/force-release", `{"reason":"stuck"}`},
	{"POST", "/v1/leases", `{}`},
	{"DELETE", "/v1/leases/" + fakeLeaseSecret, ``},
	{"POST", multiAcquire, `{"locks":[{"namespace":"jobs","lock":"a"}]}`},
	{"POST", multiRelease, `{"lease":"` + fakeLeaseSecret + `"}`},
}

func TestEveryLoggedCallTakesAKey(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	for _, call := range keyed {
		if a := n.ask(call.method, call.path, call.body); a.status >= 300 || svc.last().Key != nil {
			t.Errorf("%s without key: %d %s %v", call.path, a.status, a.text, svc.last().Key)
		}
		if a := n.ask(call.method, call.path, call.body, "Idempotency-Key", "k"); a.status >= 300 {
			t.Errorf("%s: %d %s", call.path, a.status, a.text)
		}
		key := svc.last().Key
		if key == nil || len(key.Hash) != 16 || len(key.Body) != 16 {
			t.Errorf("%s: key %v", call.path, key)
		}
		n.ask(call.method, call.path, call.body, "Idempotency-Key", `""`).wantInvalid("Idempotency-Key")
		n.ask(call.method, call.path, call.body, "Idempotency-Key", "k", "Idempotency-Key", "k").wantInvalid("Idempotency-Key")
	}
}

func TestKeepaliveAndReadsIgnoreTheKey(t *testing.T) {
	n := start(t, new(fakeService))
	for _, call := range []struct{ method, path, body string }{
		{"POST", "/v1/leases/" + fakeLeaseSecret + "/keepalive", ""},
		{"POST", "/v1/leases/keepalive", `{"leases":[]}`},
		{"POST", "/v1/namespaces/jobs/locks/nightly/verify", `{"token":1}`},
		{"GET", "/v1/namespaces/jobs/locks/nightly", ""},
	} {
		if a := n.ask(call.method, call.path, call.body, "Idempotency-Key", `"`); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", call.path, a.status, a.text)
		}
	}
}

func TestAKeyBelongsToPathMethodAndBody(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	ask := func(path, body, key string) *leasepb.Key {
		n.ask("POST", path, body, "Idempotency-Key", key)
		return svc.last().Key
	}
	first := ask(acquirePath, `{}`, "k")
	same := func(a, b *leasepb.Key) (scope, body bool) {
		return bytes.Equal(a.Hash, b.Hash), bytes.Equal(a.Body, b.Body)
	}
	for name, test := range map[string]struct {
		key         *leasepb.Key
		scope, body bool
	}{
		"again":      {ask(acquirePath, `{}`, "k"), true, true},
		"quoted":     {ask(acquirePath, `{}`, `"k"`), true, true},
		"other key":  {ask(acquirePath, `{}`, "K"), false, true},
		"other lock": {ask("/v1/namespaces/jobs/locks/weekly/acquire", `{}`, "k"), false, true},
		"other body": {ask(acquirePath, `{ }`, "k"), true, false},
		"no body":    {ask(acquirePath, ``, "k"), true, false},
	} {
		if scope, body := same(first, test.key); scope != test.scope || body != test.body {
			t.Errorf("%s: same scope %v, same body %v", name, scope, body)
		}
	}
}
