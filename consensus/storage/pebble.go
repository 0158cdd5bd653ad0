package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
	"go.etcd.io/etcd/raft/v3"
	"go.etcd.io/etcd/raft/v3/raftpb"
)

// PebbleConfig says where a Pebble store lives.
type PebbleConfig struct {
	// FS is the file system, vfs.Default in production.
	FS vfs.FS
	// Dir is the data directory. It is made if it is not there.
	Dir string
	// Logger gets what Pebble has to say.
	Logger zerolog.Logger
	// OnFatal is called once when the store cannot go on: a write or an fsync
	// has failed, or data were found corrupt (then it is an ErrCorrupt). The
	// store refuses everything from then on, and the process should say why
	// and end. It is called by whichever goroutine met the error, maybe within
	// Write and with locks held: it may not block, nor call the store. A Write
	// that waits for a flush which has failed never returns.
	OnFatal func(error)
}

// Pebble is a Store on disk. All groups share one write-ahead log.
//
// Traps of Pebble v2.1.7 that it stays out of:
//   - Only WALs begun at FormatNewest tell corruption from a torn tail, and the
//     first WAL of a new store is begun before it reaches that format; so a new
//     store is closed and opened again (open.go).
//   - After a failed fsync of the WAL, DB.Apply calls Logger.Fatalf, and if that
//     returns, it returns nil. Errors of a WAL's rotation are panics with a lock
//     held, so that not even Close returns after them. Those of flushes are
//     retried for ever (commit, fuse.go).
//   - A commit of an empty batch returns at once, even with Sync; so no batch
//     is empty (begin).
//   - What is lost at the end of a WAL often looks like a torn tail (mark.go).
//   - The marker of a new manifest is made before the manifest's own name is
//     durable, and an fsync of a directory that fails is a panic (fuse.go).
//   - A WALDir that is a path keeps the store where it is (options).
//   - vfs.File.Write may change the bytes it is given (snapshotfile.go).
//   - EventListener.DataCorruption calls Logger.Fatalf unless it is set.
type Pebble struct {
	db        *pebble.DB
	fuse      *fuse
	dirLock   io.Closer
	dir       string
	snapshots *snapshotDir
	mark      *mark

	mu     sync.RWMutex // guards groups, the map
	groups map[uint64]*group

	// writing is held by whoever changes the store; it guards what follows.
	writing sync.Mutex
	batch   *pebble.Batch
	number  uint64   // of the last commit
	parts   []*group // of the present Write, in its order
	closed  bool
}

var _ Store = (*Pebble)(nil)

// errClosed comes for everything after Close.
var errClosed = errors.New("storage: closed")

// group returns what there is of a group, or nil.
func (s *Pebble) group(id uint64) *group {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.groups[id]
}

func (s *Pebble) Groups() ([]GroupState, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	states := make([]GroupState, 0, len(s.groups))
	for _, g := range s.groups {
		g.mu.RLock()
		states = append(states, g.state)
		g.mu.RUnlock()
	}
	return sortStates(states), nil
}

func (s *Pebble) Write(writes []GroupWrite, sync bool) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.stage(writes); err != nil {
		err = fmt.Errorf("storage: write refused: %w", err)
		s.fuse.blow(err)
		return err
	}
	for i := range writes {
		s.parts[i].shrink(&writes[i])
	}
	if err := s.commit(sync || mustSync(writes)); err != nil {
		return err
	}
	for i := range writes {
		s.parts[i].advance(&writes[i])
	}
	for i := range writes {
		s.parts[i].publish()
		if w := &writes[i]; w.Snapshot != nil {
			s.snapshots.named(w.Group, s.parts[i].staged.Snapshot)
		}
	}
	return nil
}

// stage puts writes into the batch, and their groups into parts.
func (s *Pebble) stage(writes []GroupWrite) error {
	s.begin()
	s.parts = s.parts[:0]
	for i := range writes {
		w := &writes[i]
		g := s.group(w.Group)
		if g == nil {
			g = newGroup(w.Group)
			s.mu.Lock()
			s.groups[w.Group] = g
			s.mu.Unlock()
		}
		if g.write != s.number {
			g.write, g.staged = s.number, g.state
		}
		next, err := g.staged.next(w)
		if err != nil {
			return err
		}
		if w.Snapshot != nil {
			if err := s.snapshots.have(w.Group, *w.Snapshot); err != nil {
				return err
			}
		}
		if err := s.encode(w, g.staged, next); err != nil {
			return err
		}
		g.staged = next
		s.parts = append(s.parts, g)
	}
	return nil
}

// encode puts one group's write into the batch; of two operations on a key the
// later one counts.
func (s *Pebble) encode(w *GroupWrite, old, next GroupState) error {
	last := old.Last
	if w.Install {
		if err := s.deleteEntries(w.Group, old.First, last+1); err != nil {
			return err
		}
		last = w.Snapshot.Index
	}
	for i := range w.Entries {
		if err := s.putEntry(w.Group, &w.Entries[i]); err != nil {
			return err
		}
	}
	if n := len(w.Entries); n > 0 {
		if err := s.deleteEntries(w.Group, w.Entries[n-1].Index+1, last+1); err != nil {
			return err
		}
	}
	if w.Snapshot != nil {
		s.put(groupKey{Group: w.Group, Kind: kindSnapshot}, encodeSnapshotMeta(*w.Snapshot))
	}
	if next.First != old.First {
		if !w.Install {
			if err := s.deleteEntries(w.Group, old.First, next.First); err != nil {
				return err
			}
		}
		s.put(groupKey{Group: w.Group, Kind: kindCompacted}, encodeCompacted(next.First-1, next.FirstTerm))
	}
	if !raft.IsEmptyHardState(w.HardState) {
		return s.putHardState(w.Group, w.HardState)
	}
	return nil
}

// putEntry marshals an entry into the batch, without a buffer in between.
func (s *Pebble) putEntry(group uint64, e *raftpb.Entry) error {
	op := s.batch.SetDeferred(entryKeyLen, e.Size())
	groupKey{Group: group, Kind: kindEntry, Index: e.Index}.put(op.Key)
	if _, err := e.MarshalToSizedBuffer(op.Value); err != nil {
		return fmt.Errorf("marshal entry: %w", err)
	}
	return op.Finish()
}

func (s *Pebble) putHardState(group uint64, hs raftpb.HardState) error {
	op := s.batch.SetDeferred(recordKeyLen, hs.Size())
	groupKey{Group: group, Kind: kindHardState}.put(op.Key)
	if _, err := hs.MarshalToSizedBuffer(op.Value); err != nil {
		return fmt.Errorf("marshal hard state: %w", err)
	}
	return op.Finish()
}

func (s *Pebble) put(key groupKey, value []byte) {
	op := s.batch.SetDeferred(key.len(), len(value))
	key.put(op.Key)
	copy(op.Value, value)
	_ = op.Finish() // fails only for batches with an index, which ours has not
}

// deleteEntries deletes the entries of [lo, hi) with one tombstone.
func (s *Pebble) deleteEntries(group, lo, hi uint64) error {
	if lo >= hi {
		return nil
	}
	return s.batch.DeleteRange(
		groupKey{Group: group, Kind: kindEntry, Index: lo}.encode(),
		groupKey{Group: group, Kind: kindEntry, Index: hi}.encode(), nil)
}

// begin begins a commit. Its number, which every batch carries, also makes that
// one with nothing else in it is synced, and all before it.
func (s *Pebble) begin() {
	s.batch.Reset()
	s.number++
	op := s.batch.SetDeferred(1, 8)
	op.Key[0] = spaceCommit
	binary.BigEndian.PutUint64(op.Value, s.number)
	_ = op.Finish() // fails only for batches with an index, which ours has not
}

// commit commits the batch. Its error is final.
func (s *Pebble) commit(sync bool) (err error) {
	defer func() {
		// Pebble panics if it cannot rotate its WAL, and holds its commit lock
		// from then on.
		if r := recover(); r != nil {
			s.fuse.blow(fmt.Errorf("storage: commit: %v", r))
			err = s.fuse.err()
		}
	}()
	options := pebble.NoSync
	if sync {
		options = pebble.Sync
	}
	if err := s.db.Apply(s.batch, options); err != nil {
		return s.fail(fmt.Errorf("commit: %w", err))
	}
	// Apply returns nil after a failed fsync (it told our logger first).
	if err := s.fuse.err(); err != nil || !sync {
		return err
	}
	if err := s.mark.set(s.number); err != nil {
		return s.fail(err)
	}
	return nil
}

// fail makes err final.
func (s *Pebble) fail(err error) error {
	s.fuse.blow(fmt.Errorf("storage: %w", err))
	return s.fuse.err()
}

// usable tells whether the store still takes writes.
func (s *Pebble) usable() error {
	if s.closed {
		return errClosed
	}
	return s.fuse.err()
}

func (s *Pebble) Entries(group, lo, hi, maxBytes uint64) ([]raftpb.Entry, error) {
	g := s.group(group)
	if g == nil {
		return nil, ErrUnavailable
	}
	if err := g.bounds(lo, hi); err != nil || lo >= hi {
		return nil, err
	}
	entries, err := s.readEntries(group, lo, hi, maxBytes)
	if errors.Is(err, ErrCorrupt) {
		// A Write may have taken the entries away meanwhile.
		if gone := g.bounds(lo, hi); gone != nil {
			return nil, gone
		}
	}
	return entries, inDir(s.dir, err)
}

// readEntries reads entries from disk, which must all be there.
func (s *Pebble) readEntries(group, lo, hi, maxBytes uint64) (entries []raftpb.Entry, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: groupKey{Group: group, Kind: kindEntry, Index: lo}.encode(),
		UpperBound: groupKey{Group: group, Kind: kindEntry, Index: hi}.encode(),
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	index, size := lo, uint64(0)
	for valid := it.First(); valid && index < hi; valid = it.Next() {
		key, err := decodeGroupKey(it.Key())
		if err != nil {
			return nil, err
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		size += uint64(len(value))
		if size > maxBytes && index > lo {
			return entries, nil
		}
		var e raftpb.Entry
		if err := e.Unmarshal(value); err != nil || e.Index != index || key.Index != index {
			return nil, fmt.Errorf("group %d: instead of entry %d there is %d (entry %d, %v): %w",
				group, index, key.Index, e.Index, err, ErrCorrupt)
		}
		entries = append(entries, e)
		index++
	}
	if err := it.Error(); err != nil {
		return nil, err
	}
	if index < hi {
		return nil, fmt.Errorf("group %d: entry %d is missing: %w", group, index, ErrCorrupt)
	}
	return entries, nil
}

func (s *Pebble) DropGroup(id uint64) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if s.group(id) == nil {
		return nil
	}
	s.mu.Lock()
	delete(s.groups, id)
	s.mu.Unlock()
	s.begin()
	lower, upper := groupBounds(id)
	if err := s.batch.DeleteRange(lower, upper, nil); err != nil {
		return s.fail(err)
	}
	if err := s.commit(true); err != nil {
		return err
	}
	s.snapshots.drop(id)
	return nil
}

func (s *Pebble) CreateSnapshot(group, index uint64) (SnapshotWriter, error) {
	if err := s.fuse.err(); err != nil {
		return nil, err
	}
	return s.snapshots.create(group, index)
}

func (s *Pebble) OpenSnapshot(group uint64, meta SnapshotMeta) (io.ReadCloser, error) {
	r, err := s.snapshots.open(group, meta)
	if err == nil || !oserror.IsNotExist(err) {
		return r, err
	}
	if g := s.group(group); g != nil {
		if now := g.snapshot(); now.Index == meta.Index && now.Checksum == meta.Checksum {
			err = fmt.Errorf("snapshot %s is missing: %w", s.snapshots.path(group, meta.Index, meta.Checksum), ErrCorrupt)
			return nil, inDir(s.dir, err)
		}
	}
	return nil, fmt.Errorf("snapshot of group %d at %d was replaced: %w", group, meta.Index, ErrUnavailable)
}

func (s *Pebble) Get(key string) ([]byte, error) {
	value, closer, err := s.db.Get(nodeKey(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, inDir(s.dir, err)
	}
	value = append([]byte{}, value...)
	return value, closer.Close()
}

func (s *Pebble) Set(key string, value []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	s.begin()
	if err := s.batch.Set(nodeKey(key), value, nil); err != nil {
		return s.fail(err)
	}
	return s.commit(true)
}

func (s *Pebble) LogBytes(group uint64) uint64 {
	g := s.group(group)
	if g == nil {
		return 0
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.sizes.total
}

// Close releases the data directory. After a fatal error it returns that, and
// leaves Pebble as it is: its locks may be held for ever, and the process is
// about to end.
func (s *Pebble) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.fuse.err()
	if err == nil {
		err = s.fuse.guard(func() error {
			return errors.Join(s.batch.Close(), s.db.Close(), s.mark.close())
		})
	}
	return errors.Join(err, s.dirLock.Close())
}
