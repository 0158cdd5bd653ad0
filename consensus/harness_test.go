package consensus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/etcd/raft/v3/raftpb"

	"lockd/consensus/storage"
)

const (
	testTick     = 100 * time.Millisecond
	testElection = 5
)

// listMachine keeps the list of what was applied.
type listMachine struct {
	list     []string
	leads    uint64 // the term it was told to lead, 0: none
	follows  int
	gap      time.Duration
	proposes []Proposal // returned by the next Turn
}

func (m *listMachine) Apply(_ time.Duration, e Entry) any {
	m.list = append(m.list, string(e.Data))
	return fmt.Sprintf("%s@%d", e.Data, e.Index)
}
func (m *listMachine) Query(_, _ time.Duration, q any) any {
	return slices.Contains(m.list, q.(string))
}
func (m *listMachine) Lead(_ time.Duration, term uint64) { m.leads = term }
func (m *listMachine) Follow()                           { m.leads = 0; m.follows++ }
func (m *listMachine) Turn(_, gap time.Duration) ([]Proposal, time.Duration) {
	m.gap = max(m.gap, gap)
	p := m.proposes
	m.proposes = nil
	return p, 0
}
func (m *listMachine) Snapshot() Snapshot { return listSnapshot(slices.Clone(m.list)) }
func (m *listMachine) Restore(r io.Reader) (func(), error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var list []string
	for len(b) > 0 {
		n := binary.BigEndian.Uint32(b)
		list = append(list, string(b[4:4+n]))
		b = b[4+n:]
	}
	return func() { m.list = list }, nil
}

type listSnapshot []string

func (s listSnapshot) Encode(w io.Writer) error {
	var b bytes.Buffer
	for _, x := range s {
		b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(x))))
		b.WriteString(x)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// testNode is one replica with a disk that writes only when told to.
type testNode struct {
	id       NodeID
	r        *replica
	sm       *listMachine
	store    *storage.MemStore
	slow     bool // writes wait for flush
	unwrit   []write
	sent     []raftpb.Message
	snapshot *takeSnapshot
	install  *storage.SnapshotMeta
}

// testNet drives replicas of one group by hand: a turn happens when run is
// called, messages move when it delivers them, time passes when tick says so.
type testNet struct {
	t     *testing.T
	now   time.Duration
	nodes map[NodeID]*testNode
	order []NodeID
	// drop tells which messages the network loses.
	drop     func(m raftpb.Message) bool
	snapshot uint64 // snapshotBytes of the replicas
}

func newTestNet(t *testing.T, voters int) *testNet {
	return startTestNet(t, voters, 1<<40)
}

func startTestNet(t *testing.T, voters int, snapshotBytes uint64) *testNet {
	n := &testNet{t: t, now: time.Second, nodes: map[NodeID]*testNode{}, snapshot: snapshotBytes}
	var ids []NodeID
	for i := range voters {
		ids = append(ids, NodeID(i+1))
	}
	for _, id := range ids {
		n.add(id, ids)
	}
	return n
}

func (n *testNet) add(id NodeID, voters []NodeID) *testNode {
	node := &testNode{id: id, store: storage.NewMemStore()}
	n.nodes[id] = node
	n.order = append(n.order, id)
	sm := &listMachine{}
	_, err := initialState(1, voters, sm, node.store)
	n.must(err)
	n.start(node)
	return node
}

// start makes the replica from what its store has.
func (n *testNet) start(node *testNode) {
	states, err := node.store.Groups()
	n.must(err)
	node.sm = &listMachine{}
	install, err := readSnapshot(node.store, 1, states[0].Snapshot, node.sm)
	n.must(err)
	install()
	node.r, err = newReplica(node.id, states[0], node.store, node.sm, replicaOptions{
		tick: testTick, electionTicks: testElection, snapshotBytes: n.snapshot, boot: 7,
		logger: raftLogger{zerolog.Nop()},
	})
	n.must(err)
	node.unwrit, node.sent = nil, nil
}

func (n *testNet) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// turn gives a node one turn with an event.
func (n *testNet) turn(id NodeID, event func(r *replica)) {
	n.t.Helper()
	node := n.nodes[id]
	for more := true; more; {
		node.r.begin(n.now)
		if event != nil {
			event(node.r)
			event = nil
		}
		out := node.r.end(n.now)
		node.sent = append(node.sent, out.messages...)
		node.unwrit = append(node.unwrit, out.writes...)
		if out.take != nil {
			node.snapshot = out.take
		}
		if out.install != nil {
			node.install = out.install
		}
		more = out.more
	}
	if !node.slow {
		n.flush(id)
	}
}

// flush carries out a node's writes.
func (n *testNet) flush(id NodeID) {
	n.t.Helper()
	node := n.nodes[id]
	for len(node.unwrit) > 0 {
		w := node.unwrit[0]
		node.unwrit = node.unwrit[1:]
		n.must(node.store.Write([]storage.GroupWrite{w.part}, w.sync))
		n.turn(id, func(r *replica) { r.wrote(w.seq) })
	}
}

// deliver moves messages until nothing moves any more.
func (n *testNet) deliver() {
	n.t.Helper()
	for moved := true; moved; {
		moved = false
		for _, id := range n.order {
			node := n.nodes[id]
			messages := node.sent
			node.sent = nil
			for _, m := range messages {
				to := n.nodes[NodeID(m.To)]
				if to == nil || n.drop != nil && n.drop(m) {
					continue
				}
				moved = true
				if m.Type == raftpb.MsgSnap {
					n.copySnapshot(node, to, m)
				}
				// Over the wire and back, as the transport does it.
				raw, err := m.Marshal()
				n.must(err)
				var got raftpb.Message
				n.must(got.Unmarshal(raw))
				n.turn(to.id, func(r *replica) { r.step(n.now, []raftpb.Message{got}) })
				n.files(to)
			}
			n.files(node)
		}
	}
}

// files does what a group's shell does in the background.
func (n *testNet) files(node *testNode) {
	if t := node.snapshot; t != nil {
		node.snapshot = nil
		meta := t.meta
		n.must(writeSnapshot(node.store, 1, &meta, t.state))
		n.turn(node.id, func(r *replica) { r.snapshotWritten(n.now, meta) })
	}
	if meta := node.install; meta != nil {
		node.install = nil
		install, err := readSnapshot(node.store, 1, *meta, node.sm)
		n.must(err)
		n.turn(node.id, func(r *replica) { r.restored(n.now, *meta, install) })
	}
}

func (n *testNet) copySnapshot(from, to *testNode, m raftpb.Message) {
	meta, err := snapshotMeta(m.Snapshot)
	n.must(err)
	src, err := from.store.OpenSnapshot(1, meta)
	n.must(err)
	dst, err := to.store.CreateSnapshot(1, meta.Index)
	n.must(err)
	_, err = io.Copy(dst, src)
	n.must(err)
	_, _, err = dst.Close()
	n.must(err)
	n.turn(from.id, func(r *replica) { r.snapshotSent(to.id, true) })
}

// tick lets one heartbeat interval pass on some nodes, all if none is named.
func (n *testNet) tick(ids ...NodeID) {
	if len(ids) == 0 {
		ids = n.order
	}
	n.now += testTick
	for _, id := range ids {
		n.turn(id, func(r *replica) { r.tick(n.now) })
	}
}

// elect makes a node the leader, as a leader that hands over would.
func (n *testNet) elect(id NodeID) {
	n.t.Helper()
	for range 3 {
		node := n.nodes[id]
		now := raftpb.Message{Type: raftpb.MsgTimeoutNow, From: uint64(id), To: uint64(id), Term: node.r.rn.BasicStatus().Term}
		n.turn(id, func(r *replica) { r.step(n.now, []raftpb.Message{now}) })
		n.deliver()
		if node.sm.leads != 0 {
			return
		}
	}
	n.t.Fatalf("node %d does not come to lead", id)
}

// outcome is what became of a proposal or query.
type outcome struct {
	done   bool
	result any
	err    error
}

func (o *outcome) set(result any, err error) {
	if o.done {
		panic("answered twice")
	}
	*o = outcome{true, result, err}
}

func (n *testNet) propose(id NodeID, data string) *outcome {
	o := &outcome{}
	n.turn(id, func(r *replica) { r.propose([]Proposal{{Data: []byte(data), Done: o.set}}) })
	return o
}

func (n *testNet) query(id NodeID, q string) *outcome {
	o := &outcome{}
	n.turn(id, func(r *replica) { r.query(n.now, []query{{query: q, received: n.now, done: o.set}}) })
	return o
}

// isolate loses all messages from and to the named nodes.
func isolate(ids ...NodeID) func(m raftpb.Message) bool {
	return func(m raftpb.Message) bool {
		return slices.Contains(ids, NodeID(m.From)) || slices.Contains(ids, NodeID(m.To))
	}
}

func (o *outcome) want(t *testing.T, what string, result any) {
	t.Helper()
	if !o.done || o.err != nil || o.result != result {
		t.Fatalf("%s: got %+v, want %v", what, *o, result)
	}
}

func (o *outcome) wantNotLeader(t *testing.T, what string) {
	t.Helper()
	var not *NotLeaderError
	if !o.done || !errors.As(o.err, &not) {
		t.Fatalf("%s: got %+v, want a NotLeaderError", what, *o)
	}
}

func (o *outcome) wantOpen(t *testing.T, what string) {
	t.Helper()
	if o.done {
		t.Fatalf("%s: answered %+v already", what, *o)
	}
}
