package lease

import (
	"encoding/binary"
	"fmt"
	"testing"

	"lockd/lease/leasepb"
)

func TestQuotaPlacesPerLease(t *testing.T) {
	s := loaded(1, maxPlaces-1)
	id := numberedLease(0)
	two := acquireCommand(id, "one", 0)
	two.GetAcquire().Locks = append(two.GetAcquire().Locks, &leasepb.LockRequest{Namespace: "jobs", Lock: "two", Permits: 1})
	if r := s.Apply(1, 1, two).Result; r.Code != leasepb.Code_QUOTA_EXCEEDED {
		t.Errorf("two more: %v", r)
	}
	if r := s.Apply(1, 1, acquireCommand(id, "one", 0)).Result; r.Code != leasepb.Code_OK {
		t.Errorf("one more: %v", r)
	}
	// What it has, it may ask for again.
	for lock, want := range map[string]leasepb.Code{"one": leasepb.Code_OK, "two": leasepb.Code_QUOTA_EXCEEDED} {
		if r := s.Apply(1, 1, acquireCommand(id, lock, 1000)).Result; r.Code != want {
			t.Errorf("%s: %v", lock, r)
		}
	}
}

func TestQuotaWaitersPerLock(t *testing.T) {
	s := loaded(1, 1)
	oneShot := func(n int) *leasepb.Result {
		cmd := acquireCommand(numberedLease(n), "lock-0000000", 1000)
		cmd.GetAcquire().OneShot = &leasepb.NewLease{TtlMs: 1000}
		return s.Apply(1, 1, cmd).Result
	}
	for n := range maxWaiters {
		if r := oneShot(n + 1); r.Code != leasepb.Code_QUEUED {
			t.Fatalf("waiter %d: %v", n, r)
		}
	}
	if r := oneShot(maxWaiters + 1); r.Code != leasepb.Code_QUOTA_EXCEEDED {
		t.Errorf("one more: %v", r)
	}
	if r := oneShot(maxWaiters); r.Code != leasepb.Code_QUEUED {
		t.Errorf("the last one again: %v", r)
	}
	if got := s.Stats(); got.Waiters != maxWaiters || got.Leases != maxWaiters+1 {
		t.Errorf("%+v", got)
	}
	view := s.Lock("jobs", "lock-0000000")
	if len(view.Queue) != queueShown || view.QueueLength != maxWaiters || view.Queue[99].Position != 100 {
		t.Errorf("shows %d of %d", len(view.Queue), view.QueueLength)
	}
}

// TestR8FullTable: a full table refuses new keys, and never forgets early.
func TestR8FullTable(t *testing.T) {
	s := loaded(1, 0)
	for n := range maxKeys - 1 {
		var hash KeyHash
		binary.BigEndian.PutUint64(hash[:], uint64(n))
		s.keys.Load(&key{hash: hash, kind: keyEnded, index: 1})
	}
	keyed := func(name string) *leasepb.Result {
		hash := hashText(name)
		cmd := acquireCommand(numberedLease(0), name, 0)
		cmd.Key = &leasepb.Key{Hash: hash[:], Body: hash[:]}
		return s.Apply(1, 1, cmd).Result
	}
	for i, want := range []leasepb.Code{leasepb.Code_OK, leasepb.Code_QUOTA_EXCEEDED} {
		if r := keyed(fmt.Sprintf("new %d", i)); r.Code != want {
			t.Errorf("key %d: %v", i, r)
		}
	}
	if r := keyed("new 0"); r.Code != leasepb.Code_OK || !r.Keyed {
		t.Errorf("a repeat: %v", r)
	}
	if s.place(numberedLease(0), lockName{"jobs", "new 1"}) != nil {
		t.Error("refused, and granted")
	}
}
