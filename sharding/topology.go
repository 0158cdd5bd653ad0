package sharding

import (
	"sync"
	"sync/atomic"

	"lockd/consensus"
	"lockd/sharding/shardpb"
)

// Topology is what a node knows of the cluster from the system group's log:
// who the members are, and which group has which namespaces. It never changes
// once made; a change makes the next one.
type Topology struct {
	Cluster string
	Secret  []byte // key of the lease proofs
	Epoch   uint64 // of the ring
	Ring    *Ring
	Nodes   []*shardpb.Node // by raft id
}

// Node returns a member, or nil.
func (t *Topology) Node(id consensus.NodeID) *shardpb.Node {
	for _, n := range t.Nodes {
		if n.Id == uint64(id) {
			return n
		}
	}
	return nil
}

// name is a node's name, "" of one that is not a member.
func (t *Topology) name(id consensus.NodeID) string { return t.Node(id).GetName() }

// voters are the members that have a replica of every group.
func (t *Topology) voters() []consensus.NodeID {
	var ids []consensus.NodeID
	for _, n := range t.Nodes {
		ids = append(ids, consensus.NodeID(n.Id))
	}
	return ids
}

// atlas is the one place where the present Topology is found. Any goroutine
// may read it; the system group's replica publishes.
type atlas struct {
	present atomic.Pointer[Topology]

	mu      sync.Mutex
	changed chan struct{}
}

func newAtlas() *atlas { return &atlas{changed: make(chan struct{})} }

// load returns nil before the cluster was made, or before this node knows.
func (a *atlas) load() *Topology { return a.present.Load() }

// watch returns the present Topology and a channel that is closed when there
// is a newer one.
func (a *atlas) watch() (*Topology, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.present.Load(), a.changed
}

func (a *atlas) publish(t *Topology) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.present.Store(t)
	close(a.changed)
	a.changed = make(chan struct{})
}
