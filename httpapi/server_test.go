package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lockd/lease/leasepb"
)

func TestHeadAnswersAsGetWithoutBody(t *testing.T) {
	n := start(t, new(fakeService))
	for _, path := range []string{"/v1/namespaces/jobs/locks/nightly", "/v1/namespaces/jobs/locks", "/v1/namespaces", "/v1/leases", "/v1/leases/" + fakeLeaseSecret,
		"/v1/namespaces/jobs/locks/nightly/verify?token=1", "/v1/cluster", "/v1/cluster/ring?namespace=jobs", "/healthz", "/readyz", "/openapi.yaml", "/metrics",
		"/v1/namespaces/jobs/events", "/v1/leases?limit=0", "/nowhere"} {
		get, head := http.StatusOK, n.ask("HEAD", path, "")
		if path != "/v1/namespaces/jobs/events" {
			a := n.ask("GET", path, "")
			get = a.status
			if length := head.header.Get("Content-Length"); length != a.header.Get("Content-Length") {
				t.Errorf("HEAD %s: Content-Length %q, of GET %q", path, length, a.header.Get("Content-Length"))
			}
		}
		if head.status != get || head.text != "" {
			t.Errorf("HEAD %s: %d %q, GET %d", path, head.status, head.text, get)
		}
	}
}

func TestMethodNotAllowed(t *testing.T) {
	n := start(t, new(fakeService))
	for path, allow := range map[string]string{
		acquirePath:                                "POST",
		"/v1/namespaces/jobs/locks/nightly":        "GET, HEAD",
		"/v1/namespaces/jobs/locks/nightly/verify": "GET, HEAD, POST",
		"/v1/leases":                               "GET, HEAD, POST",
		"/v1/leases/x":                             "GET, HEAD, DELETE",
		"/v1/leases/keepalive":                     "GET, HEAD, POST, DELETE", // keepalive could be a lease's name too
		"/v1/leases/x/keepalive":                   "POST",
		"/v1/namespaces":                           "GET, HEAD",
		"/v1/namespaces/jobs/events":               "GET, HEAD",
		"/healthz":                                 "GET, HEAD",
	} {
		for _, method := range []string{"PATCH", "OPTIONS", "PUT", "BREW"} {
			a := n.ask(method, path, "")
			a.wantProblem(http.StatusMethodNotAllowed, "method_not_allowed")
			if got := a.header.Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow %q, want %q", method, path, got, allow)
			}
		}
		for _, method := range []string{"GET", "POST", "DELETE"} { // which other paths answer
			if !strings.Contains(allow, method) {
				n.ask(method, path, "").wantProblem(http.StatusMethodNotAllowed, "method_not_allowed")
			}
		}
	}
}

// Routes that have not been asked for, paths that nearly are routes, and none
// of them a redirect.
func TestNotFound(t *testing.T) {
	n := start(t, new(fakeService))
	for _, path := range []string{"/", "/v1", "/v1/", "/v2/leases", "/v1//leases", "/v1/leases/x/", "/v1/leases/x/keepalive/",
		"/v1/namespaces/", "/v1/namespaces/jobs", "/v1/namespaces/jobs/", "/v1/namespaces/jobs/locks/a/b/acquire", "/v1/namespaces/jobs/locks/a/acquired", "/v1/../healthz", "/./healthz", "//healthz", "/healthz/", "/healthz%2F",
		"/ui/", "/v1/cluster/changes", "/v1/cluster/moves", "/v1/cluster/transactions", "/v1/cluster/backup", "/v1/cluster/nodes/n1/drain", "/v1/cluster/groups/1"} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			n.ask(method, path, "").wantProblem(http.StatusNotFound, "not_found")
		}
	}
	n.ask("GET", "/v1/leases/", "").wantProblem(http.StatusNotFound, "lease_not_found")
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	n := start(t, new(fakeService))
	for _, a := range []*answered{n.ask("GET", "/healthz", ""), n.ask("GET", "/nowhere", ""), n.ask("POST", acquirePath, ""), n.ask("POST", acquirePath, "x"),
		n.ask("PUT", acquirePath, ""), n.ask("GET", "/metrics", ""), n.ask("GET", "/healthz", "", "Origin", "http://evil.example")} {
		if got := a.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%d: Cache-Control %q", a.status, got)
		}
		if a.header.Get("X-Request-Id") == "" {
			t.Errorf("%d: no X-Request-Id", a.status)
		}
	}
}

func TestRequestID(t *testing.T) {
	n := start(t, new(fakeService))
	for _, id := range []string{"a", "req 7/é"[:6], strings.Repeat("x", 128), `!"#~`} {
		if got := n.ask("GET", "/healthz", "", "X-Request-Id", id).header.Get("X-Request-Id"); got != id {
			t.Errorf("sent %q, got %q", id, got)
		}
	}
	seen := make(map[string]bool)
	for _, headers := range [][]string{nil, nil, {"X-Request-Id", ""}, {"X-Request-Id", strings.Repeat("x", 129)}, {"X-Request-Id", "ä"}, {"X-Request-Id", "a", "X-Request-Id", "b"}} {
		got := n.ask("GET", "/healthz", "", headers...).header.Get("X-Request-Id")
		if got == "" || len(got) > 128 || seen[got] || slices.Contains(headers, got) {
			t.Errorf("sent %q, got %q", headers, got)
		}
		seen[got] = true
	}
}

func TestAPanicIsA500AndALogLine(t *testing.T) {
	svc := &fakeService{do: func(context.Context, *leasepb.Command) (*leasepb.Result, error) { panic("the sky is falling") }}
	n := start(t, svc)
	for range 2 { // the connection and the server live on
		if a := n.ask("POST", acquirePath, "", "X-Request-Id", "r-9"); strings.Contains(a.text, "sky") {
			t.Errorf("shown outside: %s", a.text)
		} else {
			a.wantProblem(http.StatusInternalServerError, "internal")
		}
	}
	if logs := n.logs.String(); !strings.Contains(logs, "the sky is falling") || !strings.Contains(logs, "r-9") || !strings.Contains(logs, "POST "+lockPath+"/acquire") {
		t.Errorf("logs:\n%s", logs)
	}
}

func TestAPanicInTheMiddleOfAnAnswerCutsIt(t *testing.T) {
	n := start(t, new(fakeService), func(c *Config) {
		c.MetricsPage = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "half")
			http.NewResponseController(w).Flush()
			panic("no more")
		})
	})
	res := n.open(t.Context(), "GET", "/metrics", "")
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("read %q to its end", text)
	}
}

// observations is what the metrics would be told.
type observations struct {
	mu   sync.Mutex
	seen []string
}

func (o *observations) observer(method, route string) Observer {
	return func(status int, took time.Duration) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.seen = append(o.seen, method+" "+route+" "+itoa(status))
		if took < 0 {
			panic("negative time")
		}
	}
}

func TestRequestsAreObservedByRoute(t *testing.T) {
	var o observations
	svc := &fakeService{}
	n := start(t, svc, func(c *Config) { c.Observe = o.observer })
	n.ask("POST", acquirePath, "")
	n.ask("HEAD", "/healthz", "")
	n.ask("GET", "/v1/leases/"+fakeLeaseSecret, "")
	n.ask("GET", "/nowhere", "")
	n.ask("PUT", "/healthz", "")
	n.ask("GET", "/metrics", "")
	n.ask("GET", "/v1/namespaces/jobs/events", "")
	svc.do = func(context.Context, *leasepb.Command) (*leasepb.Result, error) { panic("x") }
	n.ask("POST", acquirePath, "")
	n.http.Close()
	want := []string{"POST " + lockPath + "/acquire 200", "GET /healthz 200", "GET /v1/leases/{lease} 200", "any unmatched 404", "any unmatched 405",
		"GET /metrics 200", "GET /v1/namespaces/{namespace}/events 200", "POST " + lockPath + "/acquire 500"}
	if !slices.Equal(o.seen, want) {
		t.Errorf("observed\n%s\nwant\n%s", strings.Join(o.seen, "\n"), strings.Join(want, "\n"))
	}
}

func TestReadsThatFail(t *testing.T) {
	svc := &fakeService{err: errors.New("x")}
	n := start(t, svc)
	for _, path := range []string{"/v1/namespaces", "/v1/namespaces/jobs/locks", "/v1/leases", "/v1/cluster", "/v1/cluster/ring?namespace=jobs", "/v1/namespaces/jobs/events",
		"/v1/namespaces/jobs/locks/nightly", "/v1/namespaces/jobs/locks/nightly/verify?token=1"} {
		n.ask("GET", path, "").wantProblem(http.StatusInternalServerError, "internal")
	}
}

// The handler needs no connection of its own kind.
func TestHandlerWithoutAServer(t *testing.T) {
	w := httptest.NewRecorder()
	New(Config{}, new(fakeService)).Handler().ServeHTTP(w, httptest.NewRequest("POST", acquirePath, nil))
	if w.Code != http.StatusOK || w.Header().Get("Lockd-Lease") != fakeLeaseSecret {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
