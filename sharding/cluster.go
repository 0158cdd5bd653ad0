package sharding

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"lockd/consensus"
	"lockd/httpapi"
	"lockd/lease"
	"lockd/metrics"
)

// Secret implements httpapi.Service.
func (r *Router) Secret(ctx context.Context) ([]byte, error) {
	t, err := r.topology(ctx)
	if err != nil {
		return nil, err
	}
	return t.Secret, nil
}

// Ring implements httpapi.Service.
func (r *Router) Ring(ctx context.Context, namespace string) (httpapi.Place, error) {
	t, err := r.topology(ctx)
	if err != nil {
		return httpapi.Place{}, err
	}
	id := t.Ring.Group(lease.HashNamespace(namespace))
	place := httpapi.Place{Namespace: namespace, Group: uint64(id), Epoch: t.Epoch}
	if g, _ := r.replica(id); g != nil {
		place.Leader = t.name(r.leader(g.Status()))
	}
	return place, nil
}

// leader is who leads as this node knows, or 0.
func (r *Router) leader(st consensus.Status) consensus.NodeID {
	if st.Leading {
		return r.self
	}
	return st.Leader
}

// Cluster implements httpapi.Service.
func (n *Node) Cluster(ctx context.Context) (httpapi.Cluster, error) {
	t, err := n.topology(ctx)
	if err != nil {
		return httpapi.Cluster{}, err
	}
	c := httpapi.Cluster{ID: t.Cluster, Version: n.cfg.Version, Node: n.cfg.Name, Epoch: t.Epoch}
	up := n.connected()
	for _, m := range t.Nodes {
		id := consensus.NodeID(m.Id)
		c.Nodes = append(c.Nodes, httpapi.NodeView{
			Name: m.Name, Listen: m.Listen, PeerListen: m.PeerListen, Up: id == n.self || up[id], Role: "voter",
		})
	}
	shards := *n.shards.Load()
	for _, g := range n.groups() {
		st := g.Status()
		v := httpapi.GroupView{ID: uint64(g.ID()), Leader: t.name(n.leader(st)), Term: st.Term, Applied: g.Applied()}
		for _, voter := range st.Voters {
			v.Replicas = append(v.Replicas, t.name(voter))
		}
		if sh := shards[g.ID()]; sh != nil {
			v.Namespaces = sh.counts.stats.Load().Namespaces
		}
		c.Groups = append(c.Groups, v)
	}
	return c, nil
}

// groups are the running groups in order.
func (n *Node) groups() []*consensus.Group {
	return slices.SortedFunc(slices.Values(n.raft.Groups()), func(a, b *consensus.Group) int { return cmp.Compare(a.ID(), b.ID()) })
}

// lagging is how many committed entries a replica may have before it, and
// still count as caught up.
const lagging = 10_000

// NotReady implements httpapi.Service.
func (n *Node) NotReady() []httpapi.GroupNotReady {
	var not []httpapi.GroupNotReady
	add := func(id consensus.GroupID, reason string) {
		not = append(not, httpapi.GroupNotReady{Group: uint64(id), Reason: reason})
	}
	t := n.atlas.load()
	if t == nil {
		add(systemGroup, "the cluster has not been made yet")
	}
	for _, g := range n.groups() {
		switch {
		case n.leader(g.Status()) == 0:
			add(g.ID(), "no leader is known")
		case g.Applied()+lagging < g.Commit():
			add(g.ID(), "not caught up")
		}
	}
	if t != nil {
		for _, id := range t.Ring.Groups() {
			if n.raft.Group(id) == nil {
				add(id, "not started")
			}
		}
	}
	return not
}

// Epoch is the version of the ring that this node routes by, 0 before it has
// one.
func (n *Node) Epoch() uint64 {
	if t := n.atlas.load(); t != nil {
		return t.Epoch
	}
	return 0
}

// Samples is a metrics.GroupSource.
func (n *Node) Samples() []metrics.GroupSample {
	shards := *n.shards.Load()
	var samples []metrics.GroupSample
	for _, g := range n.groups() {
		st := g.Status()
		s := metrics.GroupSample{
			Group: uint64(g.ID()), HasLeader: n.leader(st) != 0, Leading: st.Leading,
			Term: st.Term, Applied: g.Applied(), Commit: g.Commit(),
			LogBytes: n.cfg.Store.LogBytes(uint64(g.ID())), SnapshotBytes: g.Counts().SnapshotBytes.Load(),
			Proposals: g.Counts().Proposals.Load(),
		}
		if sh := shards[g.ID()]; sh != nil {
			s.State = sh.counts.sample()
		}
		samples = append(samples, s)
	}
	return samples
}

func (c *counts) sample() metrics.GroupState {
	stats := c.stats.Load()
	return metrics.GroupState{
		HeldLocks: stats.Held, Leases: stats.Leases, Waiters: stats.Waiters, IdempotencyKeys: stats.Keys,
		Grants: c.grants.Load(), Expirations: c.expirations.Load(), Token: c.token.Load(),
	}
}

// Peers samples the other nodes for metrics.
func (n *Node) Peers() []metrics.PeerSample {
	t := n.atlas.load()
	var samples []metrics.PeerSample
	for _, p := range n.raft.Transport().Peers() {
		s := metrics.PeerSample{
			Node: strconv.FormatUint(p.Node, 10), Connected: p.Connected, SentMessages: p.Sent, DroppedMessages: p.Dropped,
		}
		if t != nil {
			if known := t.Node(consensus.NodeID(p.Node)); known != nil {
				s.Node = known.Name
			}
		}
		samples = append(samples, s)
	}
	return samples
}

var _ httpapi.Service = (*Node)(nil)
