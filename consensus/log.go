package consensus

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/raft/v3"
	"go.etcd.io/etcd/raft/v3/raftpb"

	"lockd/consensus/storage"
)

// maxCachedLog bounds the bytes of a group's newest entries kept in memory;
// followers further behind are served from the store.
const maxCachedLog = 4 << 20

// groupLog is the log of a group as raft reads it: the newest entries from
// memory, older ones from the store. It implements raft.Storage. An entry is
// in it from the moment raft hands it over; whether it is durable is the
// replica's business.
type groupLog struct {
	group uint64
	store storage.Store

	hard      raftpb.HardState // as of the start; raft asks once
	snapshot  storage.SnapshotMeta
	first     uint64 // index of the first entry of the log
	firstTerm uint64 // term of the entry before it
	last      uint64
	tail      []raftpb.Entry // the newest ones, contiguous, ending at last
	tailBytes uint64
}

func newGroupLog(store storage.Store, st storage.GroupState) *groupLog {
	return &groupLog{
		group: st.Group, store: store, hard: st.HardState, snapshot: st.Snapshot,
		first: st.First, firstTerm: st.FirstTerm, last: st.Last,
	}
}

// InitialState implements raft.Storage.
func (l *groupLog) InitialState() (raftpb.HardState, raftpb.ConfState, error) {
	return l.hard, l.snapshot.ConfState, nil
}

// FirstIndex implements raft.Storage.
func (l *groupLog) FirstIndex() (uint64, error) { return l.first, nil }

// LastIndex implements raft.Storage.
func (l *groupLog) LastIndex() (uint64, error) { return l.last, nil }

func (l *groupLog) tailFirst() uint64 { return l.last + 1 - uint64(len(l.tail)) }

// Term implements raft.Storage.
func (l *groupLog) Term(i uint64) (uint64, error) {
	switch {
	case i == l.first-1:
		return l.firstTerm, nil
	case i == l.snapshot.Index:
		return l.snapshot.Term, nil
	case i < l.first:
		return 0, raft.ErrCompacted
	case i > l.last:
		return 0, raft.ErrUnavailable
	case i >= l.tailFirst():
		return l.tail[i-l.tailFirst()].Term, nil
	}
	ents, err := l.stored(i, i+1, 0)
	if err != nil {
		return 0, err
	}
	return ents[0].Term, nil
}

// Entries implements raft.Storage.
func (l *groupLog) Entries(lo, hi, maxSize uint64) ([]raftpb.Entry, error) {
	switch {
	case lo < l.first:
		return nil, raft.ErrCompacted
	case hi > l.last+1:
		return nil, raft.ErrUnavailable
	}
	from := l.tailFirst()
	if lo < from {
		return l.stored(lo, min(hi, from), maxSize)
	}
	return limitSize(l.tail[lo-from:hi-from:hi-from], maxSize), nil
}

func (l *groupLog) stored(lo, hi, maxSize uint64) ([]raftpb.Entry, error) {
	ents, err := l.store.Entries(l.group, lo, hi, maxSize)
	switch {
	case errors.Is(err, storage.ErrCompacted):
		return nil, raft.ErrCompacted
	case errors.Is(err, storage.ErrUnavailable):
		return nil, raft.ErrUnavailable
	case err != nil:
		return nil, fmt.Errorf("group %d: entries %d to %d: %w", l.group, lo, hi, err)
	}
	return ents, nil
}

func limitSize(ents []raftpb.Entry, maxSize uint64) []raftpb.Entry {
	var size uint64
	for i := range ents {
		size += uint64(ents[i].Size())
		if size > maxSize && i > 0 {
			return ents[:i]
		}
	}
	return ents
}

// Snapshot implements raft.Storage. There always is one: a group begins with
// the snapshot of an empty state, and nothing is compacted before a newer one
// is durable (R21). The message carries only what names the snapshot's file;
// its bytes travel on a stream of their own.
func (l *groupLog) Snapshot() (raftpb.Snapshot, error) {
	if l.snapshot.Index+1 < l.first {
		return raftpb.Snapshot{}, raft.ErrSnapshotTemporarilyUnavailable
	}
	return snapshotMessage(l.snapshot), nil
}

// append takes entries from raft; those at and after the first one's index go.
func (l *groupLog) append(ents []raftpb.Entry) {
	if len(ents) == 0 {
		return
	}
	at := ents[0].Index
	if at > l.last+1 || at < l.first {
		panic(fmt.Sprintf("group %d: append at %d to a log of %d to %d", l.group, at, l.first, l.last))
	}
	switch from := l.tailFirst(); {
	case at == l.last+1:
	case at < from:
		l.tail, l.tailBytes = nil, 0
	default:
		for i := at - from; i < uint64(len(l.tail)); i++ {
			l.tailBytes -= uint64(l.tail[i].Size())
		}
		// Clipped, because raft and messages may still refer to what is cut.
		l.tail = slices.Clip(l.tail[:at-from])
	}
	l.tail = append(l.tail, ents...)
	for i := range ents {
		l.tailBytes += uint64(ents[i].Size())
	}
	l.last = ents[len(ents)-1].Index
}

// trim drops cached entries up to durable while the cache is over its bound.
func (l *groupLog) trim(durable uint64) {
	if l.tailBytes <= maxCachedLog {
		return
	}
	from := l.tailFirst()
	n := 0
	for n < len(l.tail) && from+uint64(n) <= durable && l.tailBytes > maxCachedLog/2 {
		l.tailBytes -= uint64(l.tail[n].Size())
		n++
	}
	l.tail = append([]raftpb.Entry(nil), l.tail[n:]...)
}

// compact drops the entries up to and including index.
func (l *groupLog) compact(index, term uint64) {
	if index < l.first {
		return
	}
	if from := l.tailFirst(); index >= from {
		n := index - from + 1
		for i := range n {
			l.tailBytes -= uint64(l.tail[i].Size())
		}
		l.tail = append([]raftpb.Entry(nil), l.tail[n:]...)
	}
	l.first, l.firstTerm = index+1, term
}

// install begins the log anew behind a snapshot.
func (l *groupLog) install(meta storage.SnapshotMeta) {
	l.snapshot = meta
	l.first, l.firstTerm, l.last = meta.Index+1, meta.Term, meta.Index
	l.tail, l.tailBytes = nil, 0
}
