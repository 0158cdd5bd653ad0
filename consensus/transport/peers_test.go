package transport

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// tellPeers has a channel get what a handler is told of peers.
func tellPeers(h *fakeHandler) chan string {
	told := make(chan string, 100)
	h.peerUp = func(h Hello) { told <- fmt.Sprintf("up %d", h.Boot) }
	h.peerDown = func(h Hello) { told <- fmt.Sprintf("down %d", h.Boot) }
	h.refused = func(by uint64, reason string) { told <- fmt.Sprintf("refused by %d: %s", by, reason) }
	return told
}

func expect(t *testing.T, told <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := receive(t, w, told); got != w {
			t.Fatalf("told %q, want %q", got, w)
		}
	}
}

// A node that comes back is a new process at the same address; the one before
// goes first.
func TestRestartedPeer(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, n network) {
		h := &fakeHandler{}
		told := tellPeers(h)
		cfgs := configs(t, n, 2)
		one := startNode(t, cfgs[0], h)
		two := startNode(t, cfgs[1], &fakeHandler{})
		waitLinks(t, one)
		expect(t, told, "up 2")
		two.Close()
		expect(t, told, "down 2")
		cfgs[1].Listener = n.listen(t, 2)
		cfgs[1].Self.Boot = 22
		startNode(t, cfgs[1], &fakeHandler{})
		one.SetPeer(2, cfgs[1].Listener.Addr().String())
		expect(t, told, "up 22")
		waitLinks(t, one)
		if s := one.Peers()[0]; s.Hello.Boot != 22 || s.LastHeard.IsZero() {
			t.Errorf("status %+v", s)
		}
	})
}

// The count is by process, so that a link that overlaps with its successor
// leaves no gap.
func TestPresenceCountsLinks(t *testing.T) {
	h := &fakeHandler{}
	told := tellPeers(h)
	p := &presence{handler: h, count: make(map[uint64]int)}
	p.up(Hello{Boot: 5})
	p.up(Hello{Boot: 5})
	p.down(Hello{Boot: 5})
	p.up(Hello{Boot: 6})
	p.down(Hello{Boot: 5})
	expect(t, told, "up 5", "up 6", "down 5")
}

func TestRefusedByTheOneDialled(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, n network) {
		h := &fakeHandler{}
		told := tellPeers(h)
		cfgs := configs(t, n, 2)
		cfgs[1].Peers = nil
		startNode(t, cfgs[1], &fakeHandler{checkPeer: func(h Hello) error {
			return fmt.Errorf("cluster %s is not ours", h.Cluster)
		}})
		one := startNode(t, cfgs[0], h)
		expect(t, told, "refused by 2: cluster c is not ours")
		ended := make(chan error, 1)
		one.Call(2, nil, func(_ []byte, err error) { ended <- err })
		if err := receive(t, "the error", ended); !errors.Is(err, ErrUnreachable) {
			t.Error(err)
		}
		sent := make(chan error, 1)
		one.SendSnapshot(2, SnapshotHeader{}, nil, func(err error) { sent <- err })
		if err := receive(t, "the error", sent); !errors.Is(err, ErrUnreachable) {
			t.Error(err)
		}
	})
}

// The one that dials may refuse too, and the process there hears of it without
// knowing where to dial back.
func TestRefusedByTheOneThatDials(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, n network) {
		h := &fakeHandler{}
		told := tellPeers(h)
		cfgs := configs(t, n, 2)
		cfgs[1].Peers = nil
		startNode(t, cfgs[1], h)
		startNode(t, cfgs[0], &fakeHandler{checkPeer: func(h Hello) error { return errors.New("not the data of " + h.Name) }})
		expect(t, told, "refused by 1: not the data of n2")
	})
}

// Addresses that were mixed up must not bring one node's messages to another.
func TestWrongNodeAtAddress(t *testing.T) {
	h := &fakeHandler{receiveMessages: func(uint64, []GroupMessage) { t.Error("messages for another node") }}
	told := tellPeers(h)
	cfgs := configs(t, loopback{}, 2)
	cfgs[1].Peers = nil
	startNode(t, cfgs[1], h)
	cfgs[0].Peers = map[uint64]string{3: cfgs[1].Listener.Addr().String()}
	one := startNode(t, cfgs[0], &fakeHandler{})
	expect(t, told, `refused by 1: node 3 was expected here, this is node 2, "n2"`)
	one.Send(3, numbered(1, 1))
}

func TestSelfMayChange(t *testing.T) {
	cfgs := configs(t, loopback{}, 2)
	cfgs[0].Peers, cfgs[1].Peers = nil, nil
	met := make(chan Hello, 10)
	one := startNode(t, cfgs[0], &fakeHandler{})
	startNode(t, cfgs[1], &fakeHandler{peerUp: func(h Hello) { met <- h }})
	want := Hello{
		Cluster: "known now", Name: "n1", Node: 1, Store: "s", Boot: 1,
		Listen: "10.0.0.1:80", PeerListen: "10.0.0.1:81", Version: "1.2.3",
	}
	one.SetSelf(func(h *Hello) { *h = want })
	one.SetPeer(2, cfgs[1].Listener.Addr().String())
	if h := receive(t, "the peer", met); h != want {
		t.Errorf("met %+v", h)
	}
}

func TestRemovedPeer(t *testing.T) {
	h := &fakeHandler{}
	told := tellPeers(h)
	nodes := startNodes(t, loopback{}, &fakeHandler{}, h)
	expect(t, told, "up 1")
	nodes[0].RemovePeer(2)
	expect(t, told, "down 1")
	if peers := nodes[0].Peers(); len(peers) != 0 {
		t.Errorf("peers %+v", peers)
	}
}

func TestConfigIsValidated(t *testing.T) {
	_, err := New(Config{Peers: map[uint64]string{0: "a"}}, &fakeHandler{})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"Self.Node", "Self.Boot", "Listener", "raft id 0"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q says nothing of %s", err, want)
		}
	}
}

// Looks are counted, not time: a process that was stopped for long sees one
// tick late, and what has arrived meanwhile before the next.
func TestWatchdog(t *testing.T) {
	var w watchdog
	for range maxMissed - 1 {
		if w.tick() {
			t.Fatal("dead too early")
		}
	}
	w.heard()
	for i := range maxMissed {
		if w.tick() {
			t.Fatalf("dead %d ticks after a sign of life", i)
		}
	}
	if !w.tick() {
		t.Error("alive without a sign of life")
	}
}
