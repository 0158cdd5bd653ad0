package sharding

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"lockd/consensus"
	"lockd/sharding/shardpb"
)

func testFounding() *shardpb.Bootstrap {
	return &shardpb.Bootstrap{
		Groups: []*shardpb.GroupWeight{{Group: 2, Weight: 1}, {Group: 1, Weight: 1}},
		Nodes:  []*shardpb.Node{{Id: 1, Name: "n1", PeerListen: "a:1"}, {Id: 2, Name: "n2", PeerListen: "b:1"}},
	}
}

// applyAll applies entries to a machine as its group would.
func applyAll(s *system, entries ...[]byte) {
	for i, raw := range entries {
		s.Apply(0, consensus.Entry{Index: uint64(i + 1), Term: 1, Data: raw})
	}
}

func founded(t *testing.T) (s *system, a *atlas, bootstrap []byte) {
	t.Helper()
	a = newAtlas()
	s = newSystem(testFounding(), a)
	s.Lead(0, 3)
	proposals, _ := s.Turn(time.Second, 0)
	if len(proposals) != 1 || proposals[0].Term != 3 {
		t.Fatalf("the first leader proposed %v", proposals)
	}
	applyAll(s, proposals[0].Data)
	proposals[0].Done(nil, nil)
	return s, a, proposals[0].Data
}

func TestFirstLeaderMakesTheCluster(t *testing.T) {
	s, a, _ := founded(t)
	topology := a.load()
	if topology.Cluster == "" || len(topology.Secret) != secretBytes || topology.Epoch != 1 || len(topology.Nodes) != 2 {
		t.Fatalf("made %+v", topology)
	}
	if got := topology.Ring.Groups(); len(got) != 2 || got[0] != 1 || got[1] != 2 {
		t.Errorf("groups %v", got)
	}
	if more, _ := s.Turn(2*time.Second, 0); len(more) != 0 {
		t.Error("it was proposed again")
	}
}

// Two leaders in a row may have proposed it: the first entry counts.
func TestSecondBootstrapChangesNothing(t *testing.T) {
	s, a, _ := founded(t)
	before := a.load()
	_, _, other := founded(t)
	applyAll(s, other)
	if a.load() != before {
		t.Error("the cluster was made anew")
	}
}

func TestRefusedBootstrapIsProposedAgainAfterAPause(t *testing.T) {
	s := newSystem(testFounding(), newAtlas())
	s.Lead(0, 1)
	proposals, _ := s.Turn(time.Second, 0)
	proposals[0].Done(nil, &consensus.NotLeaderError{})
	if again, wake := s.Turn(time.Second, 0); len(again) != 0 || wake != time.Second+refusedPause {
		t.Fatalf("proposed %d at once, wake %v", len(again), wake)
	}
	if again, _ := s.Turn(time.Second+refusedPause, 0); len(again) != 1 {
		t.Fatal("never proposed again")
	}
}

func TestFollowerDoesNotMakeTheCluster(t *testing.T) {
	s := newSystem(testFounding(), newAtlas())
	s.Lead(0, 1)
	s.Follow()
	if proposals, _ := s.Turn(time.Second, 0); len(proposals) != 0 {
		t.Fatal("proposed")
	}
}

func TestMemberTellsItsNewAddress(t *testing.T) {
	s, a, _ := founded(t)
	register := func(n *shardpb.Node) []byte {
		return mustMarshal(&shardpb.SystemCommand{Op: &shardpb.SystemCommand_RegisterNode{RegisterNode: &shardpb.RegisterNode{Node: n}}})
	}
	_, changed := a.watch()
	applyAll(s, register(&shardpb.Node{Id: 2, Name: "n2", Listen: "rest", PeerListen: "c:1", Store: "x"}))
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	if n := a.load().Node(2); n.PeerListen != "c:1" || n.Listen != "rest" {
		t.Errorf("%v", n)
	}
	before := a.load()
	applyAll(s, register(&shardpb.Node{Id: 3, Name: "n3"}), register(&shardpb.Node{Id: 1, Name: "n2"}))
	if a.load() != before {
		t.Error("a stranger changed the members")
	}
}

func TestSystemSnapshotRestores(t *testing.T) {
	s, a, _ := founded(t)
	var stream bytes.Buffer
	if err := s.Snapshot().Encode(&stream); err != nil {
		t.Fatal(err)
	}
	b := newAtlas()
	other := newSystem(testFounding(), b)
	install, err := other.Restore(&stream)
	if err != nil {
		t.Fatal(err)
	}
	if b.load() != nil {
		t.Fatal("restore changed the state before it was installed")
	}
	install()
	if !proto.Equal(s.state, other.state) || b.load().Cluster != a.load().Cluster {
		t.Errorf("restored %v, want %v", other.state, s.state)
	}
	if _, err := other.Restore(bytes.NewReader([]byte{0xff})); err == nil {
		t.Error("restored garbage")
	}
}
