package storage_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.etcd.io/etcd/raft/v3/raftpb"

	. "lockd/consensus/storage"
)

// step is one change of a store. Until the next synced one has returned, a
// crash may lose it.
type step struct {
	name   string
	synced bool
	do     func(s Store) error
}

func writing(name string, synced bool, writes ...GroupWrite) step {
	return step{name, synced, func(s Store) error { return s.Write(writes, synced) }}
}

// snapshotting writes a snapshot file and then what names it.
func snapshotting(name string, index uint64, w GroupWrite) step {
	return step{name, true, func(s Store) error {
		meta := &SnapshotMeta{Index: index, Term: 2, ConfState: raftpb.ConfState{Voters: []uint64{1, 2, 3}}}
		f, err := s.CreateSnapshot(w.Group, index)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(f, "state at %d", index); err != nil {
			return err
		}
		if meta.Size, meta.Checksum, err = f.Close(); err != nil {
			return err
		}
		w.Snapshot = meta
		return s.Write([]GroupWrite{w}, true)
	}}
}

// workload changes a store in every way. The large entry makes Pebble begin
// another WAL.
var workload = []step{
	writing("first entries", true, GroupWrite{Group: 1, HardState: hard(1, 1, 0), Entries: entries(1, 1, 1, 1)}),
	writing("more, not synced", false, GroupWrite{Group: 1, Entries: entries(4, 1)}, GroupWrite{Group: 2, Entries: entries(1, 1)}),
	writing("a commit, not synced", false, GroupWrite{Group: 1, HardState: hard(1, 1, 2)}),
	writing("over the log's end", true, GroupWrite{Group: 1, HardState: hard(2, 3, 2), Entries: entries(4, 2, 2)}),
	{"a record", true, func(s Store) error { return s.Set("name", []byte("n1")) }},
	snapshotting("a snapshot", 2, GroupWrite{Group: 1}),
	writing("compaction", true, GroupWrite{Group: 1, CompactTo: 1, CompactToTerm: 1}),
	writing("a large entry", true, GroupWrite{Group: 2, Entries: []raftpb.Entry{{Index: 2, Term: 1, Data: make([]byte, 300<<10)}}}),
	snapshotting("an installed snapshot", 40, GroupWrite{Group: 1, HardState: hard(3, 0, 40), Install: true, Entries: entries(41, 3)}),
	snapshotting("a snapshot with compaction", 41, GroupWrite{Group: 1, HardState: hard(3, 0, 41), CompactTo: 41, CompactToTerm: 3}),
	{"a dropped group", true, func(s Store) error { return s.DropGroup(2) }},
	writing("the last entries", true, GroupWrite{Group: 1, Entries: entries(42, 3, 3)}, GroupWrite{Group: 3, Entries: entries(1, 3)}),
}

// statesOf returns what a store has before and after each step.
func statesOf(t *testing.T, steps []step) []string {
	t.Helper()
	s := NewMemStore()
	states := []string{dump(t, s)}
	for _, step := range steps {
		must(t, step.do(s))
		states = append(states, dump(t, s))
	}
	return states
}

// progress is how far a workload has come.
type progress struct {
	synced atomic.Int64 // the steps that no crash may lose
	begun  atomic.Int64 // the steps of which there may be something
}

// run takes a store through steps, up to the first error.
func (p *progress) run(s Store, steps []step) error {
	for i, step := range steps {
		p.begun.Store(int64(i + 1))
		if err := step.do(s); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if step.synced {
			p.synced.Store(int64(i + 1))
		}
	}
	return nil
}

// verify opens what a crash left. It must be one of the states from the last
// one that was synced to the last one that was begun.
func (p *progress) verify(t *testing.T, when string, fs vfs.FS, states []string) {
	t.Helper()
	low, high := p.synced.Load(), p.begun.Load()
	s, err := OpenPebble(PebbleConfig{FS: fs, Dir: dataDir, OnFatal: func(err error) { t.Errorf("%s: fatal: %v", when, err) }})
	if err != nil {
		t.Errorf("%s: %v", when, err)
		return
	}
	got, err := contents(s)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Errorf("%s: %v", when, err)
	}
	if !slices.Contains(states[low:high+1], got) {
		t.Errorf("%s: after %d synced and %d begun steps there is\n%.2000s", when, low, high, got)
	}
}

// crashes are two ways in which a loss of power can leave a disk: with exactly
// what was synced, and with some or all of the rest.
func crashes(fs *vfs.MemFS, seed uint64) []vfs.FS {
	percent := 50
	if seed%2 == 0 {
		percent = 100 // as if only the process had ended
	}
	return []vfs.FS{
		fs.CrashClone(vfs.CrashCloneCfg{}),
		fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed, 0))}),
	}
}

// beforeEach calls f, once at a time, before each operation that can change
// the disk.
func beforeEach(fs vfs.FS, f func(n uint64, op errorfs.Op) error) vfs.FS {
	var mu sync.Mutex
	var n uint64
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		n++
		return f(n, op)
	}))
}

// TestCrashAtEachOperation cuts the power before every operation that Pebble
// and the snapshot files do on the disk (F10, F11, F19).
func TestCrashAtEachOperation(t *testing.T) {
	states := statesOf(t, workload)
	disk := vfs.NewCrashableMem()
	var p progress
	fs := beforeEach(disk, func(n uint64, op errorfs.Op) error {
		for _, left := range crashes(disk, n) {
			p.verify(t, fmt.Sprintf("before operation %d (%v of %s)", n, op.Kind, op.Path), left, states)
		}
		return nil
	})
	s := openPebble(t, fs)
	must(t, p.run(s, workload))
	must(t, s.Close())
	p.verify(t, "at the end", disk, states)
}

// TestCrashLoop cuts the power again and again while the store opens (F30).
func TestCrashLoop(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 0))
	states := statesOf(t, workload)
	disk := vfs.NewCrashableMem()
	var p progress
	s := openPebble(t, disk)
	must(t, p.run(s, workload))
	for i := range 100 {
		left := crashes(disk, rng.Uint64())
		disk = left[rng.IntN(len(left))].(*vfs.MemFS)
		at := 1 + rng.Uint64N(60)
		var next *vfs.MemFS
		fs := beforeEach(disk, func(n uint64, op errorfs.Op) error {
			if n == at {
				next = crashes(disk, rng.Uint64())[rng.IntN(2)].(*vfs.MemFS)
			}
			return nil
		})
		p.verify(t, fmt.Sprintf("seed %d, loop %d, crash at %d", seed, i, at), fs, states)
		if next != nil {
			disk = next
		}
	}
	p.verify(t, "at the end", disk, states)
}

// mustSurface are the operations whose failure must stop the store.
var mustSurface = []errorfs.OpKind{
	errorfs.OpCreate, errorfs.OpLink, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpMkdirAll,
	errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo,
}

// TestErrorAtEachOperation lets every operation on the disk fail once (F8, F9).
// The error must be told, nothing may be written after it, and what was
// acknowledged must be there when the next process opens the store.
func TestErrorAtEachOperation(t *testing.T) {
	states := statesOf(t, workload)
	faults := []error{syscall.EIO, syscall.ENOSPC}
	for at := uint64(1); errorAt(t, at, faults[at%2], states); at++ {
	}
}

// errorAt lets operation number at fail, and tells whether there was one.
func errorAt(t *testing.T, at uint64, fault error, states []string) bool {
	t.Helper()
	disk := vfs.NewCrashableMem()
	var failed atomic.Pointer[errorfs.Op]
	fs := beforeEach(disk, func(n uint64, op errorfs.Op) error {
		if n != at {
			return nil
		}
		failed.Store(&op)
		return fault
	})
	var p progress
	var fatals atomic.Int32
	var told atomic.Pointer[error]
	s, err := OpenPebble(PebbleConfig{FS: fs, Dir: "/var/./lockd//data/", OnFatal: func(err error) {
		fatals.Add(1)
		told.Store(&err)
	}})
	if err == nil {
		if err = p.run(s, workload); err == nil && failed.Load() != nil && told.Load() != nil {
			err = *told.Load() // background work has failed
		}
		if err != nil {
			again := s.Write([]GroupWrite{{Group: 99, HardState: hard(1, 1, 0)}}, true)
			if again == nil {
				t.Errorf("operation %d: a write after %v went through", at, err)
			}
			if n := fatals.Load(); n != 1 {
				t.Errorf("operation %d: %d fatal errors, want 1", at, n)
			}
		}
		err = errors.Join(err, s.Close())
	}
	op := failed.Load()
	if op == nil {
		must(t, err)
		return false
	}
	when := fmt.Sprintf("operation %d (%v of %s) failed", at, op.Kind, op.Path)
	if slices.Contains(mustSurface, op.Kind) {
		if !errors.Is(err, fault) {
			t.Errorf("%s: got error %v", when, err)
		} else if !strings.Contains(err.Error(), dataDir) && !strings.Contains(err.Error(), op.Path) {
			t.Errorf("%s: the error names no file: %v", when, err)
		}
	}
	for _, left := range crashes(disk, at) {
		p.verify(t, when, left, states)
	}
	return true
}

// TestBackgroundErrors lets a flush fail, which is nobody's call.
func TestBackgroundErrors(t *testing.T) {
	tests := []struct {
		name string
		kind errorfs.OpKind
		file string
	}{
		{"fsync of a table", errorfs.OpFileSyncData, ".sst"},
		{"write of the manifest", errorfs.OpFileWrite, "MANIFEST"},
		{"fsync of the manifest", errorfs.OpFileSync, "MANIFEST"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			disk := vfs.NewCrashableMem()
			var armed atomic.Bool
			fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == tt.kind && strings.Contains(op.Path, tt.file) && armed.CompareAndSwap(true, false) {
					return syscall.EIO
				}
				return nil
			}))
			fatal := make(chan error, 10)
			s, err := OpenPebble(PebbleConfig{FS: fs, Dir: dataDir, OnFatal: func(err error) { fatal <- err }})
			must(t, err)
			armed.Store(true)
			// Two memtables are sure to be flushed. The error may come before.
			data := make([]byte, 1<<20)
			var written uint64
			for range 64 {
				if s.Write([]GroupWrite{{Group: 1, Entries: []raftpb.Entry{{Index: written + 1, Term: 1, Data: data}}}}, true) != nil {
					break
				}
				written++
			}
			var told error
			select {
			case told = <-fatal:
			case <-time.After(time.Minute):
			}
			if !errors.Is(told, syscall.EIO) || !strings.Contains(told.Error(), tt.file) {
				t.Fatalf("got fatal error %v, want %v of a file %s", told, syscall.EIO, tt.file)
			}
			if err := s.Write(nil, true); !errors.Is(err, syscall.EIO) {
				t.Errorf("a write after it got %v", err)
			}
			if err := s.Close(); !errors.Is(err, syscall.EIO) {
				t.Errorf("Close got %v", err)
			}
			s = openPebble(t, disk.CrashClone(vfs.CrashCloneCfg{}))
			states, err := s.Groups()
			must(t, err)
			if last := states[0].Last; last < written {
				t.Errorf("%d entries are there, %d were acknowledged", last, written)
			}
			must(t, s.Close())
		})
	}
}

// TestHungSync has an fsync that does not come back (F12). Readers go on, and
// do not see what is not durable.
func TestHungSync(t *testing.T) {
	disk := vfs.NewCrashableMem()
	var hang atomic.Bool
	hangs, release := make(chan struct{}), make(chan struct{})
	fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") && hang.CompareAndSwap(true, false) {
			close(hangs)
			<-release
		}
		return nil
	}))
	s := openPebble(t, fs)
	write(t, s, GroupWrite{Group: 1, Entries: entries(1, 1, 1, 1)})
	want := dump(t, s)
	hang.Store(true)
	written := make(chan error)
	go func() {
		written <- s.Write([]GroupWrite{{Group: 1, Entries: entries(4, 1)}, {Group: 2, Entries: entries(1, 1)}}, true)
	}()
	<-hangs
	expect(t, "while the sync hangs", s, want)
	snapshot(t, s, 1, 2, 1, "snapshots are written meanwhile")
	close(release)
	must(t, <-written)
	expect(t, "afterwards", s, lines(`
		group 1: term 0 vote 0 commit 0, log [1, 4] behind term 0: 1:1 2:1 3:1 4:1
		group 2: term 0 vote 0 commit 0, log [1, 1] behind term 0: 1:1`))
	must(t, s.Close())
}

// TestReadsBesideWrites reads a log while it is cut and compacted. A reader
// gets entries that were there, or hears that they are gone, and never that the
// store is corrupt.
func TestReadsBesideWrites(t *testing.T) {
	s := openPebble(t, vfs.NewMem())
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for seed := range uint64(2) {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 0))
			for {
				select {
				case <-stop:
					return
				default:
				}
				states, err := s.Groups()
				if err != nil || len(states) == 0 {
					continue
				}
				lo := states[0].First + rng.Uint64N(3)
				es, err := s.Entries(1, lo, states[0].Last+1, 1<<20)
				if err != nil && !errors.Is(err, ErrCompacted) && !errors.Is(err, ErrUnavailable) {
					t.Errorf("entries from %d on: %v", lo, err)
					return
				}
				if len(es) > 0 && es[0].Index != lo {
					t.Errorf("asked for entry %d, got %d", lo, es[0].Index)
					return
				}
				s.LogBytes(1)
			}
		})
	}
	rng := rand.New(rand.NewPCG(1, 1))
	first, last := uint64(1), uint64(0)
	for range 2000 {
		at := max(first, last-min(last, rng.Uint64N(4))) + 1
		if last < first {
			at = last + 1
		}
		es := entries(at, slices.Repeat([]uint64{1}, 1+rng.IntN(6))...)
		last = es[len(es)-1].Index
		w := GroupWrite{Group: 1, Entries: es}
		if rng.IntN(20) == 0 {
			first = last
			w.Snapshot, w.CompactTo, w.CompactToTerm = snapshot(t, s, 1, last-1, 1, "s"), last-1, 1
		}
		mustWrite(t, s, false, w)
	}
	close(stop)
	readers.Wait()
	must(t, s.Close())
}

// TestSameDirectoryTwice opens a store that is open.
func TestSameDirectoryTwice(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"on disk": vfs.Default, "in memory": vfs.NewMem()} {
		t.Run(name, func(t *testing.T) {
			dir := fs.PathJoin(t.TempDir(), "data")
			s, err := OpenPebble(PebbleConfig{FS: fs, Dir: dir})
			must(t, err)
			_, err = OpenPebble(PebbleConfig{FS: fs, Dir: dir})
			if want := "data directory " + dir + " is in use by another lockd"; err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			must(t, s.Close())
			s, err = OpenPebble(PebbleConfig{FS: fs, Dir: dir})
			must(t, err)
			must(t, s.Close())
		})
	}
}
