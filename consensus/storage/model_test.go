package storage_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/etcd/raft/v3/raftpb"
	"pgregory.net/rapid"

	. "lockd/consensus/storage"
)

// TestPebbleAgainstModel takes both stores through one random history of
// writes, restarts and losses of power. They must have the same at any time.
// What Pebble has after a loss of power must be what the model can have.
func TestPebbleAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{disk: vfs.NewCrashableMem(), mem: NewMemStore()}
		m.open(t, rt)
		rt.Repeat(map[string]func(*rapid.T){
			"write":   m.write,
			"restart": func(rt *rapid.T) { m.restart(t, rt) },
			"crash":   func(rt *rapid.T) { m.crash(t, rt) },
			"":        m.same,
		})
		if err := m.pebble.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

type model struct {
	disk   *vfs.MemFS
	pebble *Pebble
	mem    *MemStore
}

func (m *model) open(t *testing.T, rt *rapid.T) {
	var err error
	m.pebble, err = OpenPebble(PebbleConfig{FS: m.disk, Dir: dataDir, OnFatal: func(err error) { t.Errorf("fatal: %v", err) }})
	if err != nil {
		rt.Fatal(err)
	}
}

func (m *model) same(rt *rapid.T) {
	want, err := contents(m.mem)
	if err != nil {
		rt.Fatal(err)
	}
	got, err := contents(m.pebble)
	if err != nil || got != want {
		rt.Fatalf("Pebble has (%v)\n%s\nwant\n%s", err, got, want)
	}
}

func (m *model) restart(t *testing.T, rt *rapid.T) {
	if err := m.pebble.Close(); err != nil {
		rt.Fatal(err)
	}
	m.open(t, rt)
	if err := m.mem.Close(); err != nil {
		rt.Fatal(err)
	}
	m.mem = m.mem.Crash(0)
}

func (m *model) crash(t *testing.T, rt *rapid.T) {
	m.disk = m.disk.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: rapid.SampledFrom([]int{0, 30, 70, 100}).Draw(rt, "unsynced percent"),
		RNG:                 rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0)),
	})
	m.open(t, rt)
	got, err := contents(m.pebble)
	if err != nil {
		rt.Fatal(err)
	}
	// The model's crash cannot be undone, so it is told how many of the
	// unsynced writes to keep. Each is found in the number of a record.
	kept := 0
	if states, err := m.pebble.Groups(); err != nil {
		rt.Fatal(err)
	} else if i := slices.IndexFunc(states, func(g GroupState) bool { return g.Group == counter }); i >= 0 {
		kept = int(states[i].HardState.Term)
	}
	kept -= m.synced()
	if kept < 0 || kept > m.mem.Unsynced() {
		rt.Fatalf("%d of %d unsynced writes are there", kept, m.mem.Unsynced())
	}
	m.mem = m.mem.Crash(kept)
	if want, err := contents(m.mem); err != nil || got != want {
		rt.Fatalf("after the crash Pebble has\n%s\nwant (%v)\n%s", got, err, want)
	}
}

// counter is a group whose term counts the writes.
const counter = 1000

// written is how many writes the model has.
func (m *model) written() int { return int(m.state(counter).HardState.Term) }

// synced is how many of them no crash may lose.
func (m *model) synced() int { return m.written() - m.mem.Unsynced() }

func (m *model) state(group uint64) GroupState {
	states, err := m.mem.Groups()
	if err != nil {
		panic(err)
	}
	for _, g := range states {
		if g.Group == group {
			return g
		}
	}
	return GroupState{Group: group, First: 1}
}

// write writes some groups, maybe one of them several times.
func (m *model) write(rt *rapid.T) {
	count := uint64(m.written() + 1)
	writes := []GroupWrite{{Group: counter, HardState: raftpb.HardState{Term: count}}}
	states := make(map[uint64]GroupState)
	for range rapid.IntRange(0, 4).Draw(rt, "parts") {
		group := rapid.Uint64Range(1, 3).Draw(rt, "group")
		g, ok := states[group]
		if !ok {
			g = m.state(group)
		}
		w := m.draw(rt, &g)
		states[group] = g
		writes = append(writes, w)
	}
	sync := rapid.Bool().Draw(rt, "sync")
	for _, s := range []Store{m.mem, m.pebble} {
		if err := s.Write(writes, sync); err != nil {
			rt.Fatal(err)
		}
	}
}

// draw draws a write that is allowed in state g, which it moves on.
func (m *model) draw(rt *rapid.T, g *GroupState) GroupWrite {
	w := GroupWrite{Group: g.Group}
	kind := rapid.SampledFrom([]string{"append", "append", "append", "commit", "snapshot", "compact", "install"}).Draw(rt, "kind")
	if kind == "install" {
		index := max(g.HardState.Commit, g.Snapshot.Index) + rapid.Uint64Range(1, 5).Draw(rt, "ahead")
		w.Install, w.Snapshot = true, m.snapshot(rt, g.Group, index)
		g.First, g.Last, g.Snapshot = index+1, index, *w.Snapshot
		kind = rapid.SampledFrom([]string{"", "append", "commit"}).Draw(rt, "with")
	}
	switch kind {
	case "append":
		first := rapid.Uint64Range(max(g.First, g.HardState.Commit+1, g.Snapshot.Index+1), g.Last+1).Draw(rt, "first")
		n := rapid.IntRange(1, 6).Draw(rt, "entries")
		term := rapid.Uint64Range(1, 5).Draw(rt, "term")
		for i := range n {
			w.Entries = append(w.Entries, entries(first+uint64(i), term)...)
		}
		g.Last = first + uint64(n) - 1
	case "commit":
		g.HardState = raftpb.HardState{Term: 1, Commit: rapid.Uint64Range(max(g.HardState.Commit, g.First-1), g.Last).Draw(rt, "commit")}
		w.HardState = g.HardState
	case "snapshot":
		if index := rapid.Uint64Range(g.First-1, g.Last).Draw(rt, "at"); index > g.Snapshot.Index {
			w.Snapshot = m.snapshot(rt, g.Group, index)
			g.Snapshot = *w.Snapshot
		}
	case "compact":
		if g.First <= g.Snapshot.Index {
			w.CompactTo, w.CompactToTerm = rapid.Uint64Range(g.First, g.Snapshot.Index).Draw(rt, "to"), 1
			g.First = w.CompactTo + 1
		}
	}
	return w
}

// snapshot writes the same snapshot into both stores.
func (m *model) snapshot(rt *rapid.T, group, index uint64) *SnapshotMeta {
	meta := &SnapshotMeta{Index: index, Term: 1, ConfState: raftpb.ConfState{Voters: []uint64{1, 2, 3}}}
	data := fmt.Appendf(nil, "snapshot %d", rapid.IntRange(0, 3).Draw(rt, "data"))
	for _, s := range []Store{m.mem, m.pebble} {
		w, err := s.CreateSnapshot(group, index)
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			rt.Fatal(err)
		}
		if meta.Size, meta.Checksum, err = w.Close(); err != nil {
			rt.Fatal(err)
		}
	}
	return meta
}
