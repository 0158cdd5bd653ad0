package e2e

import (
	"context"
	"testing"
	"time"

	"lockd/internal/proc"
)

func queueLength(url, ns, lock string) int64 {
	a := proc.Get(url, lockPath(ns, lock))
	if a.Status != 200 {
		return -1
	}
	return a.Number("queue_length")
}

// waitInQueue starts an acquire that waits, and returns when it is queued.
func waitInQueue(t *testing.T, ctx context.Context, ask, look *proc.Node, lock string, position int64) <-chan proc.Answer {
	t.Helper()
	answer := make(chan proc.Answer, 1)
	go func() {
		answer <- proc.Do(ctx, "POST", ask.URL+acquirePath("jobs", lock), m{"wait": "60s", "ttl": "30s"})
	}()
	proc.Eventually(t, 5*time.Second, "the request is queued", func() bool { return queueLength(look.URL, "jobs", lock) == position })
	return answer
}

func TestWaiterWhoseClientLeavesIsGoneWithinASecond(t *testing.T) {
	c := proc.Start(t, proc.Options{})
	held := proc.Post(c.Nodes[0].URL, acquirePath("jobs", "busy"), m{"ttl": "60s"}).Must(t, 200)
	for _, n := range c.Nodes { // the leader's node, and the others
		ctx, leave := context.WithCancel(t.Context())
		waitInQueue(t, ctx, n, c.Nodes[0], "busy", 1)
		leave()
		proc.Eventually(t, time.Second, "the place of a client that left is free", func() bool { return queueLength(n.URL, "jobs", "busy") == 0 })
	}
	proc.Post(c.Nodes[1].URL, releasePath("jobs", "busy"), m{"lease": held.Text("lease")}).Must(t, 200)
}

// R13: the place of a waiter goes with the node that serves it.
func TestWaiterWhoseNodeDiesIsGoneWithinTwoSeconds(t *testing.T) {
	c := proc.Start(t, proc.Options{})
	held := proc.Post(c.Nodes[0].URL, acquirePath("jobs", "busy"), m{"ttl": "60s"}).Must(t, 200)
	leader := c.Node(proc.Leader(c.Nodes[0].URL, "jobs"))
	dying := c.Others(leader)[0]
	waitInQueue(t, t.Context(), dying, leader, "busy", 1)
	survivor := waitInQueue(t, t.Context(), leader, leader, "busy", 2)
	dying.Kill()
	proc.Eventually(t, 2*time.Second, "the place served by a dead node is free", func() bool { return queueLength(leader.URL, "jobs", "busy") == 1 })
	proc.Post(leader.URL, releasePath("jobs", "busy"), m{"lease": held.Text("lease")}).Must(t, 200)
	got := (<-survivor).Must(t, 200)
	view := proc.Get(leader.URL, lockPath("jobs", "busy"))
	if h := holders(view); len(h) != 1 || h[0] != got.Number("token") {
		t.Errorf("held by %v, the living waiter has %d", h, got.Number("token"))
	}
}

// A long poll survives the death of the leader that kept it, and its place in
// the queue with it.
func TestWaitersKeepTheirPlacesWhenTheLeaderDies(t *testing.T) {
	c := proc.Start(t, proc.Options{})
	held := proc.Post(c.Nodes[0].URL, acquirePath("jobs", "busy"), m{"ttl": "60s"}).Must(t, 200)
	leader := c.Node(proc.Leader(c.Nodes[0].URL, "jobs"))
	others := c.Others(leader)
	first := waitInQueue(t, t.Context(), others[0], others[0], "busy", 1)
	second := waitInQueue(t, t.Context(), others[1], others[0], "busy", 2)
	leader.Kill()
	proc.Eventually(t, 5*time.Second, "another leader shows both waiters", func() bool { return queueLength(others[0].URL, "jobs", "busy") == 2 })
	retry(t, 5*time.Second, func() proc.Answer {
		return proc.Post(others[1].URL, releasePath("jobs", "busy"), m{"lease": held.Text("lease")})
	})
	a := (<-first).Must(t, 200)
	retry(t, 5*time.Second, func() proc.Answer {
		return proc.Post(others[1].URL, releasePath("jobs", "busy"), m{"lease": a.Text("lease")})
	})
	b := (<-second).Must(t, 200)
	if !(held.Number("token") < a.Number("token") && a.Number("token") < b.Number("token")) {
		t.Errorf("tokens %d, %d, %d", held.Number("token"), a.Number("token"), b.Number("token"))
	}
}
