package httpapi

import (
	"context"
	"iter"
	"time"

	"lockd/lease"
	"lockd/lease/leasepb"
)

// Service is what the REST API needs from the cluster behind it. All methods
// may be called from many goroutines. Times are durations, never wall clock.
//
// Errors are those of package lease (refusals: the answer is certain),
// *UnavailableError (certainly not done, worth another try) and
// ErrOutcomeUnknown (may or may not have been done).
type Service interface {
	// Do carries out a client's command and answers when it is applied, for a
	// waiting acquire when it is granted or cancelled. When ctx ends, a waiting
	// place is cancelled, and Do may answer ctx's error before it is: the
	// outcome counts as unknown then. An Acquire with OneShot set and no Lease
	// gets its lease id and its Attempt from the Service. cmd is the Service's
	// from here on.
	Do(ctx context.Context, cmd *leasepb.Command) (*leasepb.Result, error)
	// Keepalive renews leases and answers for each, in the order asked for.
	// Err of one is lease.ErrLeaseNotFound, *UnavailableError or ErrOutcomeUnknown.
	Keepalive(ctx context.Context, ids []lease.ID) []Renewal
	// Lock reads one lock. A lock nobody has touched is a view without holders.
	Lock(ctx context.Context, read LockRead) (LockState, error)
	// Lease reads one lease; lease.ErrLeaseNotFound.
	Lease(ctx context.Context, id lease.ID) (*leasepb.LeaseView, error)
	// Locks, Leases and Namespaces list in order of name (of id); next is ""
	// on the last page.
	Locks(ctx context.Context, page LocksPage) (locks []*leasepb.LockView, next string, err error)
	Leases(ctx context.Context, namespace, after string, limit int) (leases []*leasepb.LeaseView, next string, err error)
	Namespaces(ctx context.Context, after string, limit int) (names []string, next string, err error)
	// Events yields the events of a namespace after an index (LastIndex: from
	// now on) until ctx ends. It watches when it returns, not when the iteration
	// begins: no later event is missed. lost=true says that events before this
	// one, which the caller asked for, are gone; the event may be nil then. It
	// yields nil, false about each `idle` without an event, so that the caller
	// can write a comment.
	Events(ctx context.Context, watch Watch) (iter.Seq2[*leasepb.Event, bool], error)
	// Secret is the cluster's key for lease proofs; *UnavailableError before
	// the cluster has made it.
	Secret(ctx context.Context) ([]byte, error)
	// Cluster describes nodes and groups as this node knows them.
	Cluster(ctx context.Context) (Cluster, error)
	// Ring tells where a namespace lives.
	Ring(ctx context.Context, namespace string) (Place, error)
	// NotReady lists the groups of this node without a leader or not caught
	// up; empty when the node is ready.
	NotReady() []GroupNotReady
}

// Renewal is the outcome of a keepalive for one lease.
type Renewal struct {
	Lease     lease.ID
	TTL       time.Duration
	ExpiresIn time.Duration // negative where it is not known: of a one-shot lease that still waits
	Err       error
}

// LockRead asks for one lock.
type LockRead struct {
	Namespace, Lock string
	Stale           bool          // from the local replica, without asking the leader
	AfterIndex      uint64        // with Wait: answer when the lock has changed after it
	Wait            time.Duration // 0: answer at once
}

// LockState is a lock as it was read.
type LockState struct {
	View *leasepb.LockView
	// StaleFor is how old a stale read may be: the time since this replica
	// last heard from a leader. -1 for linearizable reads.
	StaleFor time.Duration
}

// LocksPage asks for a page of a namespace's locks.
type LocksPage struct {
	Namespace, Prefix, After string
	HeldOnly                 bool
	Limit                    int
}

// LastIndex as Watch.After begins with the next event.
const LastIndex = ^uint64(0)

// Watch asks for events.
type Watch struct {
	Namespace, Prefix string
	After             uint64
	Idle              time.Duration
}

// Cluster is what GET /v1/cluster shows.
type Cluster struct {
	ID, Version, Node string
	Nodes             []NodeView
	Groups            []GroupView
	Epoch             uint64
}

// NodeView is a node as others see it.
type NodeView struct {
	Name, Listen, PeerListen string
	Up                       bool
	Role                     string // "voter" or "learner"
}

// GroupView is a group as this node sees it.
type GroupView struct {
	ID         uint64
	Leader     string // node name, "" if none is known
	Replicas   []string
	Term       uint64
	Applied    uint64
	Namespaces int // of data groups: how many have locks or leases
}

// Place is where a namespace lives.
type Place struct {
	Namespace string
	Group     uint64
	Leader    string
	Epoch     uint64
}

// GroupNotReady says why a group is not ready.
type GroupNotReady struct {
	Group  uint64
	Reason string
}
