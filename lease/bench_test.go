package lease

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"

	"lockd/lease/leasepb"
)

func numberedLease(n int) ID {
	var random [12]byte
	binary.BigEndian.PutUint64(random[:], uint64(n))
	return NewID("jobs", random)
}

func createCommand(id ID) *leasepb.Command {
	return &leasepb.Command{Op: &leasepb.Command_CreateLease{CreateLease: &leasepb.CreateLease{
		Lease: id[:], Namespace: "jobs", New: &leasepb.NewLease{Owner: "worker", TtlMs: 30_000},
	}}}
}

func acquireCommand(id ID, lock string, waitMs int64) *leasepb.Command {
	return &leasepb.Command{AtUnixMs: 1_800_000_000_000, Op: &leasepb.Command_Acquire{Acquire: &leasepb.Acquire{
		Lease:   id[:],
		Locks:   []*leasepb.LockRequest{{Namespace: "jobs", Lock: lock, Permits: 1}},
		WaitMs:  waitMs,
		Attempt: &leasepb.Attempt{Boot: 1, Id: 1},
	}}}
}

func releaseCommand(id ID, lock string) *leasepb.Command {
	return &leasepb.Command{Op: &leasepb.Command_Release{Release: &leasepb.Release{
		Lease: id[:], Locks: []*leasepb.ReleaseRef{{Namespace: "jobs", Lock: lock}},
	}}}
}

// loaded is a state in which each of the leases holds some locks.
func loaded(leases, locksEach int) *State {
	s := New()
	s.Apply(1, 1, ownAll())
	for i := range leases {
		id := numberedLease(i)
		s.Apply(1, 1, createCommand(id))
		for j := range locksEach {
			s.Apply(1, 1, acquireCommand(id, fmt.Sprintf("lock-%07d", j*leases+i), 0))
		}
	}
	return s
}

// sized runs a benchmark on an empty and on a well filled state.
func sized(b *testing.B, run func(b *testing.B, s *State)) {
	for _, leases := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("locks=%d", leases*10), func(b *testing.B) {
			s := loaded(leases, 10)
			b.ReportAllocs()
			b.ResetTimer()
			run(b, s)
		})
	}
}

func BenchmarkAcquireRelease(b *testing.B) {
	sized(b, func(b *testing.B, s *State) {
		id := numberedLease(1 << 40)
		s.Apply(1, 1, createCommand(id))
		acquire, release := acquireCommand(id, "nightly", 0), releaseCommand(id, "nightly")
		for b.Loop() {
			s.Apply(1, 1, acquire)
			s.Apply(1, 1, release)
		}
	})
}

func BenchmarkOneShot(b *testing.B) {
	sized(b, func(b *testing.B, s *State) {
		id := numberedLease(1 << 40)
		acquire, release := acquireCommand(id, "nightly", 0), releaseCommand(id, "nightly")
		acquire.GetAcquire().OneShot = &leasepb.NewLease{TtlMs: 30_000}
		for b.Loop() {
			s.Apply(1, 1, acquire)
			s.Apply(1, 1, release)
		}
	})
}

// BenchmarkRefused is a try for a lock that another lease holds.
func BenchmarkRefused(b *testing.B) {
	s := loaded(2, 1)
	try := acquireCommand(numberedLease(0), "lock-0000001", 0)
	b.ReportAllocs()
	for b.Loop() {
		s.Apply(1, 1, try)
	}
}

// BenchmarkHandOff is a release that passes a lock to the next waiter, and the
// wait of the one who released.
func BenchmarkHandOff(b *testing.B) {
	for _, waiters := range []int{16, 10_000} {
		b.Run(fmt.Sprintf("waiters=%d", waiters), func(b *testing.B) {
			s := loaded(waiters+1, 0)
			var acquires, releases []*leasepb.Command
			for i := range waiters + 1 {
				acquires = append(acquires, acquireCommand(numberedLease(i), "hot", 60_000))
				releases = append(releases, releaseCommand(numberedLease(i), "hot"))
				s.Apply(1, 1, acquires[i])
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; b.Loop(); i = (i + 1) % len(acquires) {
				s.Apply(1, 1, releases[i])
				s.Apply(1, 1, acquires[i])
			}
			if s.Stats().Waiters != waiters {
				b.Fatalf("%d waiters", s.Stats().Waiters)
			}
		})
	}
}

// BenchmarkGiveUp is 10,000 waiters that leave in no order.
func BenchmarkGiveUp(b *testing.B) {
	const waiters = 10_000
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		s := loaded(waiters+1, 0)
		for i := range waiters + 1 {
			s.Apply(1, 1, acquireCommand(numberedLease(i), "hot", 60_000))
		}
		b.StartTimer()
		for i := range waiters {
			s.Apply(1, 1, releaseCommand(numberedLease(1+i*7919%waiters), "hot"))
		}
	}
}

// BenchmarkExpire ends 256 leases of 10 locks each in one entry.
func BenchmarkExpire(b *testing.B) {
	b.ReportAllocs()
	expire := new(leasepb.Expire)
	for i := range 256 {
		id := numberedLease(i)
		expire.Leases = append(expire.Leases, id[:])
	}
	for b.Loop() {
		b.StopTimer()
		s := loaded(256, 10)
		b.StartTimer()
		s.Apply(1, 1, &leasepb.Command{Term: 1, Op: &leasepb.Command_Expire{Expire: expire}})
	}
}

func BenchmarkDecodeCommand(b *testing.B) {
	data, err := proto.Marshal(acquireCommand(numberedLease(1), "nightly", 0))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeCommand(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeCommand(b *testing.B) {
	cmd := acquireCommand(numberedLease(1), "nightly", 0)
	var data []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if data, err = (proto.MarshalOptions{}).MarshalAppend(data[:0], cmd); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLockView(b *testing.B) {
	s := loaded(1000, 1)
	b.ReportAllocs()
	for b.Loop() {
		s.Lock("jobs", "lock-0000500")
	}
}

// BenchmarkSnapshot takes a snapshot of 100,000 locks and changes one of them:
// what it costs the loop that applies.
func BenchmarkSnapshot(b *testing.B) {
	s := loaded(10_000, 10)
	id := numberedLease(1 << 40)
	s.Apply(1, 1, createCommand(id))
	acquire, release := acquireCommand(id, "nightly", 0), releaseCommand(id, "nightly")
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		s.Snapshot()
		s.Apply(1, 1, acquire)
		s.Apply(1, 1, release)
	}
}

func BenchmarkSnapshotEncode(b *testing.B) {
	snapshot := loaded(10_000, 10).Snapshot()
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if err := snapshot.Encode(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSnapshotDecode(b *testing.B) {
	data := encode(b, loaded(10_000, 10).Snapshot())
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	b.ResetTimer()
	for b.Loop() {
		if _, err := Decode(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMillionLocks builds 1,000,000 locks held by 100,000 leases, writes a
// snapshot of them and restores it.
func BenchmarkMillionLocks(b *testing.B) {
	for b.Loop() {
		before := heap()
		s := loaded(100_000, 10)
		b.ReportMetric(float64(heap()-before)/1e6, "heap-B/lock")

		var stream bytes.Buffer
		if err := s.Snapshot().Encode(&stream); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(stream.Len())/1e6, "snapshot-B/lock")
		runtime.KeepAlive(s)
		s = nil
		before = heap()
		start := b.Elapsed()
		restored, err := Decode(&stream)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((b.Elapsed() - start).Seconds(), "restore-s")
		b.ReportMetric(float64(heap()-before)/1e6, "restored-heap-B/lock")
		runtime.KeepAlive(restored)
		runtime.KeepAlive(stream)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestHeapPerLock bounds what a held lock costs, with a tenth of its lease.
func TestHeapPerLock(t *testing.T) {
	if testing.Short() {
		t.Skip("builds 200,000 locks")
	}
	const leases, locksEach = 20_000, 10
	before := heap()
	s := loaded(leases, locksEach)
	if perLock := (heap() - before) / (leases * locksEach); perLock >= 600 {
		t.Errorf("%d bytes a lock", perLock)
	}
	runtime.KeepAlive(s)
}
