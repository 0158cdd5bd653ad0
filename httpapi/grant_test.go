package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"lockd/lease"
	"lockd/lease/leasepb"
)

// waitingService lets an acquire wait until its context ends, and then answers
// with what the test chose.
func waitingService(answer func(*leasepb.Command) (*leasepb.Result, error)) (svc *fakeService, waiting chan struct{}) {
	waiting = make(chan struct{}, 1)
	return &fakeService{do: func(ctx context.Context, cmd *leasepb.Command) (*leasepb.Result, error) {
		if cmd.GetAcquire() == nil {
			return fakeResult(cmd), ctx.Err()
		}
		waiting <- struct{}{}
		<-ctx.Done()
		return answer(cmd)
	}}, waiting
}

func granted(cmd *leasepb.Command) (*leasepb.Result, error) { return fakeResult(cmd), nil }

func cancelled(*leasepb.Command) (*leasepb.Result, error) { return nil, context.Canceled }

// disconnect sends an acquire, goes away while it waits, and returns what the
// service was asked in all. undeliverable: the answer is known not to have
// come through.
func disconnect(t *testing.T, svc *fakeService, waiting chan struct{}, undeliverable bool, path, body string, headers ...string) []*leasepb.Command {
	t.Helper()
	var o observations
	n := start(t, svc, func(c *Config) { c.Observe = o.observer })
	var request strings.Builder
	request.WriteString("POST " + path + " HTTP/1.1\r\nHost: localhost\r\n")
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	r.Header.Write(&request)
	conn := n.raw(request.String() + "Content-Length: " + itoa(len(body)) + "\r\n\r\n" + body)
	<-waiting
	conn.Close()
	n.http.Close() // waits for the handler
	if logs := n.logs.String(); logs != "" {
		t.Errorf("a client that goes away is logged: %s", logs)
	}
	if len(o.seen) != 1 || strings.HasSuffix(o.seen[0], " 499") != undeliverable {
		t.Errorf("observed %v", o.seen)
	}
	return svc.sent()
}

func TestAWaitEndsWhenItsClientGoes(t *testing.T) {
	svc, waiting := waitingService(cancelled)
	if sent := disconnect(t, svc, waiting, true, acquirePath, `{"wait":"10m"}`); len(sent) != 1 {
		t.Errorf("commands %v", sent)
	}
}

func TestAOneShotGrantThatCannotBeDeliveredIsReleased(t *testing.T) {
	lock := `"locks":[{"namespace":"jobs","lock":"a"}]`
	for name, test := range map[string]struct {
		path, body string
		headers    []string
		released   bool
	}{
		"one-shot":            {acquirePath, `{"wait":"1m"}`, nil, true},
		"one-shot at once":    {acquirePath, `{}`, nil, true},
		"with a key":          {acquirePath, `{"wait":"1m"}`, []string{"Idempotency-Key", "k"}, false},
		"with a lease":        {acquirePath, `{"lease":"` + fakeLeaseSecret + `","wait":"1m"}`, nil, false},
		"multi-lock":          {multiAcquire, `{` + lock + `,"wait":"1m"}`, nil, true},
		"multi-lock with key": {multiAcquire, `{` + lock + `,"wait":"1m"}`, []string{"Idempotency-Key", "k"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			svc, waiting := waitingService(granted)
			sent := disconnect(t, svc, waiting, test.released, test.path, test.body, test.headers...)
			if !test.released {
				if len(sent) != 1 {
					t.Errorf("commands %v", sent)
				}
				return
			}
			if len(sent) != 2 || lease.ID(sent[1].GetEndLease().GetLease()) != fakeID {
				t.Errorf("commands %v, want the end of %v", sent, fakeID)
			}
		})
	}
}

// brokenWriter takes an answer and cannot send it.
type brokenWriter struct{ httptest.ResponseRecorder }

func (w *brokenWriter) FlushError() error { return errors.New("broken pipe") }

func TestAOneShotGrantThatCannotBeWrittenIsReleased(t *testing.T) {
	svc := new(fakeService)
	var logs lockedBuffer
	h := New(Config{Logger: zerolog.New(&logs)}, svc).Handler()
	h.ServeHTTP(&brokenWriter{*httptest.NewRecorder()}, httptest.NewRequest("POST", acquirePath, nil))
	if sent := svc.sent(); len(sent) != 2 || lease.ID(sent[1].GetEndLease().GetLease()) != fakeID {
		t.Errorf("commands %v", sent)
	}
	svc.do = func(_ context.Context, cmd *leasepb.Command) (*leasepb.Result, error) {
		if cmd.GetEndLease() != nil {
			return nil, ErrOutcomeUnknown
		}
		return fakeResult(cmd), nil
	}
	h.ServeHTTP(&brokenWriter{*httptest.NewRecorder()}, httptest.NewRequest("POST", acquirePath, nil))
	if !strings.Contains(logs.String(), fakeID.String()) || strings.Contains(logs.String(), fakeLeaseSecret) {
		t.Errorf("logs: %s", &logs)
	}
}

func TestABlockingReadEndsWhenItsClientGoes(t *testing.T) {
	for _, body := range []string{"", "{}"} {
		reading, ended := make(chan struct{}), make(chan struct{})
		svc := &fakeService{lock: func(ctx context.Context, _ LockRead) (LockState, error) {
			close(reading)
			<-ctx.Done()
			close(ended)
			return LockState{}, ctx.Err()
		}}
		n := start(t, svc)
		conn := n.raw("GET /v1/namespaces/jobs/locks/nightly?index=1&wait=10m HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + body)
		<-reading
		conn.Close()
		<-ended
	}
}

func TestDrainEndsWaits(t *testing.T) {
	svc, waiting := waitingService(func(*leasepb.Command) (*leasepb.Result, error) {
		return nil, &UnavailableError{Reason: "the place was cancelled"}
	})
	n := start(t, svc)
	done := make(chan *answered)
	go func() { done <- n.ask("POST", acquirePath, `{"wait":"10m"}`) }()
	<-waiting
	n.server.Drain()
	(<-done).wantProblem(http.StatusServiceUnavailable, "unavailable")
}

func TestDrainEndsBlockingReads(t *testing.T) {
	reading := make(chan struct{}, 1)
	svc := &fakeService{lock: func(ctx context.Context, read LockRead) (LockState, error) {
		reading <- struct{}{}
		<-ctx.Done()
		return LockState{}, ctx.Err()
	}}
	n := start(t, svc)
	done := make(chan *answered)
	go func() { done <- n.ask("GET", "/v1/namespaces/jobs/locks/nightly?index=1&wait=10m", "") }()
	<-reading
	n.server.Drain()
	(<-done).wantProblem(http.StatusGatewayTimeout, "outcome_unknown")
}
