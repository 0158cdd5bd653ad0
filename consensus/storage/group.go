package storage

import (
	"slices"
	"sync"

	"go.etcd.io/etcd/raft/v3/raftpb"
)

// group is what the store has in memory of one group: its state, the sizes of
// its entries, and the youngest of them.
//
// Readers must never believe that the log has more than the disk has. So what
// a write takes away is taken away here before the commit (shrink), and what
// it brings is shown after it (advance).
type group struct {
	mu    sync.RWMutex
	state GroupState
	sizes entrySizes
	tail  entryTail

	// staged is the state after the present Write, of which write is the
	// number. Only Write uses them.
	staged GroupState
	write  uint64
}

// shrink takes away what w will remove from the log.
func (g *group) shrink(w *GroupWrite) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.Install {
		g.clear(w.Snapshot.Index + 1)
	} else if len(w.Entries) > 0 {
		g.cut(w.Entries[0].Index)
	}
	if w.CompactTo >= g.state.First {
		g.compact(min(w.CompactTo, g.state.Last) + 1)
	}
}

// advance makes the staged state, that after w, the present one.
func (g *group) advance(w *GroupWrite) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range w.Entries {
		g.sizes.push(w.Entries[i].Size())
	}
	g.tail.push(w.Entries)
	if g.staged.First > g.state.First {
		g.compact(g.staged.First)
	}
	g.state = g.staged
}

// clear empties the log, which then begins at first.
func (g *group) clear(first uint64) {
	g.state.First, g.state.Last = first, first-1
	g.sizes = entrySizes{first: first}
	g.tail = entryTail{}
}

// cut drops the entries at and after index.
func (g *group) cut(index uint64) {
	g.state.Last = min(g.state.Last, index-1)
	g.sizes.cut(index)
	g.tail.cut(index)
}

// compact drops the entries before first.
func (g *group) compact(first uint64) {
	g.state.First = first
	g.sizes.compact(first)
	g.tail.compact(first)
}

// entrySizes are the sizes of a log's entries, so that LogBytes stays exact
// when a part of the log goes. They cost 4 bytes an entry.
type entrySizes struct {
	first uint64 // the index of sizes[0]
	sizes []uint32
	total uint64
}

func (s *entrySizes) push(size int) {
	s.sizes = append(s.sizes, uint32(size))
	s.total += uint64(size)
}

func (s *entrySizes) cut(index uint64) {
	if index >= s.first+uint64(len(s.sizes)) {
		return
	}
	n := index - min(s.first, index)
	s.total -= sum(s.sizes[n:])
	s.sizes = s.sizes[:n]
}

func (s *entrySizes) compact(first uint64) {
	n := min(first-min(s.first, first), uint64(len(s.sizes)))
	s.total -= sum(s.sizes[:n])
	// A new slice, or what was dropped would stay in memory under the rest.
	s.sizes = slices.Clone(s.sizes[n:])
	s.first = first
}

func sum(sizes []uint32) (total uint64) {
	for _, size := range sizes {
		total += uint64(size)
	}
	return total
}

// tailBytes bounds what entryTail keeps of one group, in bytes of entries and
// their headers. It covers what is written but not applied, or not yet sent to
// a follower that keeps up.
const tailBytes = 1 << 20

// entryTail keeps the youngest entries of a log. Raft reads each entry back
// once to apply it and once for each follower that is a little behind, and
// would pay an iterator and an allocation for each.
type entryTail struct {
	entries []raftpb.Entry
	bytes   int
}

// entryHeader is about what an entry takes beside its data.
const entryHeader = 64

func (t *entryTail) push(entries []raftpb.Entry) {
	t.entries = append(t.entries, entries...)
	for i := range entries {
		t.bytes += entryHeader + len(entries[i].Data)
	}
	n := 0
	for t.bytes > tailBytes {
		t.bytes -= entryHeader + len(t.entries[n].Data)
		n++
	}
	t.entries = t.entries[n:]
}

func (t *entryTail) cut(index uint64) {
	if len(t.entries) == 0 || index > t.entries[len(t.entries)-1].Index {
		return
	}
	kept := t.entries[:index-min(t.entries[0].Index, index)]
	t.entries, t.bytes = nil, 0
	// A copy: readers may still hold what is overwritten next.
	t.push(kept)
}

func (t *entryTail) compact(first uint64) {
	n := 0
	for n < len(t.entries) && t.entries[n].Index < first {
		t.bytes -= entryHeader + len(t.entries[n].Data)
		n++
	}
	t.entries = t.entries[n:]
}

// read returns the entries of [lo, hi) within maxBytes but at least one, if
// the tail has them. They may not be written to.
func (t *entryTail) read(lo, hi, maxBytes uint64) ([]raftpb.Entry, bool) {
	if len(t.entries) == 0 || lo < t.entries[0].Index {
		return nil, false
	}
	begin := lo - t.entries[0].Index
	end, bytes := begin, uint64(0)
	for i := lo; i < hi; i++ {
		bytes += uint64(t.entries[end].Size())
		if bytes > maxBytes && i > lo {
			break
		}
		end++
	}
	return t.entries[begin:end:end], true
}
