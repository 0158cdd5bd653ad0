package storage_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/etcd/raft/v3/raftpb"

	. "lockd/consensus/storage"
)

// BenchmarkWrite writes entries of 200 bytes to one group, with an fsync each
// time on the disk of the temporary directory.
func BenchmarkWrite(b *testing.B) {
	for _, n := range []int{1, 16, 256} {
		for _, sync := range []bool{true, false} {
			b.Run(fmt.Sprintf("entries=%d/sync=%v", n, sync), func(b *testing.B) {
				benchmarkWrite(b, n, sync)
			})
		}
	}
}

func benchmarkWrite(b *testing.B, n int, sync bool) {
	s, err := OpenPebble(PebbleConfig{FS: vfs.Default, Dir: b.TempDir(), OnFatal: func(err error) { b.Error(err) }})
	must(b, err)
	data := make([]byte, 200)
	es := make([]raftpb.Entry, n)
	writes := []GroupWrite{{Group: 1, Entries: es}}
	index := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		for i := range es {
			index++
			es[i] = raftpb.Entry{Index: index, Term: 1, Data: data}
		}
		writes[0].HardState = raftpb.HardState{Term: 1, Vote: 1, Commit: index - uint64(n)}
		must(b, s.Write(writes, sync))
	}
	b.StopTimer()
	must(b, s.Close())
}

// BenchmarkEntries reads entries of 200 bytes back.
func BenchmarkEntries(b *testing.B) {
	s, err := OpenPebble(PebbleConfig{FS: vfs.Default, Dir: b.TempDir()})
	must(b, err)
	const last = 10_000
	es := make([]raftpb.Entry, last)
	for i := range es {
		es[i] = raftpb.Entry{Index: uint64(i) + 1, Term: 1, Data: make([]byte, 200)}
	}
	must(b, s.Write([]GroupWrite{{Group: 1, Entries: es}}, true))
	for _, n := range []uint64{1, 64, 1024} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			lo := uint64(1)
			for b.Loop() {
				if _, err := s.Entries(1, lo, lo+n, 1<<30); err != nil {
					b.Fatal(err)
				}
				if lo += n; lo+n > last {
					lo = 1
				}
			}
		})
	}
	must(b, s.Close())
}
