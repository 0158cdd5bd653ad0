package transport

import (
	"sync/atomic"
	"testing"

	"go.etcd.io/etcd/raft/v3/raftpb"
)

// numbered is a message that carries n where a test finds it again.
func numbered(n uint64, size int) []GroupMessage {
	return []GroupMessage{{Group: 7, Message: raftpb.Message{
		Type: raftpb.MsgApp, From: 1, To: 2, Term: 1, Index: n,
		Entries: []raftpb.Entry{{Index: n + 1, Data: make([]byte, size)}},
	}}}
}

func TestMessagesArriveInOrder(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, n network) {
		const count = 5000
		got := make(chan GroupMessage, count)
		nodes := startNodes(t, n, &fakeHandler{}, &fakeHandler{receiveMessages: func(from uint64, msgs []GroupMessage) {
			if from != 1 {
				t.Errorf("messages from %d", from)
			}
			for _, m := range msgs {
				got <- m
			}
		}})
		for i := range uint64(count) {
			nodes[0].Send(2, numbered(i, 100))
		}
		for i := range uint64(count) {
			m := receive(t, "a message", got)
			if m.Group != 7 || m.Message.Index != i || len(m.Message.Entries[0].Data) != 100 {
				t.Fatalf("message %d is %+v", i, m)
			}
		}
		if s := nodes[0].Peers()[0]; s.Sent != count || s.Dropped != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

// A message may be larger than a frame, and the frames around it stay whole.
func TestLargeMessage(t *testing.T) {
	got := make(chan GroupMessage, 3)
	nodes := startNodes(t, loopback{}, &fakeHandler{}, &fakeHandler{receiveMessages: func(_ uint64, msgs []GroupMessage) {
		for _, m := range msgs {
			got <- m
		}
	}})
	for i, size := range []int{10, 5 * frameBytes, 10} {
		nodes[0].Send(2, numbered(uint64(i), size))
	}
	for i, size := range []int{10, 5 * frameBytes, 10} {
		if m := receive(t, "a message", got).Message; m.Index != uint64(i) || len(m.Entries[0].Data) != size {
			t.Errorf("message %d has %d bytes", m.Index, len(m.Entries[0].Data))
		}
	}
}

// A receiver that does not read makes the queue fill, and what is dropped is
// counted and told. What was taken arrives, in order.
func TestFullQueueDropsAndTells(t *testing.T) {
	var received, last atomic.Uint64
	gate := make(chan struct{})
	told := make(chan uint64, 100)
	nodes := startNodes(t, loopback{},
		&fakeHandler{unreachable: func(to uint64) { told <- to }},
		&fakeHandler{receiveMessages: func(_ uint64, msgs []GroupMessage) {
			<-gate
			for _, m := range msgs {
				if m.Message.Index <= last.Load() {
					t.Errorf("message %d after %d", m.Message.Index, last.Load())
				}
				last.Store(m.Message.Index)
				received.Add(1)
			}
		}})
	status := func() PeerStatus { return nodes[0].Peers()[0] }
	for i := uint64(1); status().Dropped == 0; i++ {
		nodes[0].Send(2, numbered(i, frameBytes))
	}
	if to := receive(t, "Unreachable", told); to != 2 {
		t.Errorf("told of %d", to)
	}
	close(gate)
	waitFor(t, "all that was taken", func() bool { return received.Load() == status().Sent })
}

func TestMessagesToNobodyAreTold(t *testing.T) {
	told := make(chan uint64, 10)
	nodes := startNodes(t, loopback{}, &fakeHandler{unreachable: func(to uint64) { told <- to }})
	nodes[0].Send(9, numbered(1, 1))
	if to := receive(t, "Unreachable", told); to != 9 {
		t.Errorf("told of %d", to)
	}
	nodes[0].SetPeer(8, "127.0.0.1:1")
	nodes[0].Send(8, numbered(1, 1))
	if to := receive(t, "Unreachable", told); to != 8 {
		t.Errorf("told of %d", to)
	}
	if s := nodes[0].Peers()[0]; s.Dropped != 1 || s.Sent != 0 || s.Connected {
		t.Errorf("status %+v", s)
	}
}
