package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/etcd/raft/v3/raftpb"
)

// MemOp is a moment at which a MemStore can be made to fail or to wait.
type MemOp int

const (
	MemWrite    MemOp = iota // before anything is changed
	MemSync                  // all is changed, nothing durable yet
	MemSnapshot              // a snapshot file is about to become durable
	MemRead                  // before entries or a snapshot are read
)

// MemStore is a Store in memory, for tests and for the simulator: it has no
// goroutine and no clock, and the same calls give the same answers. It knows
// what was synced, and can crash.
type MemStore struct {
	mu      sync.Mutex
	hook    func(MemOp) error
	failed  error
	present memImage
	durable memImage
	// pending are the changes of present that durable has yet to get, one for
	// each Write without a sync.
	pending []func(*memImage)
	// files are the complete snapshot files.
	files map[memFileID]memFile
}

type memFileID struct {
	group, index, checksum uint64
}

type memFile struct {
	data    []byte
	writers int // who have written this very file and may still abort
}

// memImage is what one could read from the disk.
type memImage struct {
	groups map[uint64]*memGroup
	node   map[string][]byte
}

type memGroup struct {
	state   GroupState
	entries []raftpb.Entry // of [First, Last]
}

var _ Store = (*MemStore)(nil)

// NewMemStore returns an empty store.
func NewMemStore() *MemStore {
	return &MemStore{present: newMemImage(), durable: newMemImage(), files: make(map[memFileID]memFile)}
}

func newMemImage() memImage {
	return memImage{groups: make(map[uint64]*memGroup), node: make(map[string][]byte)}
}

// Inject makes the store call hook at every MemOp, with no lock held: a hook
// that waits is a slow disk. Its error is that of the operation, and final
// unless it came from MemRead. Whether what a failed MemSync was about is
// there after a crash is open, as on a disk.
func (s *MemStore) Inject(hook func(MemOp) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// Unsynced returns how many changes a crash may lose.
func (s *MemStore) Unsynced() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending)
}

// Crash is a loss of power. It returns the store as the next process will find
// it: with what was synced and the oldest kept of the unsynced changes. The old
// store refuses everything from then on.
func (s *MemStore) Crash(kept int) *MemStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = errClosed
	next := NewMemStore()
	for _, change := range s.pending[:min(kept, len(s.pending))] {
		change(&s.durable)
	}
	s.pending = nil
	next.present, next.durable = s.durable.clone(), s.durable
	for id, g := range next.present.groups {
		id := snapshotOf(id, g.state.Snapshot)
		if f, ok := s.files[id]; ok {
			next.files[id] = memFile{data: f.data}
		}
	}
	return next
}

func snapshotOf(group uint64, meta SnapshotMeta) memFileID {
	return memFileID{group, meta.Index, meta.Checksum}
}

func (m *memImage) clone() memImage {
	c := newMemImage()
	for id, g := range m.groups {
		c.groups[id] = &memGroup{state: g.state, entries: slices.Clone(g.entries)}
	}
	for k, v := range m.node {
		c.node[k] = v
	}
	return c
}

// at passes a moment.
func (s *MemStore) at(op MemOp) error {
	s.mu.Lock()
	hook, failed := s.hook, s.failed
	s.mu.Unlock()
	if failed != nil {
		return failed
	}
	if hook == nil {
		return nil
	}
	err := hook(op)
	if err != nil && op != MemRead {
		return s.fail(err)
	}
	return err
}

// fail makes err final.
func (s *MemStore) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = fmt.Errorf("storage: %w", err)
	}
	return s.failed
}

// change applies f to what is present now, and makes it durable if sync is set.
func (s *MemStore) change(f func(*memImage), sync bool) error {
	s.mu.Lock()
	f(&s.present)
	s.pending = append(s.pending, f)
	s.mu.Unlock()
	if !sync {
		return nil
	}
	if err := s.at(MemSync); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil { // it crashed while the hook waited
		return s.failed
	}
	for _, f := range s.pending {
		f(&s.durable)
	}
	s.pending = nil
	return nil
}

func (s *MemStore) Groups() ([]GroupState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var states []GroupState
	for _, g := range s.present.groups {
		states = append(states, g.state)
	}
	return sortStates(states), nil
}

func (s *MemStore) Write(writes []GroupWrite, sync bool) error {
	if err := s.at(MemWrite); err != nil {
		return err
	}
	writes, err := s.accept(writes)
	if err != nil {
		return s.fail(fmt.Errorf("write refused: %w", err))
	}
	if err := s.change(func(m *memImage) { m.write(writes) }, sync || mustSync(writes)); err != nil {
		return err
	}
	s.removeFiles()
	return nil
}

// accept checks writes and copies what the caller may use again.
func (s *MemStore) accept(writes []GroupWrite) ([]GroupWrite, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	staged := make(map[uint64]GroupState)
	writes = slices.Clone(writes)
	for i := range writes {
		w := &writes[i]
		st, ok := staged[w.Group]
		if !ok {
			st = s.present.state(w.Group)
		}
		next, err := st.next(w)
		if err != nil {
			return nil, err
		}
		staged[w.Group] = next
		w.Entries = cloneEntries(w.Entries)
		if w.Snapshot != nil {
			meta := *w.Snapshot
			w.Snapshot = &meta
			if f, ok := s.files[snapshotOf(w.Group, meta)]; !ok || uint64(len(f.data)) != meta.Size {
				return nil, fmt.Errorf("snapshot of group %d at %d with %d bytes is missing", w.Group, meta.Index, meta.Size)
			}
		}
	}
	return writes, nil
}

func cloneEntries(entries []raftpb.Entry) []raftpb.Entry {
	entries = slices.Clone(entries)
	for i := range entries {
		entries[i].Data = bytes.Clone(entries[i].Data)
	}
	return entries
}

func (m *memImage) state(group uint64) GroupState {
	if g := m.groups[group]; g != nil {
		return g.state
	}
	return newGroupState(group)
}

func (m *memImage) write(writes []GroupWrite) {
	for i := range writes {
		w := &writes[i]
		g := m.groups[w.Group]
		if g == nil {
			g = &memGroup{state: newGroupState(w.Group)}
			m.groups[w.Group] = g
		}
		next, err := g.state.next(w)
		if err != nil {
			panic(fmt.Sprintf("storage: a write that was accepted: %v", err))
		}
		first := g.state.First
		if w.Install {
			g.entries, first = nil, w.Snapshot.Index+1
		}
		if len(w.Entries) > 0 {
			if n := w.Entries[0].Index - first; n < uint64(len(g.entries)) {
				g.entries = slices.Clip(g.entries[:n]) // readers may still have what is cut
			}
			g.entries = append(g.entries, w.Entries...)
		}
		if next.First > first {
			g.entries = slices.Clone(g.entries[next.First-first:])
		}
		g.state = next
	}
}

// removeFiles removes snapshot files that no later Write can name.
func (s *MemStore) removeFiles() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.files {
		if id.index <= s.present.state(id.group).Snapshot.Index && !s.named(id) {
			delete(s.files, id)
		}
	}
}

// named tells whether a file is the snapshot of its group.
func (s *MemStore) named(id memFileID) bool {
	return id == snapshotOf(id.group, s.present.state(id.group).Snapshot)
}

func (s *MemStore) Entries(group, lo, hi, maxBytes uint64) ([]raftpb.Entry, error) {
	if err := s.at(MemRead); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.present.groups[group]
	if g == nil {
		return nil, ErrUnavailable
	}
	if err := g.state.bounds(lo, hi); err != nil || lo >= hi {
		return nil, err
	}
	entries := g.entries[lo-g.state.First : hi-g.state.First]
	size := uint64(0)
	for i := range entries {
		size += uint64(entries[i].Size())
		if size > maxBytes && i > 0 {
			entries = entries[:i]
			break
		}
	}
	return slices.Clip(entries), nil
}

func (s *MemStore) DropGroup(group uint64) error {
	if err := s.at(MemWrite); err != nil {
		return err
	}
	if err := s.change(func(m *memImage) { delete(m.groups, group) }, true); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.files {
		if id.group == group {
			delete(s.files, id)
		}
	}
	return nil
}

func (s *MemStore) Get(key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.present.node[key]), nil
}

func (s *MemStore) Set(key string, value []byte) error {
	if err := s.at(MemWrite); err != nil {
		return err
	}
	value = append([]byte{}, value...)
	return s.change(func(m *memImage) { m.node[key] = value }, true)
}

func (s *MemStore) LogBytes(group uint64) (total uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.present.groups[group]; g != nil {
		for i := range g.entries {
			total += uint64(g.entries[i].Size())
		}
	}
	return total
}

// Close syncs what is there. The store refuses everything after it; Crash
// returns the one to go on with.
func (s *MemStore) Close() error {
	if err := s.change(func(*memImage) {}, true); err != nil && !errors.Is(err, errClosed) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = errClosed
	return nil
}

func (s *MemStore) CreateSnapshot(group, index uint64) (SnapshotWriter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return nil, s.failed
	}
	return &memSnapshotWriter{store: s, id: memFileID{group: group, index: index}}, nil
}

func (s *MemStore) OpenSnapshot(group uint64, meta SnapshotMeta) (io.ReadCloser, error) {
	if err := s.at(MemRead); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files[snapshotOf(group, meta)]
	if !ok {
		return nil, fmt.Errorf("snapshot of group %d at %d was replaced: %w", group, meta.Index, ErrUnavailable)
	}
	damaged := fmt.Errorf("snapshot of group %d at %d is not what was written: %w", group, meta.Index, ErrCorrupt)
	return newCheckedReader(io.NopCloser(bytes.NewReader(f.data)), meta, damaged), nil
}

// memSnapshotWriter writes one snapshot file.
type memSnapshotWriter struct {
	store    *MemStore
	id       memFileID
	data     bytes.Buffer
	complete bool
}

func (w *memSnapshotWriter) Write(p []byte) (int, error) { return w.data.Write(p) }

func (w *memSnapshotWriter) Close() (size, checksum uint64, err error) {
	if err := w.store.at(MemSnapshot); err != nil {
		return 0, 0, err
	}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if w.store.failed != nil {
		return 0, 0, w.store.failed
	}
	data := w.data.Bytes()
	w.data = bytes.Buffer{}
	w.id.checksum = xxhash.Sum64(data)
	w.complete = true
	w.store.files[w.id] = memFile{data: data, writers: w.store.files[w.id].writers + 1}
	return uint64(len(data)), w.id.checksum, nil
}

func (w *memSnapshotWriter) Abort() {
	if !w.complete {
		return
	}
	w.complete = false
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files[w.id]
	if !ok {
		return
	}
	if f.writers--; f.writers > 0 || s.named(w.id) {
		s.files[w.id] = f
	} else {
		delete(s.files, w.id)
	}
}
