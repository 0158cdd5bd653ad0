package storage

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"

	"go.etcd.io/etcd/raft/v3/raftpb"
)

// FuzzGroupKey decodes keys: one that is taken encodes to the same bytes, and
// lies within its group's bounds.
func FuzzGroupKey(f *testing.F) {
	for _, k := range []groupKey{
		{Group: 0, Kind: kindHardState},
		{Group: 7, Kind: kindSnapshot},
		{Group: math.MaxUint64, Kind: kindCompacted},
		{Group: math.MaxUint64, Kind: kindEntry, Index: math.MaxUint64},
	} {
		f.Add(k.encode())
	}
	f.Add([]byte{})
	f.Add([]byte("g2345678\x01"))
	f.Add([]byte("g23456789\x04"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := decodeGroupKey(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("got %v, want %v", err, ErrCorrupt)
			}
			return
		}
		if again := k.encode(); !bytes.Equal(again, b) {
			t.Fatalf("%x encodes to %x", b, again)
		}
		if lower, upper := groupBounds(k.Group); bytes.Compare(b, lower) < 0 || bytes.Compare(b, upper) >= 0 {
			t.Fatalf("%x is not in [%x, %x)", b, lower, upper)
		}
	})
}

// FuzzSnapshotMeta decodes snapshot records: what is taken survives a round.
func FuzzSnapshotMeta(f *testing.F) {
	f.Add(encodeSnapshotMeta(SnapshotMeta{}))
	f.Add(encodeSnapshotMeta(SnapshotMeta{
		Index: 1, Term: 2, Size: 3, Checksum: 4,
		ConfState: raftpb.ConfState{Voters: []uint64{1, 2}, Learners: []uint64{3}, VotersOutgoing: []uint64{4}, LearnersNext: []uint64{5}, AutoLeave: true},
	}))
	f.Add([]byte{recordVersion})
	f.Add(append([]byte{recordVersion + 1}, make([]byte, 16)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeSnapshotMeta(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("got %v, want %v", err, ErrCorrupt)
			}
			return
		}
		again, err := decodeSnapshotMeta(encodeSnapshotMeta(m))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v came back as %+v (%v)", m, again, err)
		}
	})
}

// FuzzCompacted decodes compaction records.
func FuzzCompacted(f *testing.F) {
	f.Add(encodeCompacted(1, 2))
	f.Add(encodeCompacted(math.MaxUint64, 0))
	f.Add([]byte{recordVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		index, term, err := decodeCompacted(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("got %v, want %v", err, ErrCorrupt)
			}
			return
		}
		if again := encodeCompacted(index, term); !bytes.Equal(again, b) {
			t.Fatalf("%x encodes to %x", b, again)
		}
	})
}
