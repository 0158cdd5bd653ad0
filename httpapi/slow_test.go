package httpapi

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"lockd/lease/leasepb"
)

// pipes is a listener without sockets, so that a test can turn the clock.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// serveInBubble runs a server in virtual time and hands test a way to connect.
// The service is made within, for its channels to belong there.
func serveInBubble(t *testing.T, service func() Service, test func(dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		listener := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		var logs lockedBuffer
		server := NewHTTPServer(New(Config{Logger: zerolog.New(&logs)}, service()))
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		var conns []net.Conn
		test(func() net.Conn {
			ours, theirs := net.Pipe()
			conns = append(conns, ours)
			listener.conns <- theirs
			return ours
		})
		for _, conn := range conns {
			conn.Close()
		}
		server.Shutdown(context.Background())
		<-served
		if logs := logs.String(); logs != "" {
			t.Errorf("slow clients are logged: %s", logs)
		}
	})
}

const head = " HTTP/1.1\r\nHost: localhost\r\n"

func send(conn net.Conn, text string) { go io.WriteString(conn, text) }

// closedAfter is how long the server keeps a connection on which nothing more
// is sent, and what it had to say.
func closedAfter(conn net.Conn) (time.Duration, string) {
	begin := time.Now()
	text, _ := io.ReadAll(conn)
	return time.Since(begin), string(text)
}

func TestSlowSendersAreCutOff(t *testing.T) {
	for name, test := range map[string]struct {
		text  string
		limit time.Duration
	}{
		"nothing":         {"", readTimeout},
		"half a header":   {"POST " + acquirePath + head, readTimeout},
		"half a body":     {"POST " + acquirePath + head + "Content-Length: 20\r\n\r\n{", readTimeout},
		"no more request": {"GET /healthz" + head + "\r\n", idleTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			serveInBubble(t, func() Service { return new(fakeService) }, func(dial func() net.Conn) {
				conn := dial()
				send(conn, test.text)
				if took, text := closedAfter(conn); took < test.limit || took > test.limit+time.Second {
					t.Errorf("closed after %v, limit %v: %s", took, test.limit, text)
				}
			})
		})
	}
}

func TestALongWaitOutlastsTheTimeouts(t *testing.T) {
	svc := &fakeService{do: func(ctx context.Context, cmd *leasepb.Command) (*leasepb.Result, error) {
		select {
		case <-time.After(9 * time.Minute):
			return fakeResult(cmd), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	serveInBubble(t, func() Service { return svc }, func(dial func() net.Conn) {
		conn := dial()
		send(conn, "POST "+acquirePath+head+"Content-Length: 14\r\n\r\n{\"wait\":\"10m\"}")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("got %v, %v", res, err)
		}
	})
}

func TestAReaderThatDoesNotReadIsCutOff(t *testing.T) {
	serveInBubble(t, func() Service { return new(fakeService) }, func(dial func() net.Conn) {
		conn := dial()
		if _, err := io.WriteString(conn, "GET /openapi.yaml"+head+"\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(writeTimeout + time.Second)
		if text, _ := io.ReadAll(conn); len(text) > 8<<10 {
			t.Errorf("the server waited to write %d bytes", len(text))
		}
	})
}

func readUntil(t *testing.T, stream *bufio.Reader, want string) {
	t.Helper()
	for line := ""; line != want; {
		var err error
		if line, err = stream.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAReaderThatDoesNotReadLosesItsStream(t *testing.T) {
	var f *feed
	service := func() Service {
		f = newFeed()
		return &fakeService{events: f.Events}
	}
	serveInBubble(t, service, func(dial func() net.Conn) {
		conn := dial()
		send(conn, "GET /v1/namespaces/jobs/events"+head+"\r\n")
		stream := bufio.NewReader(conn)
		readUntil(t, stream, ": watching\n")
		time.Sleep(time.Hour) // a stream may be silent for as long as it likes
		f.events <- fed{event: fakeEvent(7)}
		readUntil(t, stream, "id: 7\n")
		f.events <- fed{event: fakeEvent(8)} // and now nobody reads
		time.Sleep(eventWrite + time.Second)
		select {
		case f.events <- fed{event: fakeEvent(9)}:
			t.Error("the stream goes on")
		default:
		}
	})
}
