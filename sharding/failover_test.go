package sharding

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lockd/consensus"
	"lockd/httpapi"
	"lockd/lease"
)

// leaderOf returns the node that leads a namespace's group, and another one.
func leaderOf(t *testing.T, nodes []*Node, namespace string) (leader, other *Node) {
	t.Helper()
	place, err := nodes[0].Ring(t.Context(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if n.cfg.Name == place.Leader {
			leader = n
		} else {
			other = n
		}
	}
	if leader == nil {
		t.Fatalf("nobody leads %q", namespace)
	}
	return leader, other
}

// stopNode ends a node without handing anything over.
func stopNode(t *testing.T, n *Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

// eventually asks until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !so(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func queueLength(t *testing.T, n *Node, namespace, lock string) int64 {
	t.Helper()
	state, err := n.Lock(t.Context(), httpapi.LockRead{Namespace: namespace, Lock: lock})
	if err != nil {
		t.Fatal(err)
	}
	return state.View.QueueLength
}

// Waiters at another node outlive the leader, in their order.
func TestWaitersKeepTheirPlacesWhenTheLeaderGoes(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *Node){
		"handed over": func(t *testing.T, n *Node) {
			if err := n.HandOver(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"gone without a word": func(*testing.T, *Node) {},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := startNodes(t, 3)
			leader, other := leaderOf(t, nodes, "jobs")
			held, err := other.Do(t.Context(), oneShot("jobs", "l", time.Minute, 0))
			if err != nil {
				t.Fatal(err)
			}
			const waiters = 5
			grants := make(chan uint64, waiters)
			order := make(chan int, waiters)
			var asking sync.WaitGroup
			defer asking.Wait()
			for i := range waiters {
				asking.Go(func() {
					r, err := other.Do(context.Background(), oneShot("jobs", "l", time.Minute, time.Minute))
					if err != nil {
						t.Errorf("waiter %d: %v", i, err)
						grants <- 0
						order <- i
						return
					}
					grants <- r.Grants[0].Token
					order <- i
					if _, err := other.Do(context.Background(), release(r.Grants[0])); err != nil {
						t.Errorf("waiter %d: release: %v", i, err)
					}
				})
				eventually(t, "queued", func() bool { return queueLength(t, other, "jobs", "l") == int64(i+1) })
			}
			end(t, leader)
			stopNode(t, leader)
			eventually(t, "a leader", func() bool {
				place, err := other.Ring(t.Context(), "jobs")
				return err == nil && place.Leader != "" && place.Leader != leader.cfg.Name
			})
			if n := queueLength(t, other, "jobs", "l"); n != waiters {
				t.Errorf("%d wait at the new leader", n)
			}
			if _, err := other.Do(t.Context(), release(held.Grants[0])); err != nil {
				t.Fatal(err)
			}
			last := held.Grants[0].Token
			for i := range waiters {
				token := <-grants
				if token <= last {
					t.Errorf("S2: token %d after %d", token, last)
				}
				last = token
				if got := <-order; got != i {
					t.Errorf("waiter %d was served at position %d", got, i)
				}
			}
		})
	}
}

// A keepalive and a grant are answered by the next leader, with the full TTL.
func TestLeasesOutliveTheirLeader(t *testing.T) {
	nodes := startNodes(t, 3)
	leader, other := leaderOf(t, nodes, "jobs")
	r, err := other.Do(t.Context(), oneShot("jobs", "l", time.Minute, 0))
	if err != nil {
		t.Fatal(err)
	}
	stopNode(t, leader)
	var renewed httpapi.Renewal
	eventually(t, "renewed", func() bool {
		renewed = other.Keepalive(t.Context(), []lease.ID{idOf(r.Lease)})[0]
		return renewed.Err == nil
	})
	if renewed.ExpiresIn < 59*time.Second {
		t.Errorf("expires in %v", renewed.ExpiresIn)
	}
	again := oneShot("jobs", "l", 0, 0)
	again.GetAcquire().OneShot, again.GetAcquire().Lease = nil, r.Lease
	same, err := other.Do(t.Context(), again)
	if err != nil || same.Grants[0].Token != r.Grants[0].Token {
		t.Errorf("asked again: %v, %v", same, err)
	}
}

func TestBlockingReadAnswersWhenTheLockChanges(t *testing.T) {
	nodes := startNodes(t, 3)
	_, other := leaderOf(t, nodes, "jobs")
	held, err := other.Do(t.Context(), oneShot("jobs", "l", time.Minute, 0))
	if err != nil {
		t.Fatal(err)
	}
	state, err := other.Lock(t.Context(), httpapi.LockRead{Namespace: "jobs", Lock: "l"})
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan httpapi.LockState)
	go func() {
		next, err := other.Lock(context.Background(), httpapi.LockRead{Namespace: "jobs", Lock: "l", AfterIndex: state.View.Index, Wait: time.Minute})
		if err != nil {
			t.Error(err)
		}
		changed <- next
	}()
	// Another lock of the namespace must not end the read.
	if _, err := nodes[0].Do(t.Context(), oneShot("jobs", "m", time.Minute, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[1].Do(t.Context(), release(held.Grants[0])); err != nil {
		t.Fatal(err)
	}
	if next := <-changed; len(next.View.Holders) != 0 || next.View.Index <= state.View.Index {
		t.Errorf("read %v after %v", next.View, state.View)
	}
	began := time.Now()
	if _, err := other.Lock(t.Context(), httpapi.LockRead{Namespace: "jobs", Lock: "l", AfterIndex: 1 << 40, Wait: 50 * time.Millisecond}); err != nil || time.Since(began) < 50*time.Millisecond {
		t.Errorf("without a change: %v after %v", err, time.Since(began))
	}
}

func TestStaleReadTellsItsAge(t *testing.T) {
	for _, n := range startNodes(t, 3) {
		state, err := n.Lock(t.Context(), httpapi.LockRead{Namespace: "jobs", Lock: "l", Stale: true})
		if err != nil || state.StaleFor < 0 || state.StaleFor > 5*time.Second {
			t.Errorf("%s: %+v, %v", n.cfg.Name, state, err)
		}
	}
}

func TestEventsAreTheSameOnEveryNode(t *testing.T) {
	nodes := startNodes(t, 3)
	var told [3][]string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	for i, n := range nodes {
		events, err := n.Events(ctx, httpapi.Watch{Namespace: "jobs", Prefix: "watched/", After: httpapi.LastIndex, Idle: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for e, lost := range events {
				if lost || e == nil {
					t.Errorf("lost %v, event %v", lost, e)
					continue
				}
				told[i] = append(told[i], fmt.Sprintf("%d %v %s", e.Index, e.Type, e.Lock))
				if len(told[i]) == 6 {
					break
				}
			}
			done <- struct{}{}
		}()
	}
	for i := range 3 {
		for _, lock := range []string{"watched/l", "other"} {
			r, err := nodes[i].Do(t.Context(), oneShot("jobs", lock, time.Minute, 0))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := nodes[i].Do(t.Context(), release(r.Grants[0])); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range nodes {
		<-done
	}
	if !slices.Equal(told[0], told[1]) || !slices.Equal(told[0], told[2]) {
		t.Errorf("told %v\n%v\n%v", told[0], told[1], told[2])
	}
}

func TestIdleWatchIsToldSo(t *testing.T) {
	n := startNodes(t, 1)[0]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, err := n.Events(ctx, httpapi.Watch{Namespace: "jobs", After: httpapi.LastIndex, Idle: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ticks := 0
	for e, lost := range events {
		if e != nil || lost {
			t.Fatalf("%v %v", e, lost)
		}
		if ticks++; ticks == 3 {
			cancel()
		}
	}
	_, sh := n.Router.replica(n.atlas.load().Ring.Group(lease.HashNamespace("jobs")))
	eventually(t, "the subscription ends", func() bool {
		sh.feed.mu.Lock()
		defer sh.feed.mu.Unlock()
		return len(sh.feed.subs) == 0
	})
}

// Lists come in one order over all groups, page by page.
func TestPagesOverAllGroups(t *testing.T) {
	n := startNodes(t, 1)[0]
	var want []string
	for i := range 25 {
		namespace := fmt.Sprintf("ns-%02d", i)
		want = append(want, namespace)
		if _, err := n.Do(t.Context(), oneShot(namespace, "l", time.Minute, 0)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for after := ""; ; {
		names, next, err := n.Namespaces(t.Context(), after, 7)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, names...)
		if after = next; next == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("namespaces %v", got)
	}
	var ids []string
	for after := ""; ; {
		leases, next, err := n.Leases(t.Context(), "", after, 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range leases {
			ids = append(ids, idOf(l.Lease).String())
		}
		if after = next; next == "" {
			break
		}
	}
	if len(ids) != 25 || !slices.IsSortedFunc(ids, strings.Compare) {
		t.Errorf("%d leases, %v", len(ids), ids)
	}
	locks, next, err := n.Locks(t.Context(), httpapi.LocksPage{Namespace: "ns-03", Limit: 10})
	if err != nil || next != "" || len(locks) != 1 || locks[0].Holders[0].ExpiresInMs <= 0 {
		t.Errorf("locks %v, next %q, %v", locks, next, err)
	}
}

// A node keeps its cluster over a restart, whatever its flags say then.
func TestStoredClusterWins(t *testing.T) {
	nodes := startNodes(t, 1)
	before := nodes[0].atlas.load()
	if _, err := loadMembers(nodes[0].cfg.Store, []Member{{Name: "other"}, {Name: "n1"}}); err == nil {
		t.Error("a node of another cluster became part of this one")
	}
	members, err := loadMembers(nodes[0].cfg.Store, []Member{{Name: "other"}})
	if err != nil || len(members) != 1 || members[0].ID != 1 {
		t.Errorf("members %v, %v", members, err)
	}
	if before.Node(1).Listen != "rest-of-n1" {
		eventually(t, "introduced", func() bool { return nodes[0].atlas.load().Node(1).Listen == "rest-of-n1" })
	}
}

func TestEveryNodeKnowsEveryAddress(t *testing.T) {
	nodes := startNodes(t, 3)
	for _, n := range nodes {
		eventually(t, "all addresses", func() bool {
			c, err := n.Cluster(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return !slices.ContainsFunc(c.Nodes, func(v httpapi.NodeView) bool { return v.Listen != "rest-of-"+v.Name || !v.Up })
		})
	}
}

func TestStoppedNodeIsUnavailable(t *testing.T) {
	n := startNodes(t, 1)[0]
	stopNode(t, n)
	_, err := n.Do(t.Context(), oneShot("jobs", "l", time.Minute, 0))
	if !errors.As(err, new(*httpapi.UnavailableError)) {
		t.Errorf("%v", err)
	}
}

func TestPreferredLeadersTakeTurns(t *testing.T) {
	voters := []consensus.NodeID{7, 3, 5}
	for group, want := range map[consensus.GroupID]consensus.NodeID{0: 7, 1: 3, 2: 5, 3: 7, 4: 3} {
		if got := preferred(group, voters); got != want {
			t.Errorf("group %d prefers %d, want %d", group, got, want)
		}
	}
	if preferred(1, nil) != 0 {
		t.Error("a group without voters prefers somebody")
	}
}
