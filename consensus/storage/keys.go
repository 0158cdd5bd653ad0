package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"go.etcd.io/etcd/raft/v3/raftpb"
)

// Keys sort by group, then kind, then index, so that one pass over the store
// meets a group's records before its entries, and those in the log's order:
//
//	'g' group(8) kind(1)             hard state, snapshot, compacted
//	'g' group(8) kindEntry index(8)  an entry
//	'n' name                         a record of the node itself
//	'w'                              the number of the last commit
const (
	spaceGroup  = 'g'
	spaceNode   = 'n'
	spaceCommit = 'w'
)

// keyKind tells what a group's key holds.
type keyKind byte

const (
	kindHardState keyKind = 1 // raftpb.HardState
	kindSnapshot  keyKind = 2 // encodeSnapshotMeta
	kindCompacted keyKind = 3 // encodeCompacted: where the log begins
	kindEntry     keyKind = 4 // raftpb.Entry
)

const (
	recordKeyLen = 1 + 8 + 1
	entryKeyLen  = recordKeyLen + 8
)

// groupKey is a decoded key of a group. Index is 0 but for entries.
type groupKey struct {
	Group uint64
	Kind  keyKind
	Index uint64
}

// len is the length of the encoded key.
func (k groupKey) len() int {
	if k.Kind == kindEntry {
		return entryKeyLen
	}
	return recordKeyLen
}

// put encodes k into b, which has room for k.len bytes.
func (k groupKey) put(b []byte) {
	b[0] = spaceGroup
	binary.BigEndian.PutUint64(b[1:], k.Group)
	b[9] = byte(k.Kind)
	if k.Kind == kindEntry {
		binary.BigEndian.PutUint64(b[recordKeyLen:], k.Index)
	}
}

func (k groupKey) encode() []byte {
	b := make([]byte, k.len())
	k.put(b)
	return b
}

// decodeGroupKey is the reverse of encode.
func decodeGroupKey(b []byte) (groupKey, error) {
	if len(b) < recordKeyLen || b[0] != spaceGroup {
		return groupKey{}, fmt.Errorf("key %x is not a group's: %w", b, ErrCorrupt)
	}
	k := groupKey{Group: binary.BigEndian.Uint64(b[1:]), Kind: keyKind(b[9])}
	if k.Kind < kindHardState || k.Kind > kindEntry || len(b) != k.len() {
		return groupKey{}, fmt.Errorf("key %x is of no known kind: %w", b, ErrCorrupt)
	}
	if k.Kind == kindEntry {
		k.Index = binary.BigEndian.Uint64(b[recordKeyLen:])
	}
	return k, nil
}

// groupBounds returns the keys between which a group has all it has.
func groupBounds(group uint64) (lower, upper []byte) {
	lower = binary.BigEndian.AppendUint64([]byte{spaceGroup}, group)
	if group == math.MaxUint64 {
		return lower, []byte{spaceGroup + 1}
	}
	return lower, binary.BigEndian.AppendUint64([]byte{spaceGroup}, group+1)
}

func nodeKey(name string) []byte {
	return append([]byte{spaceNode}, name...)
}

// recordVersion begins the records that are not protobuf, so that a later
// format is refused instead of misread.
const recordVersion = 1

func encodeSnapshotMeta(m SnapshotMeta) []byte {
	raftMeta := raftpb.SnapshotMetadata{ConfState: m.ConfState, Index: m.Index, Term: m.Term}
	const head = 1 + 8 + 8
	b := make([]byte, head+raftMeta.Size())
	b[0] = recordVersion
	binary.BigEndian.PutUint64(b[1:], m.Size)
	binary.BigEndian.PutUint64(b[9:], m.Checksum)
	if _, err := raftMeta.MarshalToSizedBuffer(b[head:]); err != nil {
		panic(fmt.Sprintf("storage: marshal snapshot metadata: %v", err)) // the buffer has its size
	}
	return b
}

func decodeSnapshotMeta(b []byte) (SnapshotMeta, error) {
	const head = 1 + 8 + 8
	if len(b) < head || b[0] != recordVersion {
		return SnapshotMeta{}, fmt.Errorf("snapshot record %x: %w", b[:min(len(b), head)], ErrCorrupt)
	}
	var raftMeta raftpb.SnapshotMetadata
	if err := raftMeta.Unmarshal(b[head:]); err != nil {
		return SnapshotMeta{}, fmt.Errorf("snapshot record: %w: %w", err, ErrCorrupt)
	}
	return SnapshotMeta{
		Index:     raftMeta.Index,
		Term:      raftMeta.Term,
		ConfState: raftMeta.ConfState,
		Size:      binary.BigEndian.Uint64(b[1:]),
		Checksum:  binary.BigEndian.Uint64(b[9:]),
	}, nil
}

// encodeCompacted is the record of the last entry that is not in the log any
// more; raft asks for its term when it appends the next one.
func encodeCompacted(index, term uint64) []byte {
	b := make([]byte, 0, 1+8+8)
	b = append(b, recordVersion)
	b = binary.BigEndian.AppendUint64(b, index)
	return binary.BigEndian.AppendUint64(b, term)
}

func decodeCompacted(b []byte) (index, term uint64, err error) {
	if len(b) != 1+8+8 || b[0] != recordVersion {
		return 0, 0, fmt.Errorf("compaction record %x: %w", bytes.Clone(b), ErrCorrupt)
	}
	return binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:]), nil
}
