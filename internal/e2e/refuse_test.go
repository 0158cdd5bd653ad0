package e2e

import (
	"os"
	"testing"
	"time"

	"lockd/internal/proc"
)

// F18: a node that comes back with an empty disk has forgotten what it
// acknowledged. It is refused, says why, and exits; the others go on.
func TestNodeWithAnEmptyDiskIsRefused(t *testing.T) {
	c := proc.Start(t, proc.Options{})
	held := proc.Post(c.Nodes[0].URL, acquirePath("jobs", "one"), m{"ttl": "60s"}).Must(t, 200)
	lost := c.Nodes[2]
	lost.Kill()
	if err := os.RemoveAll(lost.Dir); err != nil {
		t.Fatal(err)
	}
	lost.Start()
	if code := lost.AwaitExit(10 * time.Second); code <= 0 {
		t.Errorf("exit code %d", code)
	}
	if len(lost.Lines("another data directory")) == 0 {
		t.Errorf("it does not say why: %s", lost.Log())
	}
	a := retry(t, 5*time.Second, func() proc.Answer { return proc.Get(c.Nodes[1].URL, lockPath("jobs", "one")) })
	if h := holders(a); len(h) != 1 || h[0] != held.Number("token") {
		t.Errorf("the lock is held by %v, not by %d", h, held.Number("token"))
	}
}

// Data of a one-node cluster does not become part of a larger one: both would
// grant the same locks.
func TestDataOfAnotherClusterIsRefused(t *testing.T) {
	alone := proc.Start(t, proc.Options{Nodes: 1}).Nodes[0]
	alone.Kill()
	c := proc.New(t, proc.Options{Dir: func(i int) string {
		if i == 0 {
			return alone.Dir
		}
		return t.TempDir()
	}})
	c.Nodes[0].Start()
	if code := c.Nodes[0].AwaitExit(10 * time.Second); code <= 0 {
		t.Errorf("exit code %d", code)
	}
	if len(c.Nodes[0].Lines("give it an empty data directory")) == 0 {
		t.Errorf("it does not say what to do: %s", c.Nodes[0].Log())
	}
}

// One process at a time has a data directory, under one name.
func TestDataDirectoryInUse(t *testing.T) {
	first := proc.Start(t, proc.Options{Nodes: 1}).Nodes[0]
	second := proc.New(t, proc.Options{Nodes: 1, Dir: func(int) string { return first.Dir }}).Nodes[0]
	second.Start()
	if code := second.AwaitExit(10 * time.Second); code <= 0 {
		t.Errorf("exit code %d", code)
	}
	if len(second.Lines("in use by another lockd")) == 0 {
		t.Errorf("it does not say why: %s", second.Log())
	}
}
