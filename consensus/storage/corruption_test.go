package storage_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/etcd/raft/v3/raftpb"

	. "lockd/consensus/storage"
)

// fill writes synced batches of entries to group 1 of a fresh store, and leaves
// it as kill -9 does.
func fill(t *testing.T, batches, entriesEach, size int) *vfs.MemFS {
	t.Helper()
	disk := vfs.NewCrashableMem()
	s := openPebble(t, disk)
	rng := rand.New(rand.NewPCG(1, 1))
	index := uint64(0)
	for range batches {
		es := make([]raftpb.Entry, entriesEach)
		for i := range es {
			index++
			data := make([]byte, size)
			for j := range data {
				data[j] = byte(rng.Uint32())
			}
			es[i] = raftpb.Entry{Index: index, Term: 1, Data: data}
		}
		write(t, s, GroupWrite{Group: 1, HardState: hard(1, 1, index), Entries: es})
	}
	return killed(disk)
}

// killed is the disk after kill -9, which loses nothing that was written.
func killed(disk *vfs.MemFS) *vfs.MemFS {
	return disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
}

// newest returns the path of the file in a directory of the store that has the
// ending and sorts last.
func newest(t *testing.T, fs vfs.FS, dir, ending string) string {
	t.Helper()
	dir = fs.PathJoin(dataDir, dir)
	names, err := fs.List(dir)
	must(t, err)
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ending) })
	if len(names) == 0 {
		t.Fatalf("no file *%s in %s", ending, dir)
	}
	return fs.PathJoin(dir, slices.Max(names))
}

func sizeOfFile(t *testing.T, fs vfs.FS, path string) int64 {
	t.Helper()
	info, err := fs.Stat(path)
	must(t, err)
	return info.Size()
}

func flip(t *testing.T, fs vfs.FS, path string, bit int64) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	must(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], bit/8)
	must(t, err)
	b[0] ^= 1 << (bit % 8)
	_, err = f.WriteAt(b[:], bit/8)
	must(t, errors.Join(err, f.Close()))
}

// mustRefuse opens a store that has lost something. It must say so, name the
// file (unless that is ""), and tell what to do.
func mustRefuse(t *testing.T, when string, fs vfs.FS, file string) {
	t.Helper()
	s, err := OpenPebble(PebbleConfig{FS: fs, Dir: dataDir})
	if err == nil {
		states, err := s.Groups()
		t.Errorf("%s: the store opened with %+v (%v)", when, states, errors.Join(err, s.Close()))
		return
	}
	if !errors.Is(err, ErrCorrupt) || file != "" && !strings.Contains(err.Error(), filepath.Base(file)) {
		t.Errorf("%s: got %v, want %v of %s", when, err, ErrCorrupt, file)
	}
	if strings.Count(err.Error(), advice) != 1 {
		t.Errorf("%s: got %v, want the advice once: %s", when, err, advice)
	}
}

const advice = "this node's data cannot be trusted: stop it, move " + dataDir +
	" aside, and let the node join again under a new name (a new raft id)"

// TestFlippedBits flips one bit of the newest WAL after kill -9 (F10). No flip
// may take away what was acknowledged: neither in the middle, which Pebble sees
// for small batches, nor in large batches or in the last block, where it takes
// the rest of the WAL for a torn tail, nor in the number of the WAL, which can
// read as the WAL's orderly end.
func TestFlippedBits(t *testing.T) {
	for _, load := range []struct{ batches, entries, size, flips int }{
		{900, 1, 100, 50}, {100, 16, 200, 50}, {8, 256, 200, 10}, {3, 1, 200_000, 10},
	} {
		t.Run(fmt.Sprintf("%d batches of %d entries of %d bytes", load.batches, load.entries, load.size), func(t *testing.T) {
			disk := fill(t, load.batches, load.entries, load.size)
			wal := newest(t, disk, "wal", ".log")
			bits := 8 * sizeOfFile(t, disk, wal)
			rng := rand.New(rand.NewPCG(uint64(bits), 1))
			at := []int64{7 * 8, 7*8 + 1, bits - 1} // two of the WAL's number, and the last one
			for range load.flips {
				at = append(at, rng.Int64N(bits))
			}
			for _, bit := range at {
				damaged := killed(disk)
				flip(t, damaged, wal, bit)
				when := fmt.Sprintf("bit %d of %d", bit, bits)
				mustRefuse(t, when, damaged, wal)
				mustRefuse(t, when+", opened again", damaged, "")
			}
		})
	}
}

// TestLostWAL takes a WAL away, or a part of it.
func TestLostWAL(t *testing.T) {
	disk := fill(t, 200, 4, 100)
	wal := newest(t, disk, "wal", ".log")
	t.Run("removed", func(t *testing.T) {
		damaged := killed(disk)
		must(t, damaged.Remove(wal))
		mustRefuse(t, "removed", damaged, "")
	})
	t.Run("cut short", func(t *testing.T) {
		data := read(t, disk, wal)
		for _, length := range []int{0, 1, 100, len(data) / 2, len(data) - 1} {
			damaged := killed(disk)
			overwrite(t, damaged, wal, data[:length])
			mustRefuse(t, fmt.Sprintf("cut to %d bytes", length), damaged, wal)
		}
	})
}

// TestFlippedTable flips bits of a table, into which a restart has put the
// entries, and of the manifest that names it. Pebble checks the former's blocks
// and may not care for some bits of the latter, but nothing may be missing.
func TestFlippedTable(t *testing.T) {
	disk := fill(t, 300, 4, 100)
	must(t, openPebble(t, disk).Close())
	s := openPebble(t, disk)
	want := dump(t, s)
	disk = killed(disk)
	rng := rand.New(rand.NewPCG(1, 1))
	table := newest(t, disk, "", ".sst")
	for range 8 {
		bit := rng.Int64N(8 * sizeOfFile(t, disk, table))
		damaged := killed(disk)
		flip(t, damaged, table, bit)
		mustRefuse(t, fmt.Sprintf("bit %d of the table", bit), damaged, table)
	}
	for _, name := range list(t, disk, "") {
		if !strings.HasPrefix(name, "MANIFEST") {
			continue
		}
		manifest := disk.PathJoin(dataDir, name)
		for range 20 {
			bit := rng.Int64N(8 * sizeOfFile(t, disk, manifest))
			damaged := killed(disk)
			flip(t, damaged, manifest, bit)
			s, err := OpenPebble(PebbleConfig{FS: damaged, Dir: dataDir})
			if err != nil {
				mustRefuse(t, fmt.Sprintf("bit %d of %s (%v)", bit, name, err), damaged, "")
				continue
			}
			expect(t, fmt.Sprintf("bit %d of %s", bit, name), s, want)
			must(t, s.Close())
		}
	}
}

// TestCorruptionWhileOpen damages a table after the store was opened. Whoever
// reads it is told, and so is OnFatal.
func TestCorruptionWhileOpen(t *testing.T) {
	disk := fill(t, 100, 16, 8000) // more than the cache holds
	must(t, openPebble(t, disk).Close())
	var fatal error
	s, err := OpenPebble(PebbleConfig{FS: disk, Dir: dataDir, OnFatal: func(err error) { fatal = err }})
	must(t, err)
	table := newest(t, disk, "", ".sst")
	flip(t, disk, table, 4*sizeOfFile(t, disk, table))
	_, err = s.Entries(1, 1, 1601, math.MaxUint64)
	for _, err := range []error{err, fatal, s.Write(nil, true)} {
		if !errors.Is(err, ErrCorrupt) || strings.Count(err.Error(), advice) != 1 {
			t.Errorf("got %v, want %v with %s", err, ErrCorrupt, advice)
		}
	}
	if err := s.Close(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Close got %v, want %v", err, ErrCorrupt)
	}
}

// TestMovedDirectory moves the data to another path.
func TestMovedDirectory(t *testing.T) {
	disk := fill(t, 3, 1, 10)
	must(t, disk.MkdirAll("/elsewhere", 0o755))
	must(t, disk.Rename(dataDir, "/elsewhere/data"))
	s, err := OpenPebble(PebbleConfig{FS: disk, Dir: "/elsewhere/data"})
	must(t, err)
	states, err := s.Groups()
	must(t, err)
	if len(states) != 1 || states[0].Last != 3 {
		t.Errorf("got %+v", states)
	}
	must(t, s.Close())
}

// TestTornTail cuts the power within a Write. It was not acknowledged, so the
// store opens without it, or with all of it.
func TestTornTail(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := openPebble(t, disk)
	write(t, s, GroupWrite{Group: 1, Entries: entries(1, 1)})
	before := killed(disk)
	write(t, s, GroupWrite{Group: 1, Entries: entries(2, 2, 2)}, GroupWrite{Group: 2, Entries: entries(1, 2)})
	wal := newest(t, disk, "wal", ".log")
	whole := read(t, disk, wal)
	begin := int(sizeOfFile(t, before, wal))
	states := []string{
		"group 1: term 0 vote 0 commit 0, log [1, 1] behind term 0: 1:1",
		lines(`group 1: term 0 vote 0 commit 0, log [1, 3] behind term 0: 1:1 2:2 3:2
			group 2: term 0 vote 0 commit 0, log [1, 1] behind term 0: 1:2`),
	}
	for length := begin; length <= len(whole); length++ {
		torn := killed(before)
		overwrite(t, torn, wal, whole[:length])
		s := openPebble(t, torn)
		want := states[0]
		if length == len(whole) {
			want = states[1]
		}
		expect(t, fmt.Sprintf("with %d of %d bytes", length-begin, len(whole)-begin), s, want)
		must(t, s.Close())
	}
}

// TestStaleMark has a mark that a loss of power left old, unreadable or not
// written at all. It then proves nothing, and hinders nothing.
func TestStaleMark(t *testing.T) {
	disk := fill(t, 3, 1, 10)
	mark := dataDir + "/acknowledged"
	for name, data := range map[string][]byte{"empty": nil, "short": make([]byte, 5), "zeros": make([]byte, 16), "garbage": []byte("0123456789abcdef")} {
		left := killed(disk)
		overwrite(t, left, mark, data)
		s := openPebble(t, left)
		states, err := s.Groups()
		must(t, err)
		if len(states) != 1 || states[0].Last != 3 {
			t.Errorf("%s: got %+v", name, states)
		}
		must(t, s.Close())
	}
	left := killed(disk)
	must(t, left.Remove(mark))
	must(t, openPebble(t, left).Close())
}

// TestDamagedSnapshot damages the snapshot file that a group names (F10).
func TestDamagedSnapshot(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := openPebble(t, disk)
	write(t, s, GroupWrite{Group: 1, Install: true, Snapshot: snapshot(t, s, 1, 5, 1, "a snapshot")})
	disk = killed(disk)
	file := newest(t, disk, "snapshots", ".snap")
	t.Run("removed", func(t *testing.T) {
		damaged := killed(disk)
		must(t, damaged.Remove(file))
		mustRefuse(t, "removed", damaged, file)
	})
	t.Run("cut short", func(t *testing.T) {
		damaged := killed(disk)
		overwrite(t, damaged, file, []byte("a snap"))
		mustRefuse(t, "cut short", damaged, file)
	})
	t.Run("a flipped bit", func(t *testing.T) {
		damaged := killed(disk)
		flip(t, damaged, file, 11)
		s := openPebble(t, damaged)
		if _, err := contents(s); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), filepath.Base(file)) {
			t.Errorf("got %v, want %v of %s", err, ErrCorrupt, file)
		}
		must(t, s.Close())
	})
}

// TestUnusedSnapshots has files in the directory that no group names.
func TestUnusedSnapshots(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := openPebble(t, disk)
	named := snapshot(t, s, 1, 5, 1, "named")
	write(t, s, GroupWrite{Group: 1, Install: true, Snapshot: named})
	snapshot(t, s, 1, 9, 1, "complete, but never named")
	w, err := s.CreateSnapshot(1, 11)
	must(t, err)
	_, err = io.WriteString(w, "not complete")
	must(t, err)
	disk = killed(disk)
	if n := len(list(t, disk, "snapshots")); n != 3 {
		t.Fatalf("%d files before, want 3", n)
	}
	s = openPebble(t, disk)
	if names := list(t, disk, "snapshots"); len(names) != 1 {
		t.Errorf("left are %v", names)
	}
	expect(t, "after the restart", s, lines(`group 1: term 0 vote 0 commit 0, snapshot 5:1 "named", log [6, 5] behind term 1:`))
	must(t, s.Close())
}

func list(t *testing.T, fs vfs.FS, dir string) []string {
	t.Helper()
	names, err := fs.List(fs.PathJoin(dataDir, dir))
	must(t, err)
	return names
}

func read(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	must(t, err)
	data, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	return data
}

func overwrite(t *testing.T, fs vfs.FS, path string, data []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.Write(slices.Clone(data))
	must(t, errors.Join(err, f.Sync(), f.Close()))
}
