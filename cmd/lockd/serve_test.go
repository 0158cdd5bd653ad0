package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// served is a node that runs in this process.
type served struct {
	url    string
	cancel context.CancelFunc
	status chan int
}

// start runs "lockd serve" on free ports and returns once it says what to try.
func start(t *testing.T, stderr io.Writer, args ...string) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{cancel: cancel, status: make(chan int, 1)}
	read, stdout := io.Pipe()
	go func() {
		args := append([]string{"serve", "--listen=127.0.0.1:0", "--peer-listen=127.0.0.1:0", "--heartbeat=20ms", "--election=100ms"}, args...)
		s.status <- run(ctx, args, stdout, stderr)
		stdout.Close()
	}()
	t.Cleanup(func() { s.cancel() })
	in := bufio.NewReader(read)
	line, err := in.ReadString('\n')
	if err != nil {
		t.Fatalf("no start line: %v, status %d", err, <-s.status)
	}
	_, s.url, _ = strings.Cut(strings.TrimSpace(line), " serves ")
	line, err = in.ReadString('\n')
	if want := "try: curl -d '{\"ttl\":\"5m\"}' " + s.url + "/v1/namespaces/demo/locks/hello/acquire\n"; err != nil || line != want {
		t.Fatalf("%q, %v, want %q", line, err, want)
	}
	return s
}

// stop ends the node as SIGTERM does and returns its exit status.
func (s *served) stop() int {
	s.cancel()
	return <-s.status
}

// acquire asks for a lock and returns the status and the answer.
func (s *served) acquire(t *testing.T, body string) (int, map[string]any) {
	t.Helper()
	resp, err := http.Post(s.url+"/v1/namespaces/jobs/locks/nightly/acquire", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func TestNodeKeepsItsLocksOverARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	node := start(t, io.Discard, "--data-dir", dir)
	status, grant := node.acquire(t, `{"ttl":"5m"}`)
	if status != http.StatusOK {
		t.Fatalf("status %d: %v", status, grant)
	}
	if status := node.stop(); status != exitOK {
		t.Fatalf("exit status %d", status)
	}

	node = start(t, io.Discard, "--data-dir", dir)
	if status, answer := node.acquire(t, `{}`); status != http.StatusConflict {
		t.Errorf("another got the lock: %v", answer)
	}
	status, again := node.acquire(t, `{"lease":"`+grant["lease"].(string)+`"}`)
	if status != http.StatusOK || again["token"] != grant["token"] {
		t.Errorf("status %d: %v, granted before: %v", status, again, grant)
	}
	if status := node.stop(); status != exitOK {
		t.Errorf("exit status %d", status)
	}
}

func TestNodeShowsItsMetrics(t *testing.T) {
	node := start(t, io.Discard, "--data-dir", t.TempDir())
	defer node.stop()
	if status, answer := node.acquire(t, `{}`); status != http.StatusOK {
		t.Fatalf("status %d: %v", status, answer)
	}
	resp, err := http.Get(node.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`lockd_node_info{node="n1"} 1`, `lockd_acquires_total{outcome="granted"} 1`, `lockd_group_leading{group="4"} 1`,
		`lockd_ring_epoch 1`, `lockd_http_requests_total{code="200",method="POST",`, `lockd_fsync_duration_seconds_count`, `go_goroutines`,
	} {
		if !strings.Contains(string(page), line) {
			t.Errorf("no %s", line)
		}
	}
}

func TestServeRefusesAndSaysWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	data := filepath.Join(t.TempDir(), "data")
	node := start(t, io.Discard, "--data-dir", data)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused := func(name, want string, args ...string) {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"serve", "--listen=127.0.0.1:0", "--peer-listen=127.0.0.1:0"}, args...)
			if status, stdout, stderr := lockd(t, args...); status != exitFailed || stdout != "" || !strings.Contains(stderr, want) {
				t.Errorf("status %d, %q, %q", status, stdout, stderr)
			}
		})
	}
	refused("a port that is taken", "--listen takes another address", "--listen", taken.Addr().String())
	refused("a peer port that is taken", "--peer-listen takes another address", "--peer-listen", taken.Addr().String())
	refused("a directory in use", "in use by another lockd", "--data-dir", data)
	refused("a file as the directory", file, "--data-dir", file)
	node.stop()
	refused("another node's data", "start the node under its own name", "--data-dir", data, "--name", "n2")
}

// F28, for the whole node: neither the log nor the start line is ever read.
func TestNodeWhoseOutputNobodyReads(t *testing.T) {
	blocked := stuck{make(chan struct{})}
	defer close(blocked.released)
	node := start(t, blocked, "--data-dir", t.TempDir(), "--log-level=debug")
	if status, answer := node.acquire(t, `{}`); status != http.StatusOK {
		t.Errorf("status %d: %v", status, answer)
	}
	if status := node.stop(); status != exitOK {
		t.Errorf("exit status %d", status)
	}

	// An error is not printed for ever, either.
	if status := run(t.Context(), []string{"serve", "--groups=0"}, new(bytes.Buffer), blocked); status != exitUsage {
		t.Errorf("exit status %d", status)
	}
}

func TestWithinDoesNotWaitForWhatHangs(t *testing.T) {
	hung := make(chan struct{})
	defer close(hung)
	if err := within(0, func(context.Context) error { <-hung; return nil }); err == nil {
		t.Error("it ended")
	}
}
