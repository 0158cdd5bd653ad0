package sharding

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	"lockd/consensus"
	"lockd/consensus/storage"
	"lockd/consensus/transport"
	"lockd/sharding/shardpb"
)

// Config is what a Node is made from.
type Config struct {
	// Name is the node's name, unique in its cluster.
	Name string
	// Members are the first nodes of a new cluster, this one among them, each
	// with its name and peer address. Once the node has data, that wins.
	Members []Member
	// Groups is how many data groups a new cluster begins with.
	Groups int
	// Listener is where other nodes connect, already listening. The Node
	// closes it.
	Listener net.Listener
	// Listen and PeerListen are the REST and peer addresses under which others
	// reach this node, Version is the program's.
	Listen, PeerListen, Version string
	// Store has the node's data. The Node closes it.
	Store storage.Store

	Heartbeat     time.Duration // as in consensus.Config
	Election      time.Duration
	SnapshotBytes uint64
	// Fatal is called once when the node cannot go on: the process must exit.
	Fatal func(error)
	// Fsync, if set, observes how long each write to the store took.
	Fsync func(time.Duration)
	// Applied, if set, is as in consensus.Config.
	Applied func(consensus.GroupID) func(time.Duration)
	Logger  zerolog.Logger
}

// Validate reports all that is wrong with c.
func (c *Config) Validate() error {
	var errs []error
	if !slices.ContainsFunc(c.Members, func(m Member) bool { return m.Name == c.Name }) {
		errs = append(errs, fmt.Errorf("node %q is not among the members of its cluster", c.Name))
	}
	for i, m := range c.Members {
		if slices.ContainsFunc(c.Members[:i], func(o Member) bool { return o.Name == m.Name }) {
			errs = append(errs, fmt.Errorf("node %q is named twice", m.Name))
		}
	}
	if c.Groups < 1 {
		errs = append(errs, fmt.Errorf("%d data groups: at least 1", c.Groups))
	}
	return errors.Join(errs...)
}

// Node is this process's part of the cluster: its replicas of the system group
// and the data groups, and, as a Router, the service for its clients.
type Node struct {
	*Router
	cfg   Config
	raft  *consensus.Node
	links *links
	// learnt is what the system group's log says. The Router's atlas follows
	// it when this node has done what it says: until then requests wait.
	learnt *atlas

	shards   atomic.Pointer[map[consensus.GroupID]*shard] // replaced, never changed
	members  []Member                                     // of followTopology
	stop     context.CancelFunc
	work     sync.WaitGroup
	endWaits func()
	close    func() error
}

// Open starts a node: the system group first, and the data groups as soon as
// the system group's log tells of them.
func Open(cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sharding: %w", err)
	}
	members, err := loadMembers(cfg.Store, cfg.Members)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(members, func(m Member) bool { return m.Name == cfg.Name })
	if i < 0 {
		return nil, fmt.Errorf("the data is of a cluster that has no node %q: start the node under its own name, or give it an empty directory", cfg.Name)
	}
	n := &Node{cfg: cfg, links: newLinks(), learnt: newAtlas(), members: members}
	n.shards.Store(&map[consensus.GroupID]*shard{})
	// The transport may bring requests before Open returns; they find no group.
	var started atomic.Pointer[consensus.Node]
	replica := func(id consensus.GroupID) (group, *shard) { return n.replica(started.Load(), id) }
	n.raft, err = consensus.Open(consensus.Config{
		Name: cfg.Name, ID: members[i].ID, Listener: cfg.Listener, Peers: peersOf(reached(members, cfg.Members)), Names: namesOf(members),
		Listen: cfg.Listen, PeerListen: cfg.PeerListen, Version: cfg.Version,
		Heartbeat: cfg.Heartbeat, Election: cfg.Election, SnapshotBytes: cfg.SnapshotBytes,
		Serve: func(_ transport.Hello, payload []byte, reply func([]byte)) func() {
			return serve(replica, payload, reply)
		},
		PeerUp:   func(h transport.Hello) { n.links.opened(h.Boot) },
		PeerDown: func(h transport.Hello) { n.links.closed(h.Boot) },
		Fatal:    cfg.Fatal, Fsync: cfg.Fsync, Applied: cfg.Applied, Logger: cfg.Logger,
	}, cfg.Store)
	if err != nil {
		return nil, err
	}
	n.links.start(n.raft.Boot(), n.raft.Now)
	n.Router = newRouter(n.raft.ID(), n.raft.Boot(), n.raft, replica, newAtlas())
	if _, err := n.raft.StartGroup(systemGroup, idsOf(members), newSystem(founding(cfg, members), n.learnt)); err != nil {
		n.raft.Close()
		return nil, err
	}
	started.Store(n.raft)
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.endWaits = sync.OnceFunc(func() { close(n.stopping) })
	n.close = sync.OnceValue(n.closeAll)
	n.work.Go(func() { n.followTopology(ctx) })
	n.work.Go(func() { n.introduce(ctx) })
	n.work.Go(func() { n.spreadLeaders(ctx) })
	return n, nil
}

// systemGroup is the id of the group that every node has.
const systemGroup consensus.GroupID = 0

// founding is the cluster as this node would make it.
func founding(cfg Config, members []Member) *shardpb.Bootstrap {
	b := &shardpb.Bootstrap{}
	for g := range cfg.Groups {
		b.Groups = append(b.Groups, &shardpb.GroupWeight{Group: uint64(g) + 1, Weight: 1})
	}
	for _, m := range members {
		b.Nodes = append(b.Nodes, &shardpb.Node{Id: uint64(m.ID), Name: m.Name, PeerListen: m.Peer})
	}
	return b
}

func peersOf(members []Member) map[consensus.NodeID]string {
	peers := make(map[consensus.NodeID]string)
	for _, m := range members {
		peers[m.ID] = m.Peer
	}
	return peers
}

func namesOf(members []Member) map[consensus.NodeID]string {
	names := make(map[consensus.NodeID]string)
	for _, m := range members {
		names[m.ID] = m.Name
	}
	return names
}

func idsOf(members []Member) []consensus.NodeID {
	var ids []consensus.NodeID
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return ids
}

// replica returns this node's replica of a group, and its machine if it is a
// data group.
func (n *Node) replica(raft *consensus.Node, id consensus.GroupID) (group, *shard) {
	if raft == nil {
		return nil, nil
	}
	g := raft.Group(id)
	if g == nil {
		return nil, nil
	}
	sh := (*n.shards.Load())[id]
	if sh == nil && id != systemGroup {
		return nil, nil
	}
	return g, sh
}

// followTopology does what the system group's log says, for as long as the
// node runs.
func (n *Node) followTopology(ctx context.Context) {
	for {
		t, changed := n.learnt.watch()
		if t != nil {
			if err := n.adopt(t); err != nil && !errors.Is(err, consensus.ErrStopped) {
				n.cfg.Fatal(err)
				return
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// adopt brings this node in line with a topology: the cluster's id, the other
// nodes' addresses, a replica of every group.
func (n *Node) adopt(t *Topology) error {
	if err := n.raft.SetCluster(t.Cluster); err != nil {
		return err
	}
	// Only what has changed since the last time: at the start this node may
	// have been given newer addresses than the log has.
	if members := membersOf(t); !slices.Equal(members, n.members) {
		if err := saveMembers(n.cfg.Store, members); err != nil {
			return err
		}
		n.members = members
		for _, m := range members {
			if m.ID != n.self {
				n.raft.Transport().SetPeer(uint64(m.ID), m.Peer)
			}
		}
	}
	for _, id := range t.Ring.Groups() {
		if err := n.startGroup(t, id); err != nil {
			return err
		}
	}
	n.atlas.publish(t)
	return nil
}

func (n *Node) startGroup(t *Topology, id consensus.GroupID) error {
	shards := *n.shards.Load()
	if shards[id] != nil {
		return nil
	}
	sh := newShard(id, t.Ring.Ranges(id), n.cfg.Election, n.links, time.Now)
	if _, err := n.raft.StartGroup(id, t.voters(), sh); err != nil {
		return err
	}
	more := make(map[consensus.GroupID]*shard, len(shards)+1)
	for k, v := range shards {
		more[k] = v
	}
	more[id] = sh
	n.shards.Store(&more)
	return nil
}

// introduce tells the cluster under which addresses this node is reached,
// whenever what the system group has of it is something else.
func (n *Node) introduce(ctx context.Context) {
	const again = 2 * time.Second
	for {
		t, changed := n.atlas.watch()
		var retry <-chan time.Time
		if t != nil {
			me := &shardpb.Node{
				Id: uint64(n.self), Name: n.cfg.Name, Listen: n.cfg.Listen, PeerListen: n.cfg.PeerListen, Store: n.raft.StoreID(),
			}
			if known := t.Node(n.self); known != nil && !proto.Equal(known, me) {
				n.register(ctx, me)
				retry = time.After(again)
			}
		}
		select {
		case <-changed:
		case <-retry:
		case <-ctx.Done():
			return
		}
	}
}

// register asks once; introduce looks whether it came to pass.
func (n *Node) register(ctx context.Context, me *shardpb.Node) {
	limit := time.Now().Add(answerWithin)
	s, err := n.search(systemGroup, limit)
	if err != nil {
		return
	}
	t, err := s.next(ctx, nil)
	if err != nil {
		return
	}
	q := question{command: mustMarshal(&shardpb.SystemCommand{
		Op: &shardpb.SystemCommand_RegisterNode{RegisterNode: &shardpb.RegisterNode{Node: me}},
	})}
	if _, open, _ := n.ask(ctx, nil, &s, t, &q, limit); open != nil {
		open.giveUp(s.group)
	}
}

// HandOver gives the groups that this node leads to others, and then ends what
// waits here. It returns when that is done or ctx ends.
func (n *Node) HandOver(ctx context.Context) error {
	defer n.endWaits()
	again := time.NewTicker(n.cfg.Election) // after which a transfer is given up
	defer again.Stop()
	for {
		led := slices.DeleteFunc(n.groups(), func(g *consensus.Group) bool { return n.successor(g.Status()) == 0 })
		if len(led) == 0 {
			return nil
		}
		for _, g := range led {
			g.TransferLeader(n.successor(g.Status()))
		}
		for waiting := true; waiting && len(led) > 0; {
			changed := led[0].Changed()
			if !led[0].Status().Leading {
				led = led[1:]
				continue
			}
			select {
			case <-changed:
			case <-again.C:
				waiting = false
			case <-ctx.Done():
				return fmt.Errorf("hand over %v: %w", led[0], ctx.Err())
			}
		}
	}
}

// successor is a voter that can take over a group which this node leads, 0 if
// it does not lead or there is none. Of several, the groups of a node go to
// the one that follows it.
func (n *Node) successor(st consensus.Status) consensus.NodeID {
	if !st.Leading {
		return 0
	}
	up := n.connected()
	voters := slices.Sorted(slices.Values(st.Voters))
	at := slices.Index(voters, n.self)
	for i := 1; i < len(voters); i++ {
		if v := voters[(at+i)%len(voters)]; up[v] {
			return v
		}
	}
	return 0
}

// connected are the nodes that this one can reach.
func (n *Node) connected() map[consensus.NodeID]bool {
	up := make(map[consensus.NodeID]bool)
	for _, p := range n.raft.Transport().Peers() {
		up[consensus.NodeID(p.Node)] = p.Connected
	}
	return up
}

// Close stops the node, once. What still waits gets an error; HandOver comes
// before, where there is time.
func (n *Node) Close() error { return n.close() }

func (n *Node) closeAll() error {
	n.endWaits()
	n.stop()
	n.work.Wait()
	n.raft.Close()
	return n.cfg.Store.Close()
}
