package lease

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"lockd/lease/leasepb"
)

// furnished is a state with something of everything in it.
func furnished(t *testing.T) *State {
	s := newScript(t)
	for _, line := range []string{
		"create a ttl=10s delay=5s owner=ann",
		"create b",
		"create c ns=other",
		"acquire jobs/x a key=k1",
		"acquire jobs/x b wait=5s attempt=1/1 owner=bob",
		"acquire jobs/s:shared a",
		"acquire jobs/s:shared b",
		"acquire other/p:permit:2/5 b",
		"acquire jobs/y,jobs/x,other/p:permit:1/5 d oneshot wait=7s attempt=1/2 key=k2",
		"acquire jobs/z e oneshot",
		"release-all jobs/z,jobs/w e key=k3",
		"create f delay=3s",
		"acquire jobs/closed f",
		"expire f",
	} {
		s.command(line)
	}
	return s.state
}

func TestSnapshotRoundTrip(t *testing.T) {
	s := furnished(t)
	data := encode(t, s.Snapshot())
	for name, r := range map[string]io.Reader{
		"at once":      bytes.NewReader(data),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(data)),
	} {
		restored, err := Decode(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(encode(t, restored.Snapshot()), data) {
			t.Errorf("%s: another state", name)
		}
		if restored.Stats() != s.Stats() || restored.Counter() != s.Counter() {
			t.Errorf("%s: %+v, want %+v", name, restored.Stats(), s.Stats())
		}
	}
}

// TestDecodeDamage: whatever byte is lost or changed, it is noticed.
func TestDecodeDamage(t *testing.T) {
	data := encode(t, furnished(t).Snapshot())
	for n := range data {
		if _, err := Decode(bytes.NewReader(data[:n])); !errors.Is(err, ErrCorrupt) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
		damaged := bytes.Clone(data)
		damaged[n] ^= 0x10
		if _, err := Decode(bytes.NewReader(damaged)); err == nil {
			t.Fatalf("byte %d changed, and not noticed", n)
		}
	}
	broken := errors.New("broken disk")
	if _, err := Decode(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// TestDecodeContradiction: what Encode would never write is refused though its
// checksum is right.
func TestDecodeContradiction(t *testing.T) {
	fresh := func() *State { return furnished(t) }
	for name, spoil := range map[string]func(*State){
		"two exclusive holders": func(s *State) {
			l := s.lock(lockName{"jobs", "x"})
			second := *l.holders[0]
			second.lease, second.token = l.queue[0].lease, l.last
			l.holders = append(l.holders, &second)
		},
		"a token above the counter": func(s *State) { s.lock(lockName{"jobs", "x"}).last = s.counter + 1 },
		"tokens out of order": func(s *State) {
			l := s.lock(lockName{"jobs", "s"})
			l.holders[0], l.holders[1] = l.holders[1], l.holders[0]
		},
		"a free lock": func(s *State) { s.ownLock(lockName{"jobs", "free"}) },
		"not owned":   func(s *State) { s.ranges = ranges{{1, 2}} },
		"a spent one-shot": func(s *State) {
			s.lease(s.lock(lockName{"jobs", "x"}).holders[0].lease).oneShot = true
			s.locks.Clear()
		},
		"a waiter left behind": func(s *State) { s.lock(lockName{"jobs", "x"}).holders = nil },
		"a lease without TTL":  func(s *State) { s.lease(s.lock(lockName{"jobs", "x"}).holders[0].lease).ttl = 0 },
		"a key without request": func(s *State) {
			s.keys.Set(&key{hash: hashText("lost"), kind: keyGranted, pending: true})
		},
		"permits over the limit": func(s *State) {
			l := s.lock(lockName{"other", "p"})
			p := *l.holders[0]
			p.permits = 6
			l.holders[0] = &p
		},
	} {
		s := fresh()
		spoil(s)
		if _, err := Decode(bytes.NewReader(encode(t, s.Snapshot()))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if name != "a token above the counter" && s.Check() == nil {
			t.Errorf("%s: Check does not notice", name)
		}
	}
}

func TestEncodeError(t *testing.T) {
	full := errors.New("disk full")
	if err := loaded(500, 10).Snapshot().Encode(failAfter{1000, full}); !errors.Is(err, full) {
		t.Error(err)
	}
}

// failAfter is a writer that has room for one write of n bytes at most.
type failAfter struct {
	n   int
	err error
}

func (w failAfter) Write(b []byte) (int, error) { return min(len(b), w.n), w.err }

// TestSnapshotWhileApplying encodes a snapshot on another goroutine while the
// state goes on. The race detector watches.
func TestSnapshotWhileApplying(t *testing.T) {
	s := loaded(200, 5)
	want := encode(t, s.Snapshot())
	snapshot := s.Snapshot()
	type encoded struct {
		data []byte
		err  error
	}
	done := make(chan encoded)
	go func() {
		var b bytes.Buffer
		err := snapshot.Encode(&b)
		done <- encoded{b.Bytes(), err}
	}()
	for i := range 200 {
		id := numberedLease(i)
		s.Apply(1, 1, releaseCommand(id, fmt.Sprintf("lock-%07d", i)))
		s.Apply(1, 1, acquireCommand(id, "hot", 5000))
		if i%2 == 0 {
			s.Apply(1, 1, &leasepb.Command{Op: &leasepb.Command_EndLease{EndLease: &leasepb.EndLease{Lease: id[:]}}})
		}
		s.Lock("jobs", "hot")
		s.Lease(id)
	}
	got := <-done
	if got.err != nil || !bytes.Equal(got.data, want) {
		t.Errorf("the snapshot is not of the moment at which it was taken: %v", got.err)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}
