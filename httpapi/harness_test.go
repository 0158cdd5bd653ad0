package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
)

// node is a server under test on a socket, and its logs.
type node struct {
	t      *testing.T
	server *Server
	http   *httptest.Server
	logs   *lockedBuffer
	audit  *lockedBuffer
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs a server in front of svc until the test ends.
func start(t *testing.T, svc Service, configure ...func(*Config)) *node {
	t.Helper()
	n := &node{t: t, logs: new(lockedBuffer), audit: new(lockedBuffer)}
	cfg := Config{
		Logger: zerolog.New(n.logs), Audit: zerolog.New(n.audit),
		MetricsPage: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "up 1\n") }),
	}
	for _, f := range configure {
		f(&cfg)
	}
	n.server = New(cfg, svc)
	n.http = httptest.NewUnstartedServer(nil)
	n.http.Config = NewHTTPServer(n.server)
	n.http.Start()
	t.Cleanup(n.stop)
	return n
}

func (n *node) stop() {
	n.server.Drain()
	n.http.CloseClientConnections()
	n.http.Close()
}

// answered is an answer read to its end.
type answered struct {
	t      *testing.T
	status int
	header http.Header
	text   string
}

// ask sends a request. Headers come in pairs; Host is one of them.
func (n *node) ask(method, path, body string, headers ...string) *answered {
	n.t.Helper()
	res := n.open(context.Background(), method, path, body, headers...)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	return &answered{n.t, res.StatusCode, res.Header, string(text)}
}

func (n *node) open(ctx context.Context, method, path, body string, headers ...string) *http.Response {
	n.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, n.http.URL+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	res, err := n.http.Client().Do(r)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res
}

// raw sends bytes and returns the connection.
func (n *node) raw(text string) net.Conn {
	n.t.Helper()
	conn, err := net.Dial("tcp", n.http.Listener.Addr().String())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		n.t.Fatal(err)
	}
	return conn
}

func (a *answered) object() map[string]any {
	a.t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(a.text), &object); err != nil {
		a.t.Fatalf("%q is no JSON object: %v", a.text, err)
	}
	return object
}

// wantJSON compares the whole body.
func (a *answered) wantJSON(status int, body string) {
	a.t.Helper()
	if a.status != status || strings.TrimSuffix(a.text, "\n") != body {
		a.t.Errorf("got %d\n%s\nwant %d\n%s", a.status, a.text, status, body)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		a.t.Errorf("Content-Type %q", got)
	}
}

// wantProblem checks what every problem has.
func (a *answered) wantProblem(status int, code string) map[string]any {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d %s: %s", a.status, status, code, a.text)
	}
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("Content-Type %q", got)
	}
	p := a.object()
	if p["code"] != code || p["type"] != "urn:lockd:error:"+code || p["status"] != float64(status) {
		a.t.Errorf("problem %s, want code %s", a.text, code)
	}
	for _, name := range []string{"title", "detail"} {
		if text, _ := p[name].(string); text == "" {
			a.t.Errorf("problem without %s: %s", name, a.text)
		}
	}
	return p
}

// wantInvalid checks a 400 and the field that it names.
func (a *answered) wantInvalid(field string) {
	a.t.Helper()
	if p := a.wantProblem(http.StatusBadRequest, "invalid_request"); p["field"] != field {
		a.t.Errorf("field %v, want %q: %s", p["field"], field, a.text)
	}
}

const acquirePath = "/v1/namespaces/jobs/locks/nightly/acquire"

// fakeLeaseSecret is the secret of fakeID.
var fakeLeaseSecret = newProofs(fakeSecret).lease(fakeID)

// readAnswer reads what came back on a raw connection.
func readAnswer(t *testing.T, conn net.Conn) *answered {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answered{t, res.StatusCode, res.Header, string(text)}
}

func itoa(n int) string { return strconv.Itoa(n) }
