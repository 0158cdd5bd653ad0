package lease

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cespare/xxhash/v2"

	"lockd/lease/leasepb"
)

// FuzzDecodeCommand: whatever can be decoded can be applied. It never panics,
// does the same everywhere, and leaves a sound state.
func FuzzDecodeCommand(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		cmd, err := DecodeCommand(data)
		if err != nil {
			return
		}
		s, twin := furnished(t), furnished(t)
		o := s.Apply(100, cmd.Term, cmd)
		for _, a := range o.Answers {
			if !a.Joined {
				a.Result()
			}
		}
		twin.Apply(200, cmd.Term, cmd)
		shake(t, s)
		shake(t, twin)
		if !bytes.Equal(encode(t, s.Snapshot()), encode(t, twin.Snapshot())) {
			t.Error("one log, two states")
		}
	})
}

// FuzzDecodeSnapshot: Decode never panics, and what it accepts is sound. The
// data are records without what is around them, so that a checksum is no
// obstacle.
func FuzzDecodeSnapshot(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := Decode(bytes.NewReader(data)); err == nil {
			t.Error("records alone are no snapshot")
		}
		s, err := Decode(bytes.NewReader(seal(data)))
		if err != nil {
			return
		}
		first := encode(t, s.Snapshot())
		again, err := Decode(bytes.NewReader(first))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encode(t, again.Snapshot()), first) {
			t.Error("what was decoded is encoded in two ways")
		}
		shake(t, s)
	})
}

// seal makes a snapshot of records.
func seal(records []byte) []byte {
	b := append([]byte(snapshotMagic), snapshotVersion)
	var count uint64
	for rest := records; len(rest) > 0; count++ {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n == 0 || n > uint64(len(rest)-size) {
			break
		}
		b = append(b, rest[:size+int(n)]...)
		rest = rest[size+int(n):]
	}
	b = append(b, 0)
	b = binary.BigEndian.AppendUint64(b, count)
	return binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
}

// shake ends all waits, lock-delays, keys and leases of a state one by one.
func shake(t *testing.T, s *State) {
	must(t, s)
	var timers []TimerChange
	s.Timers(func(c TimerChange) bool {
		timers = append(timers, c)
		return true
	})
	for i := len(timers) - 1; i >= 0; i-- {
		cmd := ending(timers[i].ID)
		if r := s.Apply(1000, 1, cmd).Result; r.Code != leasepb.Code_OK {
			t.Fatalf("%v: %v", cmd, r)
		}
		must(t, s)
	}
}

// ending is what the leader of term 1 proposes when a timer fires.
func ending(id TimerID) *leasepb.Command {
	cmd := &leasepb.Command{Term: 1}
	ref := lockName{id.Namespace, id.Lock}.ref()
	switch id.Kind {
	case TimerWait:
		cmd.Op = &leasepb.Command_Cancel{Cancel: &leasepb.Cancel{
			Lease: id.Lease[:], Lock: ref, Attempt: Attempt{Boot: id.Boot, Number: id.Number}.message(),
		}}
	case TimerDelay:
		cmd.Op = &leasepb.Command_Open{Open: &leasepb.Open{Locks: []*leasepb.Closed{{Lock: ref, Index: id.Number}}}}
	case TimerKey:
		cmd.Op = &leasepb.Command_Forget{Forget: &leasepb.Forget{Keys: []*leasepb.ForgetKey{{Hash: id.Key[:], Index: id.Number}}}}
	case TimerLease:
		cmd.Op = &leasepb.Command_Expire{Expire: &leasepb.Expire{Leases: [][]byte{id.Lease[:]}}}
	}
	return cmd
}

func must(t *testing.T, s *State) {
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
}
