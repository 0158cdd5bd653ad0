package transport

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

func TestCallsAreAnswered(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, n network) {
		server := &fakeHandler{receiveRequest: func(from Hello, payload []byte, reply func([]byte)) func() {
			answer := fmt.Appendf(nil, "%s from %s", payload, from.Name)
			go func() {
				reply(answer)
				reply([]byte("a second answer"))
			}()
			return nil
		}}
		nodes := startNodes(t, n, &fakeHandler{}, server)
		var wg sync.WaitGroup
		for i := range 500 {
			wg.Add(1)
			nodes[0].Call(2, fmt.Appendf(nil, "call %d", i), func(answer []byte, err error) {
				defer wg.Done()
				if want := fmt.Sprintf("call %d from n1", i); string(answer) != want || err != nil {
					t.Errorf("got %q, %v, want %q", answer, err, want)
				}
			})
		}
		wg.Wait()
	})
}

// Requests of one link are received in the order sent.
func TestRequestsKeepOrder(t *testing.T) {
	var next byte
	nodes := startNodes(t, loopback{}, &fakeHandler{}, &fakeHandler{receiveRequest: func(_ Hello, payload []byte, reply func([]byte)) func() {
		if payload[0] != next {
			t.Errorf("request %d where %d was due", payload[0], next)
		}
		next++
		reply(nil)
		return nil
	}})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Add(1)
		nodes[0].Call(2, []byte{byte(i)}, func([]byte, error) { wg.Done() })
	}
	wg.Wait()
}

// silentServer never answers; it tells of requests and of cancels.
func silentServer() (h *fakeHandler, requests, cancels chan string) {
	requests, cancels = make(chan string, 100), make(chan string, 100)
	return &fakeHandler{receiveRequest: func(_ Hello, payload []byte, _ func([]byte)) func() {
		name := string(payload)
		requests <- name
		return func() { cancels <- name }
	}}, requests, cancels
}

func TestCancelReachesTheServer(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, n network) {
		var reply func([]byte)
		requests, cancels := make(chan struct{}, 1), make(chan struct{}, 10)
		server := &fakeHandler{receiveRequest: func(_ Hello, payload []byte, r func([]byte)) func() {
			if string(payload) == "echo" {
				r(payload)
				return func() { t.Error("an answered request was cancelled") }
			}
			reply = r
			requests <- struct{}{}
			return func() { cancels <- struct{}{} }
		}}
		nodes := startNodes(t, n, &fakeHandler{}, server)
		cancel := nodes[0].Call(2, []byte("wait"), func([]byte, error) { t.Error("done of a call that was given up") })
		receive(t, "the request", requests)
		cancel()
		receive(t, "the cancel", cancels)
		reply([]byte("too late"))
		cancel()

		// The link goes on, and what comes over it proves that nothing else did.
		echoed := make(chan error, 1)
		nodes[0].Call(2, []byte("echo"), func(_ []byte, err error) { echoed <- err })
		if err := receive(t, "the echo", echoed); err != nil {
			t.Error(err)
		}
		if len(cancels) > 0 {
			t.Error("cancelled twice")
		}
	})
}

// F7: when the link breaks, each open call ends once with ErrLinkLost, and the
// server is told to give up each of them.
func TestBrokenLinkEndsCalls(t *testing.T) {
	const count = 50
	pipes := newPipes()
	server, requests, cancels := silentServer()
	nodes := startNodes(t, pipes, &fakeHandler{}, server)
	var ended [count]atomic.Int32
	var wg sync.WaitGroup
	for i := range count {
		wg.Add(1)
		nodes[0].Call(2, fmt.Appendf(nil, "%d", i), func(_ []byte, err error) {
			defer wg.Done()
			if ended[i].Add(1); !errors.Is(err, ErrLinkLost) {
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	for range count {
		receive(t, "a request", requests)
	}
	pipes.cut()
	wg.Wait()
	given := make(map[string]bool)
	for range count {
		given[receive(t, "a cancel", cancels)] = true
	}
	if len(given) != count {
		t.Errorf("%d requests were given up", len(given))
	}
	waitLinks(t, nodes[0])
	for i := range ended {
		if n := ended[i].Load(); n != 1 {
			t.Errorf("call %d ended %d times", i, n)
		}
	}
}

// What was never taken by the sender was certainly not done.
func TestCallsNeverSentAreUnreachable(t *testing.T) {
	errs := make(map[string]error)
	c := newCalls()
	start := func(name string) (cancel func()) {
		cancel, err := c.start([]byte(name), func(_ []byte, err error) { errs[name] = err })
		if err != nil {
			t.Fatal(err)
		}
		return cancel
	}
	start("sent")
	cancelled := start("cancelled")
	var f outFrame
	if !c.take(&f) || f.records != 2 {
		t.Fatalf("took %d records", f.records)
	}
	cancelled()
	start("queued")
	c.close()
	if len(errs) != 2 || errs["sent"] != ErrLinkLost || errs["queued"] != ErrUnreachable {
		t.Errorf("ended with %v", errs)
	}
	if _, err := c.start(nil, nil); err != ErrUnreachable {
		t.Errorf("after the end: %v", err)
	}
	cancelled()
}

func TestCallsAreBounded(t *testing.T) {
	c := newCalls()
	if _, err := c.start(make([]byte, maxRecordBytes), nil); err != ErrTooLarge {
		t.Errorf("a request too large: %v", err)
	}
	var err error
	payload := make([]byte, maxRecordBytes/2)
	for n := 0; err == nil; n++ {
		if n > maxRequestBytes/len(payload) {
			t.Fatal("there is no bound on bytes")
		}
		_, err = c.start(payload, func([]byte, error) {})
	}
	if err != ErrOverloaded {
		t.Errorf("a full queue: %v", err)
	}

	c = newCalls()
	for range maxCalls {
		if _, err := c.start(nil, func([]byte, error) {}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.start(nil, nil); err != ErrOverloaded {
		t.Errorf("too many calls: %v", err)
	}
}

// A failed call ends outside of Call, under whose lock the caller may be.
func TestCallToNobody(t *testing.T) {
	nodes := startNodes(t, loopback{}, &fakeHandler{})
	ended := make(chan error)
	nodes[0].Call(9, nil, func(_ []byte, err error) { ended <- err })
	if err := receive(t, "the error", ended); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	nodes[0].SetPeer(8, "127.0.0.1:1")
	nodes[0].Call(8, nil, func(_ []byte, err error) { ended <- err })
	if err := receive(t, "the error", ended); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
}

// An answer that no frame can carry leaves the caller with an open outcome
// instead of without any.
func TestAnswerTooLarge(t *testing.T) {
	nodes := startNodes(t, loopback{}, &fakeHandler{}, &fakeHandler{receiveRequest: func(_ Hello, payload []byte, reply func([]byte)) func() {
		reply(bytes.Repeat(payload, maxRecordBytes))
		return nil
	}})
	ended := make(chan error, 1)
	nodes[0].Call(2, []byte{1}, func(_ []byte, err error) { ended <- err })
	if err := receive(t, "the error", ended); !errors.Is(err, ErrLinkLost) {
		t.Error(err)
	}
}
