// Package consensus replicates state machines on logs: many raft groups on
// each node, over one store with one fsync for all of them, and one link to
// each peer.
//
// It takes bytes and gives them back in the same order on every replica. It
// does not know what a lock is, retries nothing, and never proposes anything
// a second time (R20).
//
// Rules kept by a Group:
//  1. nothing is applied or acknowledged before it is durable here (R2);
//  2. a proposal is reported as done, certainly not done, or unknown, and the
//     second only if the log proved it (R20);
//  3. a query is answered only after a quorum confirmed, since it was
//     received, that this replica leads (R5);
//  4. when a leadership ends, whatever waits for it fails, before anything of
//     a later one happens.
//
// A replica decides, a Group's goroutine carries its events and effects, and a
// Node owns store, writer, transport and groups. Nodes and Groups may be used
// from any goroutine.
package consensus

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/etcd/raft/v3/raftpb"

	"lockd/consensus/storage"
	"lockd/consensus/transport"
)

// Config is what a Node is made from.
type Config struct {
	Name string // --name
	ID   NodeID // raft id, never reused
	// Listener is where peers connect, already listening. The Node closes it.
	Listener net.Listener
	// Peers are the addresses of all nodes, this one's is ignored, and Names
	// the names of all. A process that is not among them is refused.
	Peers map[NodeID]string
	Names map[NodeID]string
	// Listen and PeerListen are the addresses told to others, Version this
	// program's.
	Listen, PeerListen, Version string

	Heartbeat     time.Duration // between a leader's heartbeats
	Election      time.Duration // a follower campaigns after 1 to 2 times this; a multiple of Heartbeat
	SnapshotBytes uint64        // a log is snapshotted when it outgrows this and the last snapshot

	// Serve answers requests that other nodes sent with Call, as
	// transport.Handler.ReceiveRequest does.
	Serve func(from transport.Hello, payload []byte, reply func([]byte)) (cancel func())
	// PeerUp and PeerDown tell of processes that can send requests here.
	PeerUp, PeerDown func(transport.Hello)
	// Fatal is called once when the node cannot go on: its disk failed, its
	// data is corrupt, or its peers refuse it. The process must exit.
	Fatal func(error)
	// Fsync, if set, observes how long each write to the store took.
	Fsync func(time.Duration)
	// Applied, if set, returns what observes how long a group's turns took in
	// which it applied entries.
	Applied func(GroupID) func(time.Duration)
	Logger  zerolog.Logger
}

// Validate reports all that is wrong with c.
func (c *Config) Validate() error {
	var errs []error
	if c.ID == 0 {
		errs = append(errs, errors.New("raft id is 0"))
	}
	if c.Heartbeat < time.Millisecond {
		errs = append(errs, fmt.Errorf("heartbeat %s: at least 1ms", c.Heartbeat))
	}
	if c.Heartbeat > 0 && (c.Election < 3*c.Heartbeat || c.Election%c.Heartbeat != 0) {
		errs = append(errs, fmt.Errorf("election %s: a multiple of the heartbeat %s, and at least three times it", c.Election, c.Heartbeat))
	}
	return errors.Join(errs...)
}

// Node is one process's part in all groups.
type Node struct {
	cfg   Config
	log   zerolog.Logger
	store storage.Store
	boot  uint64
	began time.Time

	transport *transport.Transport
	writer    *writer
	failOnce  sync.Once

	groups   atomic.Pointer[map[GroupID]*Group] // replaced, never changed
	starting sync.Mutex                         // held while groups are replaced
	closed   bool

	mu         sync.Mutex
	me         identity
	peerStores map[string]string
	refusedBy  map[uint64]bool

	ticker sync.WaitGroup
	stop   chan struct{}
	work   sync.WaitGroup // background
}

// Open starts a node on a store. It has no groups until StartGroup. The caller
// closes the store after Close.
func Open(cfg Config, store storage.Store) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("consensus: %w", err)
	}
	me, err := loadIdentity(store, cfg.Name, cfg.ID)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger, store: store, boot: randomBoot(), began: time.Now(), me: me,
		peerStores: map[string]string{}, refusedBy: map[uint64]bool{}, stop: make(chan struct{}),
	}
	n.groups.Store(&map[GroupID]*Group{})
	fsync := cfg.Fsync
	if fsync == nil {
		fsync = func(time.Duration) {}
	}
	n.writer = newWriter(store, fsync, n.fail, n.Now)
	peers := map[uint64]string{}
	for id, addr := range cfg.Peers {
		if id != cfg.ID {
			peers[uint64(id)] = addr
		}
	}
	n.transport, err = transport.New(transport.Config{
		Self: transport.Hello{
			Cluster: me.Cluster, Name: me.Name, Node: uint64(me.Node), Store: me.Store, Boot: n.boot,
			Listen: cfg.Listen, PeerListen: cfg.PeerListen, Version: cfg.Version,
		},
		Listener: cfg.Listener, Peers: peers, Logger: cfg.Logger,
	}, (*handler)(n))
	if err != nil {
		return nil, err
	}
	go n.writer.run()
	n.transport.Start()
	n.ticker.Go(n.tick)
	return n, nil
}

func randomBoot() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:]) | 1
}

// Now is the time on the node's monotonic clock, since it started.
func (n *Node) Now() time.Duration { return time.Since(n.began) }

// ID is the node's raft id.
func (n *Node) ID() NodeID { return n.cfg.ID }

// Boot is the random number of this process.
func (n *Node) Boot() uint64 { return n.boot }

// StoreID names the node's data directory.
func (n *Node) StoreID() string { return n.me.Store }

// Cluster is the cluster's id as this node has stored it, "" before it knows.
func (n *Node) Cluster() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.me.Cluster
}

// SetCluster stores the cluster's id once it is known. An id that differs from
// the stored one is an error.
func (n *Node) SetCluster(id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch n.me.Cluster {
	case id:
		return nil
	case "":
		n.me.Cluster = id
		n.transport.SetSelf(func(h *transport.Hello) { h.Cluster = id })
		return n.me.save(n.store)
	}
	return fmt.Errorf("this data directory belongs to cluster %s, not to %s", n.me.Cluster, id)
}

// StartGroup starts this node's replica of a group. Where the store has data
// of the group, that says who its voters are, not the argument. sm is in its
// empty state. Starting a running group returns it.
func (n *Node) StartGroup(id GroupID, voters []NodeID, sm StateMachine) (*Group, error) {
	n.starting.Lock()
	defer n.starting.Unlock()
	if g := n.Group(id); g != nil {
		return g, nil
	}
	if n.closed {
		return nil, ErrStopped
	}
	st, err := n.groupState(id, voters, sm)
	if err != nil {
		return nil, err
	}
	install, err := readSnapshot(n.store, id, st.Snapshot, sm)
	if err != nil {
		return nil, err
	}
	install()
	log := n.log.With().Uint64("group", uint64(id)).Logger()
	r, err := newReplica(n.cfg.ID, st, n.store, sm, replicaOptions{
		tick: n.cfg.Heartbeat, electionTicks: int(n.cfg.Election / n.cfg.Heartbeat),
		snapshotBytes: n.cfg.SnapshotBytes, boot: n.boot, logger: raftLogger{log},
	})
	if err != nil {
		return nil, err
	}
	g := newGroup(n, r)
	g.counts.SnapshotBytes.Store(st.Snapshot.Size)
	if n.cfg.Applied != nil {
		g.observe = n.cfg.Applied(id)
	}
	groups := maps.Clone(*n.groups.Load())
	groups[id] = g
	n.groups.Store(&groups)
	go g.run()
	g.wake()
	return g, nil
}

func (n *Node) groupState(id GroupID, voters []NodeID, sm StateMachine) (storage.GroupState, error) {
	states, err := n.store.Groups()
	if err != nil {
		return storage.GroupState{}, err
	}
	for _, st := range states {
		if st.Group == uint64(id) {
			return st, nil
		}
	}
	return initialState(id, voters, sm, n.store)
}

// Group returns a running group, or nil.
func (n *Node) Group(id GroupID) *Group { return (*n.groups.Load())[id] }

// Groups returns the running groups in no order.
func (n *Node) Groups() []*Group { return slices.Collect(maps.Values(*n.groups.Load())) }

// Call sends a request to another node; done gets the answer once, or
// ErrUnreachable or ErrOverloaded (certainly not done), or ErrLinkLost.
// cancel tells the other side that nobody waits any more.
func (n *Node) Call(to NodeID, payload []byte, done func([]byte, error)) (cancel func()) {
	return n.transport.Call(uint64(to), payload, done)
}

// Transport returns the node's transport, for its state and metrics.
func (n *Node) Transport() *transport.Transport { return n.transport }

// Close stops everything in the reverse order of Open. Leaderships should have
// been handed over before; what still waits gets an error.
func (n *Node) Close() {
	n.starting.Lock()
	n.closed = true
	n.starting.Unlock()
	close(n.stop)
	n.ticker.Wait()
	for _, g := range n.Groups() {
		g.stop()
	}
	n.writer.stop()
	n.transport.Close()
	n.work.Wait()
}

// tick gives every group its ticks at the same moments, so that what they say
// to a peer leaves in one batch: idle groups cost next to nothing (R15).
func (n *Node) tick() {
	t := time.NewTicker(n.cfg.Heartbeat)
	defer t.Stop()
	for {
		select {
		case <-n.stop:
			return
		case <-t.C:
			for _, g := range n.Groups() {
				g.tick()
			}
		}
	}
}

// send hands a turn's messages to the transport, those for one peer together,
// and begins the streams of snapshots. The transport keeps nothing of them.
func (n *Node) send(g *Group, messages []raftpb.Message) {
	for len(messages) > 0 {
		to := messages[0].To
		g.sending = g.sending[:0]
		rest := messages[:0]
		for _, m := range messages {
			switch {
			case m.To != to:
				rest = append(rest, m)
			case m.Type == raftpb.MsgSnap:
				n.sendSnapshot(g, m)
			default:
				g.sending = append(g.sending, transport.GroupMessage{Group: uint64(g.id), Message: m})
			}
		}
		n.transport.Send(to, g.sending)
		messages = rest
	}
	clear(g.sending)
}

// sendSnapshot streams a snapshot; raft is told of the outcome always (R21).
func (n *Node) sendSnapshot(g *Group, m raftpb.Message) {
	sent := func(err error) {
		if err != nil {
			n.log.Warn().Err(err).Uint64("group", uint64(g.id)).Uint64("to", m.To).Msg("snapshot not sent")
		}
		g.event(func(time.Duration) { g.r.snapshotSent(NodeID(m.To), err == nil) })
	}
	meta, err := snapshotMeta(m.Snapshot)
	if err != nil {
		sent(err)
		return
	}
	f, err := n.store.OpenSnapshot(uint64(g.id), meta)
	if err != nil {
		sent(err)
		return
	}
	h := transport.SnapshotHeader{Group: uint64(g.id), Message: m, Size: meta.Size, Checksum: meta.Checksum}
	n.transport.SendSnapshot(m.To, h, f, func(err error) { sent(errors.Join(err, f.Close())) })
}

// background runs file work that must not stop a group's loop.
func (n *Node) background(f func()) { n.work.Go(f) }

// fail reports once that the node cannot go on.
func (n *Node) fail(err error) {
	n.failOnce.Do(func() {
		n.cfg.Fatal(err)
	})
}

// guard turns a panic of a group's goroutine into the end of the node. raft
// panics when the log lacks what this replica has acknowledged.
func (n *Node) guard(g GroupID) {
	p := recover()
	if p == nil {
		return
	}
	n.log.Error().Uint64("group", uint64(g)).Interface("panic", p).Bytes("stack", stack()).Msg("replica stopped")
	n.fail(fmt.Errorf("group %d: %v. The data of this node cannot be trusted: move its data directory aside and let the node join again under a new name (a new raft id)", g, p))
}

// handler is what the transport sees of a Node.
type handler Node

func (h *handler) CheckPeer(p transport.Hello) error { return (*Node)(h).checkPeer(p) }

// ReceiveMessages hands messages to their groups. Those for a group that this
// node was not told to have create none (R21).
func (h *handler) ReceiveMessages(from uint64, msgs []transport.GroupMessage) {
	n := (*Node)(h)
	for len(msgs) > 0 {
		group := msgs[0].Group
		run := make([]raftpb.Message, 0, len(msgs))
		for len(msgs) > 0 && msgs[0].Group == group {
			if m := msgs[0].Message; m.From == from && m.To == uint64(n.cfg.ID) && m.Type != raftpb.MsgSnap {
				run = append(run, m)
			}
			msgs = msgs[1:]
		}
		if g := n.Group(GroupID(group)); g != nil {
			g.receive(run)
		}
	}
}

func (h *handler) ReceiveRequest(from transport.Hello, payload []byte, reply func([]byte)) func() {
	return h.cfg.Serve(from, payload, reply)
}

// ReceiveSnapshot makes a snapshot's file durable and only then tells raft.
func (h *handler) ReceiveSnapshot(from uint64, head transport.SnapshotHeader, r io.Reader) error {
	n := (*Node)(h)
	g := n.Group(GroupID(head.Group))
	if g == nil {
		return ErrNoGroup
	}
	meta, err := snapshotMeta(head.Message.Snapshot)
	if err != nil {
		return err
	}
	if head.Message.From != from || meta.Size != head.Size || meta.Checksum != head.Checksum {
		return fmt.Errorf("group %d: snapshot at %d: header and message differ", head.Group, meta.Index)
	}
	w, err := n.store.CreateSnapshot(head.Group, meta.Index)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		w.Abort()
		return err
	}
	size, checksum, err := w.Close()
	if err != nil {
		return err
	}
	if size != meta.Size || checksum != meta.Checksum {
		return fmt.Errorf("group %d: snapshot at %d: %w: received %d bytes with checksum %x, not %d with %x", head.Group, meta.Index, storage.ErrCorrupt, size, checksum, meta.Size, meta.Checksum)
	}
	g.receive([]raftpb.Message{head.Message})
	return nil
}

func (h *handler) PeerUp(p transport.Hello)   { h.cfg.PeerUp(p) }
func (h *handler) PeerDown(p transport.Hello) { h.cfg.PeerDown(p) }

func (h *handler) Unreachable(to uint64) {
	for _, g := range (*Node)(h).Groups() {
		g.event(func(time.Duration) { g.r.unreachable(NodeID(to)) })
	}
}

// Refused ends the node if it is the one that is wrong: it has not been part of
// a cluster yet, or a majority of the nodes refuse it. One peer alone may be
// the stranger, at an address that was a member's.
func (h *handler) Refused(by uint64, reason string) {
	n := (*Node)(h)
	n.mu.Lock()
	known := n.refusedBy[by]
	n.refusedBy[by] = true
	wrong := n.me.Cluster == "" || len(n.refusedBy) > len(n.cfg.Peers)/2
	n.mu.Unlock()
	switch {
	case wrong:
		n.fail(fmt.Errorf("node %d refuses this node: %s", by, reason))
	case !known:
		n.log.Error().Uint64("by", by).Str("reason", reason).Msg("refused by a peer")
	}
}
