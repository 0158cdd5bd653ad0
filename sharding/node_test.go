package sharding

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"lockd/consensus/storage"
	"lockd/httpapi"
	"lockd/lease"
	"lockd/lease/leasepb"
)

// startNodes runs a cluster in this process, over real links and stores in
// memory, and waits until it serves.
func startNodes(t testing.TB, count int) []*Node {
	t.Helper()
	var members []Member
	var listeners []net.Listener
	for i := range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		members = append(members, Member{Name: fmt.Sprintf("n%d", i+1), Peer: l.Addr().String()})
	}
	nodes := make([]*Node, count)
	for i, m := range members {
		n, err := Open(Config{
			Name: m.Name, Members: members, Groups: 2, Listener: listeners[i],
			Listen: "rest-of-" + m.Name, PeerListen: m.Peer, Version: "test", Store: storage.NewMemStore(),
			Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond, SnapshotBytes: 1 << 20,
			Fatal: func(err error) { t.Errorf("%s: %v", m.Name, err) }, Logger: zerolog.Nop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = n
		t.Cleanup(func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	deadline, done := context.WithTimeout(t.Context(), 20*time.Second)
	defer done()
	for _, n := range nodes {
		for {
			_, changed := n.atlas.watch()
			if len(n.NotReady()) == 0 {
				break
			}
			select {
			case <-changed:
			case <-time.After(10 * time.Millisecond):
			case <-deadline.Done():
				t.Fatalf("%s is not ready: %v", n.cfg.Name, n.NotReady())
			}
		}
	}
	return nodes
}

// oneShot is an acquire of a lock with a lease of its own.
func oneShot(namespace, lock string, ttl, wait time.Duration) *leasepb.Command {
	return &leasepb.Command{Op: &leasepb.Command_Acquire{Acquire: &leasepb.Acquire{
		OneShot: &leasepb.NewLease{TtlMs: ttl.Milliseconds(), Owner: "tester"}, WaitMs: wait.Milliseconds(),
		Locks: []*leasepb.LockRequest{{Namespace: namespace, Lock: lock, Permits: 1}},
	}}}
}

func release(of *leasepb.Grant) *leasepb.Command {
	return &leasepb.Command{Op: &leasepb.Command_Release{Release: &leasepb.Release{
		Lease: of.Lease, Locks: []*leasepb.ReleaseRef{{Namespace: of.Namespace, Lock: of.Lock, Token: of.Token}},
	}}}
}

func TestClusterServesFromEveryNode(t *testing.T) {
	for _, count := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d nodes", count), func(t *testing.T) {
			nodes := startNodes(t, count)
			var last uint64
			for i := range 4 * count {
				n := nodes[i%count]
				r, err := n.Do(t.Context(), oneShot("jobs", "nightly", time.Minute, 0))
				if err != nil {
					t.Fatalf("acquire at %s: %v", n.cfg.Name, err)
				}
				if r.Grants[0].Token <= last {
					t.Fatalf("token %d after %d", r.Grants[0].Token, last)
				}
				last = r.Grants[0].Token
				if r.ExpiresInMs < 59_000 || r.ExpiresInMs > 60_000 {
					t.Errorf("expires in %d ms", r.ExpiresInMs)
				}
				other := nodes[(i+1)%count]
				renewed := other.Keepalive(t.Context(), []lease.ID{idOf(r.Lease)})
				if renewed[0].Err != nil || renewed[0].TTL != time.Minute {
					t.Errorf("keepalive: %+v", renewed[0])
				}
				state, err := other.Lock(t.Context(), httpapi.LockRead{Namespace: "jobs", Lock: "nightly"})
				if err != nil || len(state.View.Holders) != 1 || state.View.Holders[0].Token != last {
					t.Errorf("lock: %v %v", state, err)
				}
				if _, err := other.Do(t.Context(), release(r.Grants[0])); err != nil {
					t.Fatalf("release at %s: %v", other.cfg.Name, err)
				}
			}
		})
	}
}

func TestLeaseExpires(t *testing.T) {
	n := startNodes(t, 1)[0]
	if _, err := n.Do(t.Context(), oneShot("jobs", "nightly", 100*time.Millisecond, 0)); err != nil {
		t.Fatal(err)
	}
	r, err := n.Do(t.Context(), oneShot("jobs", "nightly", time.Minute, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if r.WaitedMs < 80 || r.WaitedMs > 1100 {
		t.Errorf("waited %d ms for a lease of 100 ms", r.WaitedMs)
	}
}

// BenchmarkPair is an acquire and a release through three nodes in one
// process, with a lease and a namespace for each client.
func BenchmarkPair(b *testing.B) {
	nodes := startNodes(b, 3)
	var clients atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		i := int(clients.Add(1))
		n, namespace := nodes[i%3], fmt.Sprint("client-", i)
		id := newID(namespace)
		create := &leasepb.Command{Op: &leasepb.Command_CreateLease{CreateLease: &leasepb.CreateLease{
			Lease: id[:], Namespace: namespace, New: &leasepb.NewLease{TtlMs: time.Hour.Milliseconds()}}}}
		if _, err := n.Do(b.Context(), create); err != nil {
			b.Error(err)
			return
		}
		for pb.Next() {
			cmd := oneShot(namespace, "l", 0, 0)
			cmd.GetAcquire().OneShot, cmd.GetAcquire().Lease = nil, id[:]
			r, err := n.Do(b.Context(), cmd)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := n.Do(b.Context(), release(r.Grants[0])); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
