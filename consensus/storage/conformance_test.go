package storage_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/etcd/raft/v3/raftpb"

	. "lockd/consensus/storage"
)

const dataDir = "/var/lockd/data"

// disk is a machine's disk, from which a store is opened again and again.
type disk interface {
	// open returns the store as a new process finds it.
	open(t testing.TB) Store
	// crash is a loss of power that leaves exactly what was synced.
	crash()
}

// pebbleDisk holds a Pebble store.
type pebbleDisk struct {
	fs *vfs.MemFS
}

func newPebbleDisk() disk { return &pebbleDisk{fs: vfs.NewCrashableMem()} }

func (d *pebbleDisk) open(t testing.TB) Store {
	return openPebble(t, d.fs)
}

func (d *pebbleDisk) crash() { d.fs = d.fs.CrashClone(vfs.CrashCloneCfg{}) }

// openPebble opens a store whose end the test does not expect.
func openPebble(t testing.TB, fs vfs.FS) *Pebble {
	t.Helper()
	s, err := OpenPebble(PebbleConfig{FS: fs, Dir: dataDir, OnFatal: func(err error) { t.Errorf("fatal: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// memDisk holds a MemStore.
type memDisk struct {
	store *MemStore
}

func newMemDisk() disk { return &memDisk{store: NewMemStore()} }

func (d *memDisk) open(testing.TB) Store {
	d.store = d.store.Crash(math.MaxInt)
	return d.store
}

func (d *memDisk) crash() { d.store = d.store.Crash(0) }

var disks = []struct {
	name string
	new  func() disk
}{
	{"pebble", newPebbleDisk},
	{"mem", newMemDisk},
}

// scenarios are stories of one store. Each ends synced, and what it leaves must
// be the same at once, after a restart, and after a loss of power.
var scenarios = []struct {
	name string
	run  func(t *testing.T, s Store)
	want string
}{
	{
		name: "a new store has nothing",
		run:  func(*testing.T, Store) {},
		want: "",
	},
	{
		name: "entries and hard state",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, HardState: hard(2, 3, 1), Entries: entries(1, 1, 2, 2)})
		},
		want: "group 7: term 2 vote 3 commit 1, log [1, 3] behind term 0: 1:1 2:2 3:2",
	},
	{
		name: "hard state alone",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, HardState: hard(9, 2, 0)})
		},
		want: "group 7: term 9 vote 2 commit 0, log [1, 0] behind term 0:",
	},
	{
		name: "an empty hard state changes nothing",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, HardState: hard(9, 2, 0)})
			write(t, s, GroupWrite{Group: 7, Entries: entries(1, 9)})
		},
		want: "group 7: term 9 vote 2 commit 0, log [1, 1] behind term 0: 1:9",
	},
	{
		name: "an append over the log cuts what follows",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, Entries: entries(1, 1, 1, 1, 1, 1)})
			write(t, s, GroupWrite{Group: 7, Entries: entries(3, 2)})
		},
		want: "group 7: term 0 vote 0 commit 0, log [1, 3] behind term 0: 1:1 2:1 3:2",
	},
	{
		name: "an append over the log and beyond its end",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, Entries: entries(1, 1, 1)})
			write(t, s, GroupWrite{Group: 7, Entries: entries(2, 2, 2, 2)})
		},
		want: "group 7: term 0 vote 0 commit 0, log [1, 4] behind term 0: 1:1 2:2 3:2 4:2",
	},
	{
		name: "a snapshot leaves the log, compaction cuts it",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, HardState: hard(3, 1, 4), Entries: entries(1, 1, 2, 3, 3)})
			write(t, s, GroupWrite{Group: 7, Snapshot: snapshot(t, s, 7, 3, 3, "three")})
			write(t, s, GroupWrite{Group: 7, CompactTo: 2, CompactToTerm: 2})
		},
		want: `group 7: term 3 vote 1 commit 4, snapshot 3:3 "three", log [3, 4] behind term 2: 3:3 4:3`,
	},
	{
		name: "compaction up to the log's end, then growth",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, HardState: hard(1, 1, 2), Entries: entries(1, 1, 1)})
			write(t, s, GroupWrite{Group: 7, Snapshot: snapshot(t, s, 7, 2, 1, "two"), CompactTo: 2, CompactToTerm: 1})
			write(t, s, GroupWrite{Group: 7, Entries: entries(3, 1, 1)})
		},
		want: `group 7: term 1 vote 1 commit 2, snapshot 2:1 "two", log [3, 4] behind term 1: 3:1 4:1`,
	},
	{
		name: "compaction below the log's begin changes nothing",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, HardState: hard(1, 1, 3), Entries: entries(1, 1, 1, 1)})
			write(t, s, GroupWrite{Group: 7, Snapshot: snapshot(t, s, 7, 3, 1, "three"), CompactTo: 2, CompactToTerm: 1})
			write(t, s, GroupWrite{Group: 7, CompactTo: 1, CompactToTerm: 1})
		},
		want: `group 7: term 1 vote 1 commit 3, snapshot 3:1 "three", log [3, 3] behind term 1: 3:1`,
	},
	{
		name: "a snapshot installed beyond the log",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, HardState: hard(1, 1, 2), Entries: entries(1, 1, 1, 1)})
			write(t, s, GroupWrite{Group: 7, HardState: hard(4, 0, 90), Install: true, Snapshot: snapshot(t, s, 7, 90, 4, "ninety")})
		},
		want: `group 7: term 4 vote 0 commit 90, snapshot 90:4 "ninety", log [91, 90] behind term 4:`,
	},
	{
		name: "a snapshot installed within the log, with entries behind it",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, HardState: hard(1, 1, 2), Entries: entries(1, 1, 1, 1, 1, 1, 1)})
			write(t, s, GroupWrite{Group: 7, HardState: hard(4, 0, 3), Install: true, Snapshot: snapshot(t, s, 7, 3, 4, "three"), Entries: entries(4, 4)})
		},
		want: `group 7: term 4 vote 0 commit 3, snapshot 3:4 "three", log [4, 4] behind term 4: 4:4`,
	},
	{
		name: "a snapshot installed over another",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, Install: true, Snapshot: snapshot(t, s, 7, 5, 1, "five")})
			write(t, s, GroupWrite{Group: 7, Entries: entries(6, 1)})
			write(t, s, GroupWrite{Group: 7, Install: true, Snapshot: snapshot(t, s, 7, 9, 2, "nine")})
		},
		want: `group 7: term 0 vote 0 commit 0, snapshot 9:2 "nine", log [10, 9] behind term 2:`,
	},
	{
		name: "groups do not touch each other",
		run: func(t *testing.T, s Store) {
			write(t, s,
				GroupWrite{Group: math.MaxUint64, Entries: entries(1, 3)},
				GroupWrite{Group: 0, Entries: entries(1, 1, 1)},
				GroupWrite{Group: 1, Entries: entries(1, 2, 2)})
			write(t, s, GroupWrite{Group: 0, Entries: entries(1, 9)})
		},
		want: `
			group 0: term 0 vote 0 commit 0, log [1, 1] behind term 0: 1:9
			group 1: term 0 vote 0 commit 0, log [1, 2] behind term 0: 1:2 2:2
			group 18446744073709551615: term 0 vote 0 commit 0, log [1, 1] behind term 0: 1:3`,
	},
	{
		name: "a group several times in one write",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, Entries: entries(1, 1)})
			write(t, s,
				GroupWrite{Group: 7, HardState: hard(1, 1, 2), Entries: entries(2, 1, 1, 1)},
				GroupWrite{Group: 8, Entries: entries(1, 1)},
				GroupWrite{Group: 7, Snapshot: snapshot(t, s, 7, 2, 1, "two")},
				GroupWrite{Group: 7, HardState: hard(2, 2, 2), Entries: entries(4, 2, 2)},
				GroupWrite{Group: 7, CompactTo: 2, CompactToTerm: 1})
		},
		want: `
			group 7: term 2 vote 2 commit 2, snapshot 2:1 "two", log [3, 5] behind term 1: 3:1 4:2 5:2
			group 8: term 0 vote 0 commit 0, log [1, 1] behind term 0: 1:1`,
	},
	{
		name: "an append, a snapshot and an installed one in one write",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, HardState: hard(1, 0, 2), Entries: entries(1, 1, 1, 1)})
			write(t, s,
				GroupWrite{Group: 7, Entries: entries(4, 1, 1)},
				GroupWrite{Group: 7, Snapshot: snapshot(t, s, 7, 2, 1, "two")},
				GroupWrite{Group: 7, Install: true, Snapshot: snapshot(t, s, 7, 20, 2, "twenty")},
				GroupWrite{Group: 7, Entries: entries(21, 2, 2, 2)})
		},
		want: `group 7: term 1 vote 0 commit 2, snapshot 20:2 "twenty", log [21, 23] behind term 2: 21:2 22:2 23:2`,
	},
	{
		name: "a sync with nothing to write covers what came before",
		run: func(t *testing.T, s Store) {
			mustWrite(t, s, false, GroupWrite{Group: 7, Entries: entries(1, 1)})
			mustWrite(t, s, false, GroupWrite{Group: 7, Entries: entries(2, 1)})
			mustWrite(t, s, true)
		},
		want: "group 7: term 0 vote 0 commit 0, log [1, 2] behind term 0: 1:1 2:1",
	},
	{
		name: "a dropped group leaves nothing, and can come again",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, Install: true, Snapshot: snapshot(t, s, 7, 5, 1, "five"), Entries: entries(6, 1)})
			write(t, s, GroupWrite{Group: 8, Entries: entries(1, 1)}, GroupWrite{Group: 9, Entries: entries(1, 1)})
			must(t, s.DropGroup(7))
			must(t, s.DropGroup(8))
			must(t, s.DropGroup(1234))
			write(t, s, GroupWrite{Group: 8, Entries: entries(1, 2)})
		},
		want: `
			group 8: term 0 vote 0 commit 0, log [1, 1] behind term 0: 1:2
			group 9: term 0 vote 0 commit 0, log [1, 1] behind term 0: 1:1`,
	},
	{
		name: "records of the node",
		run: func(t *testing.T, s Store) {
			must(t, s.Set("name", []byte("n1")))
			must(t, s.Set("name", []byte("n2")))
			must(t, s.Set("empty", nil))
		},
		want: `
			name = "n2"
			empty = ""`,
	},
	{
		name: "an aborted snapshot leaves the present one",
		run: func(t *testing.T, s Store) {
			write(t, s, GroupWrite{Group: 7, Install: true, Snapshot: snapshot(t, s, 7, 5, 1, "five")})
			w, err := s.CreateSnapshot(7, 9)
			must(t, err)
			_, err = io.WriteString(w, "nine")
			must(t, err)
			w.Abort()
			w, err = s.CreateSnapshot(7, 5) // the very same one came again
			must(t, err)
			_, err = io.WriteString(w, "five")
			must(t, err)
			_, _, err = w.Close()
			must(t, err)
			w.Abort()
		},
		want: `group 7: term 0 vote 0 commit 0, snapshot 5:1 "five", log [6, 5] behind term 1:`,
	},
}

func TestConformance(t *testing.T) {
	for _, d := range disks {
		for _, sc := range scenarios {
			t.Run(d.name+"/"+sc.name, func(t *testing.T) {
				want := lines(sc.want)
				disk := d.new()
				s := disk.open(t)
				sc.run(t, s)
				expect(t, "at once", s, want)
				disk.crash()
				s = disk.open(t)
				expect(t, "after a loss of power", s, want)
				must(t, s.Close())
				s = disk.open(t)
				expect(t, "after a restart", s, want)
				must(t, s.Close())
			})
		}
	}
}

// TestRefusedWrites has writes that are bugs of the caller. They change
// nothing, and nothing is written after them.
func TestRefusedWrites(t *testing.T) {
	meta := func(index uint64) *SnapshotMeta { return &SnapshotMeta{Index: index, Term: 1} }
	tests := []struct {
		name  string
		write func(t *testing.T, s Store) GroupWrite
		want  string
	}{
		{"a hole", just(GroupWrite{Entries: entries(7, 1)}), "append at 7 to a log of [3, 5]"},
		{"below the log's begin", just(GroupWrite{Entries: entries(2, 1)}), "append at 2 to a log of [3, 5]"},
		{"over committed entries", just(GroupWrite{Entries: entries(4, 2)}), "append at 4 over entries committed up to 4"},
		{"a gap among the entries", just(GroupWrite{Entries: append(entries(6, 1), entries(8, 1)...)}), "entry 8 follows entry 6"},
		{"a commit beyond the log", just(GroupWrite{HardState: hard(1, 1, 6)}), "committed up to 6, log ends at 5"},
		{"a compaction beyond the snapshot", just(GroupWrite{CompactTo: 4, CompactToTerm: 1}), "compaction to 4 with a snapshot at 3"},
		{"a snapshot without a file", just(GroupWrite{Snapshot: meta(4)}), "is missing"},
		{"an installed snapshot without a file", just(GroupWrite{Snapshot: meta(9), Install: true}), "is missing"},
		{"an install without a snapshot", just(GroupWrite{Install: true}), "install without a snapshot"},
		{"a snapshot of a wrong size", func(t *testing.T, s Store) GroupWrite {
			m := snapshot(t, s, 7, 4, 1, "four")
			m.Size++
			return GroupWrite{Snapshot: m}
		}, "instead of 5|with 5 bytes"},
		{"a snapshot that was aborted", func(t *testing.T, s Store) GroupWrite {
			w, err := s.CreateSnapshot(7, 4)
			must(t, err)
			_, _, err = w.Close()
			must(t, err)
			w.Abort()
			return GroupWrite{Snapshot: &SnapshotMeta{Index: 4, Checksum: 0xef46db3751d8e999}}
		}, "is missing"},
		{"a snapshot beyond the log", func(t *testing.T, s Store) GroupWrite {
			return GroupWrite{Snapshot: snapshot(t, s, 7, 6, 1, "six")}
		}, "snapshot at 6 of a log of [3, 5] with a snapshot at 3"},
		{"a snapshot older than the present one", func(t *testing.T, s Store) GroupWrite {
			return GroupWrite{Snapshot: snapshot(t, s, 7, 2, 1, "two")}
		}, "snapshot at 2 of a log of [3, 5] with a snapshot at 3"},
		{"an installed snapshot below the commit index", func(t *testing.T, s Store) GroupWrite {
			return GroupWrite{Install: true, Snapshot: snapshot(t, s, 7, 3, 1, "other")}
		}, "installed snapshot at 3 is older than snapshot 3 or commit 4"},
	}
	for _, d := range disks {
		for _, tt := range tests {
			t.Run(d.name+"/"+tt.name, func(t *testing.T) {
				disk := d.new()
				var fatal error
				s := disk.open(t)
				if p, ok := s.(*Pebble); ok {
					must(t, p.Close())
					var err error
					s, err = OpenPebble(PebbleConfig{FS: disk.(*pebbleDisk).fs, Dir: dataDir, OnFatal: func(err error) { fatal = err }})
					must(t, err)
				}
				write(t, s, GroupWrite{Group: 7, HardState: hard(1, 1, 4), Entries: entries(1, 1, 1, 1, 1, 1)})
				write(t, s, GroupWrite{Group: 7, Snapshot: snapshot(t, s, 7, 3, 1, "three"), CompactTo: 2, CompactToTerm: 1})
				before := dump(t, s)

				w := tt.write(t, s)
				w.Group = 7
				err := s.Write([]GroupWrite{{Group: 8, Entries: entries(1, 1)}, w}, true)
				matches := false
				for part := range strings.SplitSeq(tt.want, "|") {
					matches = matches || err != nil && strings.Contains(err.Error(), part)
				}
				if !matches {
					t.Fatalf("got error %v, want %q", err, tt.want)
				}
				if again := s.Write([]GroupWrite{{Group: 8, HardState: hard(1, 1, 0)}}, true); again == nil || again.Error() != err.Error() {
					t.Errorf("the next write got %v, want %v", again, err)
				}
				if again := s.Set("name", nil); again == nil || again.Error() != err.Error() {
					t.Errorf("Set got %v, want %v", again, err)
				}
				if _, ok := s.(*Pebble); ok && !errors.Is(err, fatal) {
					t.Errorf("fatal error %v, want %v", fatal, err)
				}
				disk.crash()
				expect(t, "after a loss of power", disk.open(t), before)
			})
		}
	}
}

func just(w GroupWrite) func(*testing.T, Store) GroupWrite {
	return func(*testing.T, Store) GroupWrite { return w }
}

func TestEntries(t *testing.T) {
	tests := []struct {
		name               string
		group, lo, hi, max uint64
		want               string
		err                error
	}{
		{"all", 7, 3, 7, math.MaxUint64, "3:1 4:1 5:2 6:2", nil},
		{"some", 7, 4, 6, math.MaxUint64, "4:1 5:2", nil},
		{"none", 7, 4, 4, math.MaxUint64, "", nil},
		{"at least one", 7, 4, 7, 0, "4:1", nil},
		{"as many as fit exactly", 7, 3, 7, 2 * sizeOf(entries(3, 1)), "3:1 4:1", nil},
		{"one byte too few", 7, 3, 7, 2*sizeOf(entries(3, 1)) - 1, "3:1", nil},
		{"from below the begin", 7, 2, 4, math.MaxUint64, "", ErrCompacted},
		{"far below", 7, 0, 1, math.MaxUint64, "", ErrCompacted},
		{"beyond the end", 7, 6, 8, math.MaxUint64, "", ErrUnavailable},
		{"beyond the end, though what fits is there", 7, 3, 8, 0, "", ErrUnavailable},
		{"of no group", 6, 1, 2, math.MaxUint64, "", ErrUnavailable},
	}
	for _, d := range disks {
		disk := d.new()
		s := disk.open(t)
		write(t, s, GroupWrite{Group: 7, HardState: hard(2, 1, 3), Entries: entries(1, 1, 1, 1, 1, 2, 2)})
		write(t, s, GroupWrite{Group: 7, Snapshot: snapshot(t, s, 7, 3, 1, "three"), CompactTo: 2, CompactToTerm: 1})
		for _, tt := range tests {
			t.Run(d.name+"/"+tt.name, func(t *testing.T) {
				got, err := s.Entries(tt.group, tt.lo, tt.hi, tt.max)
				if !errors.Is(err, tt.err) || showEntries(got) != tt.want {
					t.Errorf("got %q and %v, want %q and %v", showEntries(got), err, tt.want, tt.err)
				}
			})
		}
		must(t, s.Close())
	}
}

func TestSnapshotFiles(t *testing.T) {
	for _, d := range disks {
		t.Run(d.name+"/an open reader outlives its snapshot", func(t *testing.T) {
			s := d.new().open(t)
			old := snapshot(t, s, 7, 1, 1, strings.Repeat("old", 1<<16))
			write(t, s, GroupWrite{Group: 7, Install: true, Snapshot: old})
			r, err := s.OpenSnapshot(7, *old)
			must(t, err)
			if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			write(t, s, GroupWrite{Group: 7, Install: true, Snapshot: snapshot(t, s, 7, 2, 1, "new")})
			rest, err := io.ReadAll(r)
			must(t, err)
			if uint64(len(rest)+100) != old.Size {
				t.Errorf("read %d bytes, want %d", len(rest)+100, old.Size)
			}
			must(t, r.Close())
			if _, err := s.OpenSnapshot(7, *old); !errors.Is(err, ErrUnavailable) {
				t.Errorf("open again: %v, want %v", err, ErrUnavailable)
			}
			must(t, s.Close())
		})
		t.Run(d.name+"/a file that is not what its meta says", func(t *testing.T) {
			s := d.new().open(t)
			for name, change := range map[string]func(*SnapshotMeta){
				"size":    func(m *SnapshotMeta) { m.Size-- },
				"no size": func(m *SnapshotMeta) { m.Size++ },
			} {
				meta := snapshot(t, s, 7, 1, 1, "snapshot")
				change(meta)
				r, err := s.OpenSnapshot(7, *meta)
				must(t, err)
				if _, err := io.ReadAll(r); !errors.Is(err, ErrCorrupt) {
					t.Errorf("%s: got %v, want %v", name, err, ErrCorrupt)
				}
				must(t, r.Close())
			}
			must(t, s.Close())
		})
		t.Run(d.name+"/a younger file waits for its write", func(t *testing.T) {
			s := d.new().open(t)
			older := snapshot(t, s, 7, 5, 1, "five")
			younger := snapshot(t, s, 7, 9, 1, "nine")
			unused := snapshot(t, s, 7, 4, 1, "four")
			write(t, s, GroupWrite{Group: 7, Install: true, Snapshot: older})
			if _, err := s.OpenSnapshot(7, *unused); !errors.Is(err, ErrUnavailable) {
				t.Errorf("an older one is still there: %v", err)
			}
			write(t, s, GroupWrite{Group: 7, Install: true, Snapshot: younger})
			expect(t, "at the end", s, lines(`group 7: term 0 vote 0 commit 0, snapshot 9:1 "nine", log [10, 9] behind term 1:`))
			must(t, s.Close())
		})
	}
}

// TestUnsyncedWritesAreAtomic loses the unsynced end of a history: what is left
// are whole Writes, from the first on.
func TestUnsyncedWritesAreAtomic(t *testing.T) {
	d := newMemDisk().(*memDisk)
	s := d.store
	write(t, s, GroupWrite{Group: 1, Entries: entries(1, 1)})
	mustWrite(t, s, false, GroupWrite{Group: 1, Entries: entries(2, 1)}, GroupWrite{Group: 2, Entries: entries(1, 1)})
	mustWrite(t, s, false, GroupWrite{Group: 1, Entries: entries(3, 1)})
	if n := s.Unsynced(); n != 2 {
		t.Fatalf("%d writes are unsynced, want 2", n)
	}
	s = s.Crash(1)
	expect(t, "with one kept", s, lines(`
		group 1: term 0 vote 0 commit 0, log [1, 2] behind term 0: 1:1 2:1
		group 2: term 0 vote 0 commit 0, log [1, 1] behind term 0: 1:1`))
	want := dump(t, s)
	expect(t, "which a second crash does not lose", s.Crash(0), want)
}

func TestMemStoreFaults(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name string
		at   MemOp
		do   func(*MemStore) error
		kept int // unsynced changes that there may be
	}{
		{"before a write", MemWrite, func(s *MemStore) error {
			return s.Write([]GroupWrite{{Group: 7, Entries: entries(2, 1)}}, true)
		}, 0},
		{"in the sync", MemSync, func(s *MemStore) error {
			return s.Write([]GroupWrite{{Group: 7, Entries: entries(2, 1)}}, true)
		}, 1},
		{"in the sync of a record", MemSync, func(s *MemStore) error { return s.Set("name", nil) }, 1},
		{"in a snapshot", MemSnapshot, func(s *MemStore) error {
			w, err := s.CreateSnapshot(7, 1)
			if err != nil {
				return err
			}
			_, _, err = w.Close()
			return err
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := NewMemStore()
			write(t, s, GroupWrite{Group: 7, Entries: entries(1, 1)})
			before := dump(t, s)
			s.Inject(func(op MemOp) error {
				if op == tt.at {
					return boom
				}
				return nil
			})
			if err := tt.do(s); !errors.Is(err, boom) {
				t.Fatalf("got %v, want %v", err, boom)
			}
			s.Inject(nil)
			if err := s.Write(nil, true); !errors.Is(err, boom) {
				t.Errorf("the next write got %v, want %v", err, boom)
			}
			if n := s.Unsynced(); n != tt.kept {
				t.Errorf("%d changes are unsynced, want %d", n, tt.kept)
			}
			expect(t, "after the crash", s.Crash(0), before)
		})
	}
	t.Run("in a read", func(t *testing.T) {
		s := NewMemStore()
		write(t, s, GroupWrite{Group: 7, Entries: entries(1, 1)})
		s.Inject(func(op MemOp) error {
			if op == MemRead {
				return boom
			}
			return nil
		})
		if _, err := s.Entries(7, 1, 2, 0); !errors.Is(err, boom) {
			t.Errorf("got %v, want %v", err, boom)
		}
		write(t, s, GroupWrite{Group: 7, Entries: entries(2, 1)})
	})
}

// entries makes entries from index first on, one for each term.
func entries(first uint64, terms ...uint64) []raftpb.Entry {
	var es []raftpb.Entry
	for i, term := range terms {
		index := first + uint64(i)
		es = append(es, raftpb.Entry{Index: index, Term: term, Data: fmt.Appendf(nil, "data of %d in %d", index, term)})
	}
	return es
}

func sizeOf(es []raftpb.Entry) (size uint64) {
	for i := range es {
		size += uint64(es[i].Size())
	}
	return size
}

func hard(term, vote, commit uint64) raftpb.HardState {
	return raftpb.HardState{Term: term, Vote: vote, Commit: commit}
}

// snapshot writes a snapshot file.
func snapshot(t testing.TB, s Store, group, index, term uint64, data string) *SnapshotMeta {
	t.Helper()
	w, err := s.CreateSnapshot(group, index)
	must(t, err)
	_, err = io.WriteString(w, data)
	must(t, err)
	size, checksum, err := w.Close()
	must(t, err)
	return &SnapshotMeta{Index: index, Term: term, Size: size, Checksum: checksum, ConfState: raftpb.ConfState{Voters: []uint64{1, 2, 3}}}
}

func write(t testing.TB, s Store, writes ...GroupWrite) {
	t.Helper()
	mustWrite(t, s, true, writes...)
}

func mustWrite(t testing.TB, s Store, sync bool, writes ...GroupWrite) {
	t.Helper()
	must(t, s.Write(writes, sync))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, when string, s Store, want string) {
	t.Helper()
	if got := dump(t, s); got != want {
		t.Errorf("%s there is\n%s\nwant\n%s", when, got, want)
	}
}

// dump is all that a store has, and checks that its answers agree.
func dump(t testing.TB, s Store) string {
	t.Helper()
	got, err := contents(s)
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, got)
	}
	return got
}

func contents(s Store) (string, error) {
	var b strings.Builder
	groups, err := s.Groups()
	if err != nil {
		return "", err
	}
	for _, g := range groups {
		fmt.Fprintf(&b, "group %d: term %d vote %d commit %d, ", g.Group, g.HardState.Term, g.HardState.Vote, g.HardState.Commit)
		if m := g.Snapshot; m.Index > 0 {
			if len(m.ConfState.Voters) != 3 {
				return b.String(), fmt.Errorf("voters %v", m.ConfState.Voters)
			}
			r, err := s.OpenSnapshot(g.Group, m)
			if err != nil {
				return b.String(), err
			}
			data, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil {
				return b.String(), err
			}
			fmt.Fprintf(&b, "snapshot %d:%d %q, ", m.Index, m.Term, data)
		}
		es, err := s.Entries(g.Group, g.First, g.Last+1, math.MaxUint64)
		if err != nil {
			return b.String(), err
		}
		fmt.Fprintf(&b, "log [%d, %d] behind term %d: %s", g.First, g.Last, g.FirstTerm, showEntries(es))
		if got, want := s.LogBytes(g.Group), sizeOf(es); got != want {
			return b.String(), fmt.Errorf("LogBytes are %d, want %d", got, want)
		}
		b.WriteByte('\n')
	}
	for _, key := range []string{"name", "empty", "never set"} {
		value, err := s.Get(key)
		if err != nil {
			return b.String(), err
		}
		if value != nil {
			fmt.Fprintf(&b, "%s = %q\n", key, value)
		}
	}
	return lines(b.String()), nil
}

func showEntries(es []raftpb.Entry) string {
	var parts []string
	for _, e := range es {
		part := fmt.Sprintf("%d:%d", e.Index, e.Term)
		if want := entries(e.Index, e.Term)[0]; string(e.Data) != string(want.Data) {
			part += fmt.Sprintf("(%q)", e.Data)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " ")
}

// lines trims each line of s, and drops empty ones.
func lines(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}
