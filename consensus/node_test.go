package consensus

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
	"go.etcd.io/etcd/raft/v3/raftpb"

	"lockd/consensus/storage"
	"lockd/consensus/transport"
)

// liveCluster is nodes with their shells, on loopback sockets and real disk.
type liveCluster struct {
	t     testing.TB
	dir   string
	addrs map[NodeID]string
	nodes map[NodeID]*liveNode
}

type liveNode struct {
	*Node
	store storage.Store
}

func newLiveCluster(t testing.TB, size int) *liveCluster {
	c := &liveCluster{t: t, dir: t.TempDir(), addrs: map[NodeID]string{}, nodes: map[NodeID]*liveNode{}}
	listeners := map[NodeID]net.Listener{}
	for i := range size {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		id := NodeID(i + 1)
		listeners[id], c.addrs[id] = l, l.Addr().String()
	}
	for id, l := range listeners {
		c.start(id, l)
	}
	t.Cleanup(func() {
		for id := range c.nodes {
			c.stop(id)
		}
	})
	return c
}

func (c *liveCluster) names() map[NodeID]string {
	names := map[NodeID]string{}
	for id := range c.addrs {
		names[id] = fmt.Sprint("n", id)
	}
	return names
}

func (c *liveCluster) start(id NodeID, l net.Listener) {
	c.t.Helper()
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", c.addrs[id]); err != nil {
			c.t.Fatal(err)
		}
	}
	store, err := storage.OpenPebble(storage.PebbleConfig{
		FS: vfs.Default, Dir: filepath.Join(c.dir, fmt.Sprint("n", id)), Logger: zerolog.Nop(),
		OnFatal: func(err error) { c.t.Errorf("node %d: store: %v", id, err) },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	n, err := Open(Config{
		Name: fmt.Sprint("n", id), ID: id, Listener: l, Peers: c.addrs, Names: c.names(),
		Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond, SnapshotBytes: 1 << 20,
		Serve: func(_ transport.Hello, payload []byte, reply func([]byte)) func() {
			reply(append([]byte("echo "), payload...))
			return nil
		},
		PeerUp: func(transport.Hello) {}, PeerDown: func(transport.Hello) {},
		Fatal:  func(err error) { c.t.Errorf("node %d: %v", id, err) },
		Logger: zerolog.Nop(),
	}, store)
	if err != nil {
		c.t.Fatal(err)
	}
	var voters []NodeID
	for v := range len(c.addrs) {
		voters = append(voters, NodeID(v+1))
	}
	for group := range GroupID(3) {
		if _, err := n.StartGroup(group, voters, &listMachine{}); err != nil {
			c.t.Fatal(err)
		}
	}
	c.nodes[id] = &liveNode{n, store}
}

func (c *liveCluster) stop(id NodeID) {
	n := c.nodes[id]
	delete(c.nodes, id)
	n.Close()
	if err := n.store.Close(); err != nil {
		c.t.Error(err)
	}
}

// leader waits until one of the nodes leads a group.
func (c *liveCluster) leader(group GroupID) *Group {
	c.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		var changed []<-chan struct{}
		for _, n := range c.nodes {
			g := n.Group(group)
			ch := g.Changed()
			if g.Status().Leading {
				return g
			}
			changed = append(changed, ch)
		}
		select {
		case <-merge(changed):
		case <-deadline:
			c.t.Fatalf("group %d has no leader", group)
		}
	}
}

// merge returns a channel that is closed when any of chans is.
func merge(chans []<-chan struct{}) <-chan struct{} {
	out := make(chan struct{})
	var once sync.Once
	for _, ch := range chans {
		go func() { <-ch; once.Do(func() { close(out) }) }()
	}
	return out
}

func (c *liveCluster) propose(group GroupID, data string) (any, error) {
	type answer struct {
		result any
		err    error
	}
	ch := make(chan answer, 1)
	c.leader(group).Propose(Proposal{Data: []byte(data), Done: func(r any, err error) { ch <- answer{r, err} }})
	a := <-ch
	return a.result, a.err
}

// proposeMany waits for the outcome of many large proposals, whatever it is.
func (c *liveCluster) proposeMany(group GroupID, count int) {
	c.t.Helper()
	var wg sync.WaitGroup
	g := c.leader(group)
	for i := range count {
		wg.Add(1)
		g.Propose(Proposal{Data: fmt.Appendf(nil, "%0300d", i), Done: func(any, error) { wg.Done() }})
	}
	wg.Wait()
}

func (c *liveCluster) mustPropose(group GroupID, data string) {
	c.t.Helper()
	var err error
	// A leader may change under it, or be about to hand over.
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if _, err = c.propose(group, data); err == nil {
			return
		}
	}
	c.t.Fatalf("group %d takes no proposal: %v", group, err)
}

func (c *liveCluster) query(group GroupID, q string) any {
	c.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		ch := make(chan any, 1)
		c.leader(group).Query(q, func(r any, err error) {
			if err != nil {
				r = err
			}
			ch <- r
		})
		if r, ok := (<-ch).(bool); ok {
			return r
		}
	}
	c.t.Fatalf("group %d answers no query", group)
	return nil
}

func TestClusterSurvivesItsLeadersAndARestart(t *testing.T) {
	c := newLiveCluster(t, 3)
	for group := range GroupID(3) {
		c.mustPropose(group, fmt.Sprint("first of ", group))
	}
	old := c.leader(0).node.ID()
	c.stop(old)
	if now := c.leader(0).node.ID(); now == old {
		t.Fatal("a stopped node leads")
	}
	c.mustPropose(0, "second")
	c.start(old, nil)
	for id := range c.addrs {
		c.stop(id)
	}
	for id := range c.addrs {
		c.start(id, nil)
	}
	for _, want := range []string{"first of 0", "second"} {
		if c.query(0, want) != true {
			t.Errorf("%q was acknowledged and is lost", want)
		}
	}
}

func TestLaggingNodeGetsASnapshotOverTheWire(t *testing.T) {
	c := newLiveCluster(t, 3)
	c.mustPropose(1, "first")
	behind := (c.leader(1).node.ID() % 3) + 1
	c.stop(behind)
	for firstIndex(c.leader(1)) < 100 { // its snapshots are written beside
		c.proposeMany(1, keptEntries/2)
	}
	c.mustPropose(1, "last")
	c.start(behind, nil)
	g := c.nodes[behind].Group(1)
	for g.Applied() < c.leader(1).Applied() {
		done := make(chan struct{})
		g.QueryStale("last", func(any, error) { close(done) })
		<-done
	}
	if firstIndex(g) < 100 {
		t.Error("it caught up without a snapshot")
	}
}

// firstIndex is where a replica's log begins.
func firstIndex(g *Group) uint64 {
	ch := make(chan uint64, 1)
	g.event(func(time.Duration) { ch <- g.r.log.first })
	return <-ch
}

func TestNodeWithAnotherDirectoryIsRefused(t *testing.T) {
	c := newLiveCluster(t, 3)
	c.mustPropose(0, "first")
	h := transport.Hello{Name: "n2", Node: 2, Store: "another", Boot: 1}
	if err := c.nodes[1].checkPeer(h); err == nil {
		t.Error("a node that lost its disk came back under its raft id (F18)")
	}
	for _, stranger := range []transport.Hello{{Name: "n9", Node: 9, Store: "new", Boot: 1}, {Name: "n9", Node: 3, Store: "new", Boot: 1}} {
		if err := c.nodes[1].checkPeer(stranger); err == nil {
			t.Errorf("%+v, who is no member, was let in", stranger)
		}
	}
	h = transport.Hello{Name: "n3", Node: 3, Store: c.nodes[3].StoreID(), Boot: 1, Cluster: "elsewhere"}
	if err := c.nodes[1].SetCluster("here"); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes[1].checkPeer(h); err == nil {
		t.Error("a node of another cluster was let in")
	}
}

func TestOneStrangerDoesNotEndANode(t *testing.T) {
	c := newLiveCluster(t, 3)
	n := c.nodes[1]
	var fatal []error
	n.cfg.Fatal = func(err error) { fatal = append(fatal, err) }
	if err := n.SetCluster("here"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		(*handler)(n.Node).Refused(2, "another cluster")
	}
	if len(fatal) > 0 {
		t.Fatalf("one stranger ended the node: %v", fatal)
	}
	(*handler)(n.Node).Refused(3, "another cluster")
	if len(fatal) != 1 {
		t.Fatal("a node that a majority refuses goes on")
	}
}

// R21: a message for a group that this node was not told to have creates none.
func TestR21MessageForAnUnknownGroupCreatesNone(t *testing.T) {
	c := newLiveCluster(t, 1)
	h := (*handler)(c.nodes[1].Node)
	h.ReceiveMessages(2, []transport.GroupMessage{{Group: 99, Message: raftpb.Message{Type: raftpb.MsgHeartbeat, From: 2, To: 1, Term: 7}}})
	header := transport.SnapshotHeader{Group: 99, Message: raftpb.Message{Type: raftpb.MsgSnap, From: 2, To: 1, Term: 7}}
	if err := h.ReceiveSnapshot(2, header, strings.NewReader("")); !errors.Is(err, ErrNoGroup) {
		t.Errorf("snapshot of an unknown group: %v", err)
	}
	if g := c.nodes[1].Group(99); g != nil {
		t.Error("a message created a group")
	}
}
