// Package proc runs lockd as its users do, for tests: real processes on
// loopback with real disks, which can be killed, paused and started again.
//
// It is for tests only. A Cluster is used by one goroutine, a Node's methods
// by any.
package proc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var build struct {
	sync.Once
	path string
	err  error
}

// Binary builds lockd once per test process and returns its path. The file
// lies in a directory that the first test's process removes with Cleanup.
func Binary(t testing.TB) string {
	t.Helper()
	build.Do(func() {
		dir, err := os.MkdirTemp("", "lockd-test")
		if err != nil {
			build.err = err
			return
		}
		build.path = filepath.Join(dir, "lockd")
		cmd := exec.Command("go", "build", "-o", build.path, "lockd/cmd/lockd")
		if out, err := cmd.CombinedOutput(); err != nil {
			build.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if build.err != nil {
		t.Fatalf("go build: %v", build.err)
	}
	return build.path
}

// RemoveBinary is for TestMain.
func RemoveBinary() error {
	if build.path == "" {
		return nil
	}
	return os.RemoveAll(filepath.Dir(build.path))
}

// Cluster is a number of nodes that know each other.
type Cluster struct {
	Nodes []*Node
	t     testing.TB
}

// Node is one process, or the place where it was and will be.
type Node struct {
	Name   string
	URL    string // of its REST API
	Dir    string
	Args   []string
	t      testing.TB
	bin    string
	peer   string
	mu     sync.Mutex
	cmd    *exec.Cmd
	log    *tail
	exited chan struct{} // closed when the present process has been reaped
	err    error         // of Wait
}

// Options are what a test may set about a cluster.
type Options struct {
	Nodes int      // default 3
	Args  []string // for every node
	// Dir is where node i keeps its data; default a directory of the test.
	Dir func(i int) string
}

// Start starts a cluster and waits until every node is ready. Everything is
// killed at the end of the test.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c := New(t, o)
	for _, n := range c.Nodes {
		n.Start()
	}
	for _, n := range c.Nodes {
		n.AwaitReady(20 * time.Second)
	}
	return c
}

// New prepares a cluster without starting its nodes.
func New(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	c := &Cluster{t: t}
	var members []string
	for i := range o.Nodes {
		name := fmt.Sprint("n", i+1)
		dir := filepath.Join(t.TempDir(), name)
		if o.Dir != nil {
			dir = o.Dir(i)
		}
		listen, peer := freeAddress(t), freeAddress(t)
		members = append(members, name+"="+peer)
		c.Nodes = append(c.Nodes, &Node{
			Name: name, URL: "http://" + listen, Dir: dir, t: t, bin: Binary(t), peer: peer,
			Args: append([]string{"serve", "--name", name, "--data-dir", dir, "--listen", listen, "--peer-listen", peer, "--log-format", "json"}, o.Args...),
		})
	}
	for _, n := range c.Nodes {
		n.Args = append(n.Args, "--cluster", strings.Join(members, ","))
	}
	t.Cleanup(func() {
		for _, n := range c.Nodes {
			n.Kill()
			if t.Failed() {
				t.Logf("%s, the end of its log:\n%s", n.Name, n.Log())
			}
		}
	})
	return c
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// URLs are the REST addresses of all nodes.
func (c *Cluster) URLs() []string {
	var urls []string
	for _, n := range c.Nodes {
		urls = append(urls, n.URL)
	}
	return urls
}

// Node returns a node by name.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n
		}
	}
	c.t.Fatalf("no node %q", name)
	return nil
}

// Others returns the nodes that are not n.
func (c *Cluster) Others(n *Node) []*Node {
	var others []*Node
	for _, o := range c.Nodes {
		if o != n {
			others = append(others, o)
		}
	}
	return others
}

// Start starts the node's process.
func (n *Node) Start() {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.log == nil {
		n.log = &tail{}
	}
	cmd := exec.Command(n.bin, n.Args...)
	cmd.Stdout, cmd.Stderr = n.log, n.log
	if err := cmd.Start(); err != nil {
		n.t.Fatalf("%s: %v", n.Name, err)
	}
	exited := make(chan struct{})
	n.cmd, n.exited = cmd, exited
	go func() {
		err := cmd.Wait()
		n.mu.Lock()
		n.err = err
		n.mu.Unlock()
		close(exited)
	}()
}

// Signal sends a signal to the node's process, if there is one.
func (n *Node) Signal(s syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		// A process that is gone already needs no signal.
		if err := n.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
			n.t.Errorf("%s: signal %s: %v", n.Name, s, err)
		}
	}
}

// PID is the process's id.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd.Process.Pid
}

// Kill kills the process with SIGKILL and waits until it is gone.
func (n *Node) Kill() {
	n.Signal(syscall.SIGKILL)
	n.mu.Lock()
	exited := n.exited
	n.mu.Unlock()
	if exited != nil {
		<-exited
	}
}

// Pause stops the process where it is, and returns when every thread of it
// stands still: until then it may go on answering.
func (n *Node) Pause() {
	n.t.Helper()
	n.Signal(syscall.SIGSTOP)
	Eventually(n.t, 5*time.Second, n.Name+" stands still", func() bool {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", n.PID()))
		if err != nil || len(stats) == 0 {
			return false
		}
		for _, path := range stats {
			raw, err := os.ReadFile(path)
			_, state, found := bytes.Cut(raw, []byte(") "))
			if err != nil || !found || state[0] != 'T' {
				return false
			}
		}
		return true
	})
}

// Resume lets a paused process go on.
func (n *Node) Resume() { n.Signal(syscall.SIGCONT) }

// AwaitExit waits for the process to end by itself and returns its exit code.
func (n *Node) AwaitExit(limit time.Duration) int {
	n.t.Helper()
	select {
	case <-n.exited:
	case <-time.After(limit):
		n.t.Fatalf("%s still runs after %s", n.Name, limit)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd.ProcessState.ExitCode()
}

// AwaitReady waits until the node says that it is ready.
func (n *Node) AwaitReady(limit time.Duration) {
	n.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		a := Get(n.URL, "/readyz")
		if a.Status == 200 {
			return
		}
		select {
		case <-n.exited:
			n.t.Fatalf("%s exited before it was ready: %s", n.Name, n.Log())
		default:
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("%s is not ready after %s: %+v", n.Name, limit, a)
		}
		time.Sleep(5 * time.Millisecond) // between two looks at the condition
	}
}

// Log is the end of what the node's processes have printed.
func (n *Node) Log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.log == nil {
		return ""
	}
	return n.log.String()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailBytes = 64 << 10

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p...)
	if len(l.buf) > 2*tailBytes {
		l.buf = append(l.buf[:0], l.buf[len(l.buf)-tailBytes:]...)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}

// Lines returns the lines of the log that contain a text.
func (n *Node) Lines(containing string) []string {
	var found []string
	s := bufio.NewScanner(strings.NewReader(n.Log()))
	for s.Scan() {
		if bytes.Contains(s.Bytes(), []byte(containing)) {
			found = append(found, s.Text())
		}
	}
	return found
}

var _ io.Writer = (*tail)(nil)

// Exited tells whether the present process has ended.
func (n *Node) Exited() bool {
	n.mu.Lock()
	exited := n.exited
	n.mu.Unlock()
	select {
	case <-exited:
		return true
	default:
		return false
	}
}
