//go:build chaos

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lockd/internal/proc"
)

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// F8: a node whose disk is full says so and exits; the others go on; with room
// it comes back.
func TestChaosDiskFull(t *testing.T) {
	mount := t.TempDir()
	command(t, "mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", mount)
	t.Cleanup(func() { command(t, "umount", mount) })
	c := proc.Start(t, proc.Options{Dir: func(i int) string {
		if i == 2 {
			return filepath.Join(mount, "n3")
		}
		return filepath.Join(t.TempDir(), fmt.Sprint("n", i+1))
	}})
	l := startLoad(t, c, 8)
	l.awaitProgress(50)
	filler := filepath.Join(mount, "filler")
	if err := os.WriteFile(filler, make([]byte, 64<<20), 0o644); err == nil {
		t.Fatal("the disk did not fill")
	}
	full := c.Nodes[2]
	if code := full.AwaitExit(60 * time.Second); code <= 0 {
		t.Errorf("the node with the full disk exited with %d", code)
	}
	if len(full.Lines("no space left")) == 0 {
		t.Errorf("it did not say why: %s", full.Log())
	}
	l.awaitProgress(100)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	command(t, "mount", "-o", "remount,size=400m", mount)
	full.Start()
	full.AwaitReady(20 * time.Second)
	l.awaitProgress(50)
	l.stop(full.URL)
}

// F10: single bits flipped at 50 offsets of a fresh node's newest WAL: it
// refuses to start and names the file, or the flip was in the last block.
func TestChaosBitFlipsInTheWAL(t *testing.T) {
	c := proc.Start(t, proc.Options{Nodes: 1})
	n := c.Nodes[0]
	for i := range 400 {
		proc.Post(n.URL, acquirePath("jobs", fmt.Sprint("lock-", i)), m{"ttl": "10m"}).Must(t, 200)
	}
	n.Kill()
	kept := filepath.Join(t.TempDir(), "kept")
	command(t, "cp", "-a", n.Dir, kept)
	restore := func() {
		command(t, "rm", "-rf", n.Dir)
		command(t, "cp", "-a", kept, n.Dir)
	}
	wal := newest(t, filepath.Join(n.Dir, "wal"))
	good, err := os.ReadFile(wal)
	if err != nil {
		t.Fatal(err)
	}
	used := len(strings.TrimRight(string(good), "\x00"))
	refused, last := 0, 0
	for i := range 50 {
		at := used * i / 50
		bad := slices.Clone(good)
		bad[at] ^= 1 << (i % 8)
		restore()
		if err := os.WriteFile(wal, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		n.Start()
		if started(n) {
			n.Kill()
			if at < used-32<<10 {
				t.Errorf("a flip at %d of %d went unnoticed", at, used)
			}
			last++
			continue
		}
		refused++
		if code := n.AwaitExit(time.Second); code <= 0 {
			t.Errorf("flip at %d: exit code %d", at, code)
		}
		if len(n.Lines(filepath.Base(wal))) == 0 {
			t.Errorf("flip at %d: the refusal does not name %s: %s", at, wal, n.Log())
		}
	}
	t.Logf("%d bytes of WAL: %d flips refused, %d in the last block", used, refused, last)
	if refused == 0 {
		t.Error("no flip was refused: the test exercised nothing")
	}
	restore()
	n.Start()
	n.AwaitReady(10 * time.Second)
}

// started waits until the node serves or has exited.
func started(n *proc.Node) bool {
	for {
		if proc.Get(n.URL, "/readyz").Status == 200 {
			return true
		}
		if n.Exited() {
			return false
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
}

func newest(t *testing.T, dir string) string {
	t.Helper()
	var path string
	var at time.Time
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.Name(), ".log") && (path == "" || e.Name() > filepath.Base(path)) {
			path, at = filepath.Join(dir, e.Name()), info.ModTime()
		}
	}
	if at.IsZero() {
		t.Fatalf("no WAL in %s", dir)
	}
	return path
}

// 64 idle groups cost under 5 % of a core per node.
func TestChaosIdleGroupsAreCheap(t *testing.T) {
	c := proc.Start(t, proc.Options{Args: []string{"--groups", "64"}})
	before := make([]time.Duration, len(c.Nodes))
	const watched = 5 * time.Second
	for i, n := range c.Nodes {
		before[i] = cpuTime(t, n.PID())
	}
	<-time.After(watched) // the span over which CPU is measured
	for i, n := range c.Nodes {
		used := cpuTime(t, n.PID()) - before[i]
		share := 100 * float64(used) / float64(watched)
		t.Logf("%s: %.1f %% of a core", n.Name, share)
		if share > 5 {
			t.Errorf("%s uses %.1f %% of a core with 64 idle groups", n.Name, share)
		}
	}
}

// cpuTime is what a process has used, user and system.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// Requests are served again within 2 s of a leader's kill -9, and a planned
// stop is hardly felt.
func TestChaosGapsOfLeaderChanges(t *testing.T) {
	c := proc.Start(t, proc.Options{})
	for _, kind := range []struct {
		name   string
		signal syscall.Signal
		rounds int
		limit  time.Duration
	}{{"kill -9", syscall.SIGKILL, 10, 2 * time.Second}, {"planned stop", syscall.SIGTERM, 10, time.Second}} {
		var gaps []time.Duration
		for range kind.rounds {
			leader := c.Node(proc.Leader(c.Nodes[0].URL, "jobs"))
			gaps = append(gaps, gapOf(t, c, leader, kind.signal))
			leader.AwaitExit(10 * time.Second)
			leader.Start()
			leader.AwaitReady(10 * time.Second)
			for _, n := range c.Nodes {
				n.AwaitReady(10 * time.Second)
			}
		}
		slices.Sort(gaps)
		t.Logf("%s: median %s, all %v", kind.name, gaps[len(gaps)/2], gaps)
		if worst := gaps[len(gaps)-1]; worst > kind.limit {
			t.Errorf("%s: a gap of %s", kind.name, worst)
		}
	}
}

// gapOf stops a leader while clients of another node take and give back a
// lock, and returns the longest time without a success.
func gapOf(t *testing.T, c *proc.Cluster, leader *proc.Node, s syscall.Signal) time.Duration {
	t.Helper()
	url := c.Others(leader)[0].URL
	l := proc.Post(url, "/v1/leases", m{"namespace": "jobs", "ttl": "60s"}).Must(t, 201).Text("lease")
	var longest time.Duration
	last := time.Now()
	signalled, after := false, 0
	for i := 0; after < 100; i++ {
		if i == 100 {
			leader.Signal(s)
			signalled = true
		}
		name := fmt.Sprint("gap-", i%10)
		if proc.Post(url, acquirePath("jobs", name), m{"lease": l}).Status == 200 && proc.Post(url, releasePath("jobs", name), m{"lease": l}).Status == 200 {
			longest = max(longest, time.Since(last))
			last = time.Now()
			if signalled {
				after++
			}
		}
		if time.Since(last) > 20*time.Second {
			t.Fatal("no success for 20 s")
		}
	}
	return longest
}

// F2: the same pause for 10 s, many election timeouts.
func TestChaosLeaderPausedForTenSeconds(t *testing.T) { pausedLeader(t, 10*time.Second) }
