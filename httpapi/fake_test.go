package httpapi

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"lockd/lease"
	"lockd/lease/leasepb"
)

// fakeService grants whatever is asked for, with token 42, and remembers the
// commands. A test replaces the answers that it is about.
type fakeService struct {
	do        func(ctx context.Context, cmd *leasepb.Command) (*leasepb.Result, error)
	keepalive func(ids []lease.ID) []Renewal
	lock      func(ctx context.Context, read LockRead) (LockState, error)
	leaseErr  error
	events    func(ctx context.Context, watch Watch) (iter.Seq2[*leasepb.Event, bool], error)
	secret    func() ([]byte, error)
	notReady  []GroupNotReady
	err       error // of what has no function of its own

	mu       sync.Mutex
	commands []*leasepb.Command
	pages    []LocksPage
}

var fakeSecret = []byte("0123456789abcdef0123456789abcdef")

// fakeID is the id of the leases that the fake makes for one-shot acquires.
var fakeID = lease.NewID("jobs", [12]byte{1, 2, 3})

func (f *fakeService) Do(ctx context.Context, cmd *leasepb.Command) (*leasepb.Result, error) {
	f.mu.Lock()
	f.commands = append(f.commands, cmd)
	f.mu.Unlock()
	if f.do != nil {
		return f.do(ctx, cmd)
	}
	return fakeResult(cmd), nil
}

// sent waits for nothing: it is what Do was given up to now.
func (f *fakeService) sent() []*leasepb.Command {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.commands)
}

func (f *fakeService) last() *leasepb.Command {
	commands := f.sent()
	return commands[len(commands)-1]
}

const fakeAt = 1767323045678 // 2026-01-02T03:04:05.678Z

func fakeResult(cmd *leasepb.Command) *leasepb.Result {
	switch op := cmd.Op.(type) {
	case *leasepb.Command_Acquire:
		return fakeGrant(op.Acquire)
	case *leasepb.Command_CreateLease:
		c := op.CreateLease
		return &leasepb.Result{Lease: c.Lease, Namespace: c.Namespace, Owner: c.New.Owner, TtlMs: c.New.TtlMs, ExpiresInMs: c.New.TtlMs}
	case *leasepb.Command_Release:
		result := &leasepb.Result{}
		for _, ref := range op.Release.Locks {
			result.Released = append(result.Released, &leasepb.Grant{Namespace: ref.Namespace, Lock: ref.Lock, Token: 42})
		}
		if op.Release.Multi {
			result.NotHeld = []*leasepb.LockRef{{Namespace: "jobs", Lock: "other"}}
		}
		return result
	case *leasepb.Command_EndLease:
		return &leasepb.Result{Released: []*leasepb.Grant{{Namespace: "jobs", Lock: "nightly", Token: 42, Lease: op.EndLease.Lease}}}
	case *leasepb.Command_ForceRelease:
		return &leasepb.Result{Released: []*leasepb.Grant{{Namespace: "jobs", Lock: "nightly", Token: 42, Lease: fakeID[:]}}}
	}
	panic("the API sent a command of the leader's")
}

func fakeGrant(op *leasepb.Acquire) *leasepb.Result {
	result := &leasepb.Result{Lease: op.Lease, Namespace: op.Locks[0].Namespace, Owner: op.Owner, TtlMs: 30_000, ExpiresInMs: 29_000}
	if op.OneShot != nil {
		result.Lease, result.OneShot = fakeID[:], true
		result.Owner, result.TtlMs, result.ExpiresInMs = op.OneShot.Owner, op.OneShot.TtlMs, op.OneShot.TtlMs
	}
	for _, l := range op.Locks {
		result.Grants = append(result.Grants, &leasepb.Grant{
			Namespace: l.Namespace, Lock: l.Lock, Mode: l.Mode, Permits: l.Permits,
			Token: 42, Lease: result.Lease, Owner: result.Owner, AtUnixMs: fakeAt,
		})
	}
	return result
}

func (f *fakeService) Keepalive(_ context.Context, ids []lease.ID) []Renewal {
	if f.keepalive != nil {
		return f.keepalive(ids)
	}
	renewals := make([]Renewal, len(ids))
	for i, id := range ids {
		renewals[i] = Renewal{Lease: id, TTL: 30 * time.Second, ExpiresIn: 30 * time.Second, Err: f.err}
	}
	return renewals
}

func fakeLock(namespace, lock string) *leasepb.LockView {
	return &leasepb.LockView{
		Namespace: namespace, Lock: lock, Mode: leasepb.Mode_MODE_PERMIT, Limit: 3,
		Holders: []*leasepb.Holder{{
			Lease: fakeID[:], Owner: "worker-1", Mode: leasepb.Mode_MODE_PERMIT, Permits: 2, Token: 42, AtUnixMs: fakeAt,
			Metadata: []*leasepb.Pair{{Key: "host", Value: "a\"b"}, {Key: "zone", Value: "ü"}}, ExpiresInMs: 29_000,
		}},
		Queue:       []*leasepb.Waiter{{Lease: fakeID[:], Owner: "worker-2", Mode: leasepb.Mode_MODE_PERMIT, Permits: 3, Position: 1}},
		QueueLength: 1, LastToken: 43, Index: 981, Closed: true, ClosedForMs: 1500,
	}
}

func (f *fakeService) Lock(ctx context.Context, read LockRead) (LockState, error) {
	if f.lock != nil {
		return f.lock(ctx, read)
	}
	return LockState{View: fakeLock(read.Namespace, read.Lock), StaleFor: 12 * time.Millisecond}, f.err
}

func fakeLease(id lease.ID) *leasepb.LeaseView {
	return &leasepb.LeaseView{
		Lease: id[:], Namespace: "jobs", Owner: "worker-1", TtlMs: 1500, LockDelayMs: 5000, ExpiresInMs: -1,
		Metadata: []*leasepb.Pair{{Key: "host", Value: "a"}},
		Locks:    []*leasepb.Grant{{Namespace: "jobs", Lock: "nightly", Token: 42}},
		Waiting:  []*leasepb.Grant{{Namespace: "jobs", Lock: "weekly", Mode: leasepb.Mode_MODE_SHARED}},
	}
}

func (f *fakeService) Lease(_ context.Context, id lease.ID) (*leasepb.LeaseView, error) {
	if f.leaseErr != nil {
		return nil, f.leaseErr
	}
	return fakeLease(id), f.err
}

func (f *fakeService) Locks(_ context.Context, page LocksPage) ([]*leasepb.LockView, string, error) {
	f.mu.Lock()
	f.pages = append(f.pages, page)
	f.mu.Unlock()
	return []*leasepb.LockView{fakeLock(page.Namespace, "nightly")}, "nightly", f.err
}

func (f *fakeService) Leases(_ context.Context, _, after string, _ int) ([]*leasepb.LeaseView, string, error) {
	return []*leasepb.LeaseView{fakeLease(fakeID)}, "", f.err
}

func (f *fakeService) Namespaces(_ context.Context, after string, limit int) ([]string, string, error) {
	return []string{"default", "jobs"}, "jobs", f.err
}

func (f *fakeService) Events(ctx context.Context, watch Watch) (iter.Seq2[*leasepb.Event, bool], error) {
	if f.events != nil {
		return f.events(ctx, watch)
	}
	return func(func(*leasepb.Event, bool) bool) {}, f.err
}

func (f *fakeService) Secret(context.Context) ([]byte, error) {
	if f.secret != nil {
		return f.secret()
	}
	return fakeSecret, nil
}

func (f *fakeService) Cluster(context.Context) (Cluster, error) {
	return Cluster{
		ID: "c1", Version: "dev", Node: "n1", Epoch: 1,
		Nodes:  []NodeView{{Name: "n1", Listen: "127.0.0.1:8081", PeerListen: "127.0.0.1:7081", Up: true, Role: "voter"}},
		Groups: []GroupView{{ID: 1, Leader: "n1", Replicas: []string{"n1"}, Term: 2, Applied: 7, Namespaces: 1}},
	}, f.err
}

func (f *fakeService) Ring(_ context.Context, namespace string) (Place, error) {
	return Place{Namespace: namespace, Group: 1, Leader: "n1", Epoch: 1}, f.err
}

func (f *fakeService) NotReady() []GroupNotReady { return f.notReady }
