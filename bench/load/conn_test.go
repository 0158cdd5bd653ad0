package load

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// canned is a connection that answers every request with the same bytes.
type canned struct {
	net.Conn // only what is overridden is called
	response []byte
	unread   []byte
	request  []byte
}

func (c *canned) Write(b []byte) (int, error) {
	c.request, c.unread = append(c.request[:0], b...), c.response
	return len(b), nil
}

func (c *canned) Read(b []byte) (int, error) {
	if len(c.unread) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

func (c *canned) SetDeadline(time.Time) error { return nil }
func (c *canned) Close() error                { return nil }

// connectedTo returns a conn whose connection is tcp.
func connectedTo(tcp net.Conn) *conn {
	c := newConn()
	c.tcp, c.unwatch = tcp, func() bool { return true }
	c.in.Reset(tcp)
	return c
}

func TestConnReadsResponses(t *testing.T) {
	for name, tt := range map[string]struct {
		response string
		status   int
		body     string
		keeps    bool
	}{
		"with a length":              {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", true},
		"header names in lower case": {"HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\n\r\n{}", 409, "{}", true},
		"without a body":             {"HTTP/1.1 204 No Content\r\n\r\n", 204, "", true},
		"in chunks":                  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n, world !!\r\n0\r\n\r\n", 200, "hello, world !!", true},
		"the last of its connection": {"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 503, "x", false},
		"a long one":                 {"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("x", 9000), 200, strings.Repeat("x", 9000), true},
	} {
		t.Run(name, func(t *testing.T) {
			c := connectedTo(&canned{response: []byte(tt.response)})
			a, err := c.do(context.Background(), request{method: http.MethodGet, path: []byte("/")})
			if err != nil {
				t.Fatal(err)
			}
			if a.status != tt.status || string(a.body) != tt.body {
				t.Errorf("got %d %q", a.status, a.body)
			}
			if kept := c.tcp != nil; kept != tt.keeps {
				t.Errorf("connection kept: %v", kept)
			}
		})
	}
}

func TestConnRefusesWhatItCannotRead(t *testing.T) {
	for name, response := range map[string]string{
		"nothing":              "",
		"another protocol":     "SSH-2.0-OpenSSH\r\n\r\n",
		"a status of letters":  "HTTP/1.1 abc\r\n\r\n",
		"a header without end": "HTTP/1.1 200 OK\r\nContent-Length",
		"a negative length":    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"a huge length":        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
		"a body cut short":     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
		"a bad chunk":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := connectedTo(&canned{response: []byte(response)})
			if a, err := c.do(context.Background(), request{method: http.MethodGet, path: []byte("/")}); err == nil {
				t.Errorf("got %d %q", a.status, a.body)
			}
			if c.tcp != nil {
				t.Error("the connection was kept")
			}
		})
	}
}

func TestConnWritesRequests(t *testing.T) {
	tcp := &canned{response: []byte("HTTP/1.1 200 OK\r\n\r\n")}
	c := connectedTo(tcp)
	c.addr = "node:80"
	if _, err := c.do(context.Background(), request{"node:80", http.MethodPost, []byte("/v1/leases"), []byte("{}"), 0}); err != nil {
		t.Fatal(err)
	}
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(tcp.request)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	if req.Method != http.MethodPost || req.URL.Path != "/v1/leases" || req.Host != "node:80" || string(body) != "{}" {
		t.Errorf("sent %q", tcp.request)
	}
}

func TestConnDoesNotAllocate(t *testing.T) {
	c := connectedTo(&canned{response: []byte("HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 5\r\n\r\nhello")})
	r := request{method: http.MethodPost, path: []byte("/v1/namespaces/jobs/locks/nightly/acquire"), body: []byte(`{"wait":"1s"}`)}
	do := func() {
		if _, err := c.do(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	do() // the buffers grow once
	if allocs := testing.AllocsPerRun(100, do); allocs != 0 {
		t.Errorf("%v allocations a request", allocs)
	}
}

func TestConnEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it accepts and never answers
	ctx, cancel := context.WithCancel(context.Background())
	c := newConn()
	defer c.close()
	go func() {
		defer cancel()
		tcp, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { tcp.Close() })
	}()
	if _, err := c.do(ctx, request{addr: l.Addr().String(), method: http.MethodGet, path: []byte("/")}); err == nil {
		t.Error("an answer from a server that gives none")
	}
}

func TestAnswerMembers(t *testing.T) {
	a := answer{200, []byte(`{"lock":"token","lease_id":"abc","lease":"abc.def","token":42,"last":7}`)}
	if lease := a.text("lease"); string(lease) != "abc.def" {
		t.Errorf("lease = %q", lease)
	}
	if token := a.number("token"); token != 42 {
		t.Errorf("token = %d", token)
	}
	if last := a.number("last"); last != 7 {
		t.Errorf("last = %d", last)
	}
	if none, number := a.text("code"), a.number("lease"); none != nil || number != 0 {
		t.Errorf("found %q and %d", none, number)
	}
}

func FuzzConn(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, response []byte) {
		c := connectedTo(&canned{response: response})
		a, err := c.do(context.Background(), request{method: http.MethodGet, path: []byte("/")})
		if err == nil && len(a.body) > len(response) {
			t.Errorf("a body of %d bytes from %d", len(a.body), len(response))
		}
	})
}
