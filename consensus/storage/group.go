package storage

import (
	"slices"
	"sync"
)

// group is what a Pebble store has in memory of one group. It has no entries:
// who needs the youngest ones keeps them.
//
// Readers must never believe that the log has more than the disk has. So what
// a Write takes away is taken away here before the commit (shrink), and what
// it brings is shown after it (advance, publish).
type group struct {
	mu    sync.RWMutex
	state GroupState
	sizes entrySizes

	// staged is the state after the parts of the present Write so far, of which
	// write is the number; only Write uses them.
	staged GroupState
	write  uint64
}

func newGroup(id uint64) *group {
	return &group{state: newGroupState(id), sizes: entrySizes{first: 1}}
}

// shrink hides what w will remove from the log.
func (g *group) shrink(w *GroupWrite) {
	g.mu.Lock()
	defer g.mu.Unlock()
	st := &g.state
	if w.Install {
		st.First, st.Last = w.Snapshot.Index+1, w.Snapshot.Index
	}
	if len(w.Entries) > 0 {
		st.Last = min(st.Last, w.Entries[0].Index-1)
	}
	st.First = max(st.First, w.CompactTo+1)
	st.Last = max(st.Last, st.First-1)
}

// advance follows w, which was committed, in the sizes.
func (g *group) advance(w *GroupWrite) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.Install {
		g.sizes = entrySizes{first: w.Snapshot.Index + 1}
	}
	if len(w.Entries) > 0 {
		g.sizes.cut(w.Entries[0].Index)
		for i := range w.Entries {
			g.sizes.push(w.Entries[i].Size())
		}
	}
	g.sizes.compact(w.CompactTo + 1)
}

// publish makes the staged state the present one.
func (g *group) publish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state = g.staged
}

func (g *group) snapshot() SnapshotMeta {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.state.Snapshot
}

// bounds tells whether the entries of [lo, hi) are in the log.
func (g *group) bounds(lo, hi uint64) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.state.bounds(lo, hi)
}

// entrySizes are the sizes of a log's entries, so that LogBytes stays exact
// when a part of the log goes. They cost 4 bytes an entry.
type entrySizes struct {
	first uint64 // the index of sizes[0]
	sizes []uint32
	total uint64
}

// push adds the entry after the last.
func (s *entrySizes) push(size int) {
	s.sizes = append(s.sizes, uint32(size))
	s.total += uint64(size)
}

// cut drops the entries at and after index.
func (s *entrySizes) cut(index uint64) {
	if index >= s.first+uint64(len(s.sizes)) {
		return
	}
	n := index - min(s.first, index)
	s.total -= sum(s.sizes[n:])
	s.sizes = s.sizes[:n]
}

// compact drops the entries before first.
func (s *entrySizes) compact(first uint64) {
	if first <= s.first {
		return
	}
	n := min(first-s.first, uint64(len(s.sizes)))
	s.total -= sum(s.sizes[:n])
	// A copy, or what was dropped would stay in memory under the rest.
	s.sizes = slices.Clone(s.sizes[n:])
	s.first = first
}

func sum(sizes []uint32) (total uint64) {
	for _, size := range sizes {
		total += uint64(size)
	}
	return total
}
