// Package storage keeps the logs of all raft groups of a node on disk.
//
// It knows entries, hard states and snapshot files, and nothing of what raft
// does with them. Write is the only way to change a log; one Write with Sync
// is one fsync, whatever the number of groups in it.
//
// Rules kept by a Store:
//  1. when Write with Sync has returned nil, everything in it and before it
//     survives a crash of the process and of the machine;
//  2. the parts of one GroupWrite are atomic: after a crash all are there, or
//     none is; the same holds for a whole Write;
//  3. a log has no holes: entries are appended at or below its last index plus
//     one, and what follows the first appended index is cut;
//  4. an error of Write or Sync is final: the store refuses everything after it.
//
// Write is called by one goroutine. All else may be called by any.
package storage

import (
	"errors"
	"io"

	"go.etcd.io/etcd/raft/v3/raftpb"
)

// ErrCompacted comes for entries that a snapshot has replaced.
var ErrCompacted = errors.New("storage: entries were compacted")

// ErrUnavailable comes for entries that are not in the log.
var ErrUnavailable = errors.New("storage: entries are not there")

// ErrCorrupt comes when what is on disk fails its checksum or has holes. The
// replica cannot go on with it; the error names the file and says how to
// re-seed the node.
var ErrCorrupt = errors.New("storage: corrupt")

// SnapshotMeta describes the snapshot that a group's log begins behind.
type SnapshotMeta struct {
	Index     uint64
	Term      uint64
	ConfState raftpb.ConfState
	Size      uint64 // bytes of its file
	Checksum  uint64 // xxhash64 of its file
}

// GroupState is what a group has on disk.
type GroupState struct {
	Group     uint64
	HardState raftpb.HardState
	Snapshot  SnapshotMeta // Index 0: none yet
	// First and Last are the indexes of the log's ends; an empty log has
	// Last == First-1. First may lie at or below Snapshot.Index: the snapshot
	// is taken before the log behind it is cut.
	First, Last uint64
	// FirstTerm is the term of the entry at First-1.
	FirstTerm uint64
}

// GroupWrite changes one group. Its parts are atomic, and take effect in this
// order: an installed snapshot, entries, a snapshot of the own log, compaction,
// hard state. A write that would break a rule of the log (a hole, an append over
// committed entries, a commit beyond the log's end) is refused, and as it is a
// bug or corruption, that too is final.
type GroupWrite struct {
	Group uint64
	// HardState is written unless it is empty.
	HardState raftpb.HardState
	// Entries are appended; entries at and after the first one's index go.
	Entries []raftpb.Entry
	// Snapshot, if set, becomes the group's snapshot. Its file must be there
	// (SnapshotWriter.Close). With Install the whole log goes and begins anew
	// behind it, otherwise the log stays.
	Snapshot *SnapshotMeta
	Install  bool
	// CompactTo, if not 0, drops the entries up to and including it. It is
	// never above the group's snapshot.
	CompactTo     uint64
	CompactToTerm uint64 // the term of the entry at CompactTo
}

// Store is one node's storage for all its groups.
type Store interface {
	// Groups lists what is there, in the order of group ids.
	Groups() ([]GroupState, error)
	// Write applies all parts atomically, with one fsync if sync is set, even
	// if writes is empty. A group may come several times, in order. A Write
	// with a snapshot is always synced, as the file that it replaces goes.
	Write(writes []GroupWrite, sync bool) error
	// Entries returns the entries of [lo, hi), cut off at maxBytes but at
	// least one; ErrCompacted and ErrUnavailable as in raft.Storage. They may
	// not be written to. A Write that hangs in its sync does not hold it up.
	Entries(group, lo, hi, maxBytes uint64) ([]raftpb.Entry, error)
	// DropGroup removes all that a group has.
	DropGroup(group uint64) error

	// CreateSnapshot begins a snapshot file. Nothing refers to it until a
	// Write names it.
	CreateSnapshot(group, index uint64) (SnapshotWriter, error)
	// OpenSnapshot opens the file of a snapshot. Reading it to the end gives
	// ErrCorrupt instead of io.EOF if size or checksum are not those of meta.
	// The file stays readable after a newer snapshot has replaced it.
	OpenSnapshot(group uint64, meta SnapshotMeta) (io.ReadCloser, error)

	// Get and Set keep small records of the node itself (its name, its
	// cluster). Get returns nil for what was never set. Set is durable when it
	// returns.
	Get(key string) ([]byte, error)
	Set(key string, value []byte) error

	// LogBytes tells how many bytes a group's entries take, for deciding when
	// to take a snapshot.
	LogBytes(group uint64) uint64

	// Close syncs what was written. No other call may be under way or follow.
	Close() error
}

// SnapshotWriter writes a snapshot file.
type SnapshotWriter interface {
	io.Writer
	// Close makes the file durable and returns its size and checksum. A file
	// that no Write names goes when its group gets another snapshot at or above
	// its index, or when the store is opened again.
	Close() (size, checksum uint64, err error)
	// Abort drops the file, before or after Close, unless a Write has named it.
	Abort()
}
