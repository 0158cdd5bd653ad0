package transport

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/etcd/raft/v3/raftpb"
)

// content makes a snapshot of some size, the same each time.
func content(size int) (SnapshotHeader, []byte) {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return SnapshotHeader{
		Group:    3,
		Message:  raftpb.Message{Type: raftpb.MsgSnap, To: 2, Term: 9, Snapshot: raftpb.Snapshot{Metadata: raftpb.SnapshotMetadata{Index: 77}}},
		Size:     uint64(size),
		Checksum: xxhash.Sum64(b),
	}, b
}

// transfer sends a snapshot to node 2 and returns how it ended.
func transfer(t *testing.T, from *Transport, h SnapshotHeader, r io.Reader) error {
	t.Helper()
	done := make(chan error, 2)
	from.SendSnapshot(2, h, r, func(err error) { done <- err })
	return receive(t, "the end of the snapshot", done)
}

func TestSnapshotArrives(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, n network) {
		for _, size := range []int{0, 1, chunkBytes, 5<<20 + 17} {
			h, data := content(size)
			nodes := startNodes(t, n, &fakeHandler{}, &fakeHandler{receiveSnapshot: func(from uint64, got SnapshotHeader, r io.Reader) error {
				if from != 1 || got.Group != 3 || got.Message.Snapshot.Metadata.Index != 77 || got.Size != h.Size || got.Checksum != h.Checksum {
					t.Errorf("snapshot from %d: %+v", from, got)
				}
				b, err := io.ReadAll(r)
				if !bytes.Equal(b, data) {
					t.Errorf("%d bytes of %d, or others", len(b), size)
				}
				return err
			}})
			if err := transfer(t, nodes[0], h, bytes.NewReader(data)); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
			nodes[0].Close()
			nodes[1].Close()
		}
	})
}

// R21: whatever goes wrong, the sender hears of it.
func TestSnapshotFails(t *testing.T) {
	h, data := content(3 << 20)
	other := bytes.Clone(data)
	other[len(other)/2]++
	readAll := func(_ uint64, _ SnapshotHeader, r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		if err == nil {
			t.Error("the receiver was not told")
		}
		return err
	}
	for _, test := range []struct {
		name    string
		r       func() io.Reader
		receive func(uint64, SnapshotHeader, io.Reader) error
		want    string
	}{
		{"other bytes", func() io.Reader { return bytes.NewReader(other) }, readAll, "checksum"},
		{"too short", func() io.Reader { return bytes.NewReader(data[:len(data)-1]) }, readAll, "1 bytes early"},
		{"too long", func() io.Reader { return io.MultiReader(bytes.NewReader(data), strings.NewReader("x")) }, readAll, "longer"},
		{"source fails", func() io.Reader {
			return io.MultiReader(bytes.NewReader(data[:1<<20]), iotest.ErrReader(errors.New("bad disk")))
		}, readAll, "bad disk"},
		{"refused at once", func() io.Reader { return bytes.NewReader(data) }, func(uint64, SnapshotHeader, io.Reader) error { return errors.New("no such group") }, "no such group"},
		{"not read to its end", func() io.Reader { return bytes.NewReader(data) }, func(_ uint64, _ SnapshotHeader, r io.Reader) error {
			_, err := io.ReadFull(r, make([]byte, 10))
			return err
		}, "not read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEachNetwork(t, func(t *testing.T, n network) {
				nodes := startNodes(t, n, &fakeHandler{}, &fakeHandler{receiveSnapshot: test.receive})
				if err := transfer(t, nodes[0], h, test.r()); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("ended with %v", err)
				}
			})
		})
	}
}

func TestSnapshotToNobody(t *testing.T) {
	h, data := content(10)
	nodes := startNodes(t, loopback{}, &fakeHandler{})
	if err := transfer(t, nodes[0], h, bytes.NewReader(data)); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	nodes[0].SetPeer(2, "127.0.0.1:1")
	if err := transfer(t, nodes[0], h, bytes.NewReader(data)); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
}

func TestSnapshotEndsWithTheReceiver(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, n network) {
		begun, gone := make(chan struct{}), make(chan error, 1)
		nodes := startNodes(t, n, &fakeHandler{}, &fakeHandler{receiveSnapshot: func(_ uint64, _ SnapshotHeader, r io.Reader) error {
			close(begun)
			_, err := io.Copy(io.Discard, r)
			gone <- err
			return err
		}})
		source, feed := io.Pipe()
		defer feed.Close()
		h, data := content(1 << 20)
		done := make(chan error, 1)
		nodes[0].SendSnapshot(2, h, source, func(err error) { done <- err })
		go feed.Write(data[:len(data)/2])
		receive(t, "the snapshot", begun)
		go nodes[1].Close()
		if err := receive(t, "the receiver's end", gone); err == nil {
			t.Error("the receiver was not told")
		}
		go feed.Write(data[len(data)/2:])
		if err := receive(t, "the end of the snapshot", done); err == nil {
			t.Error("the sender was not told")
		}
	})
}

// A snapshot that nobody reads holds up neither messages nor requests.
func TestStalledSnapshotDelaysNothing(t *testing.T) {
	begun, gate := make(chan struct{}), make(chan struct{})
	got := make(chan uint64, 1)
	nodes := startNodes(t, loopback{}, &fakeHandler{}, &fakeHandler{
		receiveSnapshot: func(_ uint64, _ SnapshotHeader, r io.Reader) error {
			close(begun)
			<-gate
			_, err := io.Copy(io.Discard, r)
			return err
		},
		receiveMessages: func(_ uint64, msgs []GroupMessage) { got <- msgs[0].Message.Index },
	})
	h, data := content(connWindowBytes + 4<<20)
	done := make(chan error, 1)
	nodes[0].SendSnapshot(2, h, bytes.NewReader(data), func(err error) { done <- err })
	receive(t, "the snapshot", begun)
	for i := range uint64(100) {
		nodes[0].Send(2, numbered(i, 10))
		if n := receive(t, "a message", got); n != i {
			t.Fatalf("message %d, want %d", n, i)
		}
		answered := make(chan error, 1)
		nodes[0].Call(2, nil, func(_ []byte, err error) { answered <- err })
		if err := receive(t, "an answer", answered); err != nil {
			t.Fatal(err)
		}
	}
	if len(done) > 0 {
		t.Fatal("the snapshot was not held up")
	}
	close(gate)
	if err := receive(t, "the end of the snapshot", done); err != nil {
		t.Error(err)
	}
}
