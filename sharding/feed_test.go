package sharding

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"lockd/httpapi"
	"lockd/lease"
	"lockd/lease/leasepb"
)

func event(index uint64, namespace, lock string) *lease.Event {
	return &lease.Event{
		Index: index, Type: leasepb.EventType_EVENT_ACQUIRED, Namespace: namespace, Lock: lock, Lease: leaseID(int(index)),
		Owner: "owner", Mode: leasepb.Mode_MODE_SHARED, Token: index, Reason: "because", AtUnixMs: 1_700_000_000_000,
	}
}

// drain reads what a subscription has.
func drain(s *subscription) (indexes []uint64, lost bool) {
	for {
		events, gone := s.next()
		lost = lost || gone
		if events == nil && !gone {
			return indexes, lost
		}
		for _, e := range events {
			indexes = append(indexes, e.Index)
		}
	}
}

func TestFeedTellsEventsAsTheyWere(t *testing.T) {
	f := newFeed()
	f.append(0, event(7, "jobs", "nightly"))
	got, _ := f.subscribe("jobs", 0).next()
	if len(got) != 1 || got[0].String() != event(7, "jobs", "nightly").Message().String() {
		t.Fatalf("read %v", got)
	}
}

func TestSubscriptionSeesItsNamespaceOnceAndInOrder(t *testing.T) {
	f := newFeed()
	late := f.subscribe("jobs", httpapi.LastIndex)
	for i := uint64(1); i <= 20_000; i++ { // several blocks
		f.append(0, event(i, []string{"jobs", "other"}[i%2], "l"))
		if i == 9_000 {
			if got, _ := drain(late); len(got) != 4_500 {
				t.Fatalf("%d events by then", len(got))
			}
		}
	}
	for name, s := range map[string]*subscription{"from the start": f.subscribe("jobs", 0), "from 9,000": late, "resumed": f.subscribe("jobs", 9_000)} {
		got, lost := drain(s)
		want := uint64(9_002)
		if name == "from the start" {
			want = 2
		}
		if lost {
			t.Errorf("%s: lost", name)
		}
		for _, index := range got {
			if index != want {
				t.Fatalf("%s: event %d, want %d", name, index, want)
			}
			want += 2
		}
		if want != 20_002 {
			t.Errorf("%s: ended before %d", name, want)
		}
	}
}

func TestSubscriptionIsWokenByItsNamespaceAlone(t *testing.T) {
	f := newFeed()
	s := f.subscribe("jobs", httpapi.LastIndex)
	drain(s)
	f.append(0, event(1, "other", "l"))
	select {
	case <-s.wake:
		t.Fatal("woken by another namespace")
	default:
	}
	f.append(0, event(2, "jobs", "l"))
	select {
	case <-s.wake:
	default:
		t.Fatal("not woken")
	}
	if got, _ := drain(s); len(got) != 1 || got[0] != 2 {
		t.Fatalf("read %v", got)
	}
	s.close()
	f.append(0, event(3, "jobs", "l"))
	if len(f.subs) != 0 {
		t.Fatal("a closed subscription stays")
	}
}

func TestFeedKeepsTenMinutesAndTenThousand(t *testing.T) {
	f := newFeed()
	for i := uint64(1); i <= 15_000; i++ {
		f.append(0, event(i, "jobs", "l"))
	}
	for i := uint64(15_001); i <= 30_000; i++ {
		f.append(feedKeepTime+time.Second, event(i, "jobs", "l"))
	}
	if f.floor == 0 {
		t.Fatal("nothing was dropped after ten minutes")
	}
	if f.floor > 20_000 {
		t.Fatalf("only the events after %d of 30,000 are left", f.floor)
	}
	old := f.subscribe("jobs", 0)
	got, lost := drain(old)
	if !lost || got[0] != f.floor+1 {
		t.Fatalf("an older resume point: lost %v, first %d", lost, got[0])
	}
	if _, lost := drain(f.subscribe("jobs", f.floor)); lost {
		t.Fatal("lost, though all after the resume point is there")
	}
}

func TestFeedIsBoundedInBytes(t *testing.T) {
	f := newFeed()
	for i := uint64(1); i <= 1_000_000; i++ {
		f.append(0, event(i, "jobs", "l"))
	}
	if f.bytes > feedMaxBytes+2*feedBlockBytes {
		t.Fatalf("%d bytes", f.bytes)
	}
}

func TestSnapshotInTheMiddleIsALoss(t *testing.T) {
	f := newFeed()
	s := f.subscribe("jobs", 0)
	f.append(0, event(1, "jobs", "l"))
	drain(s)
	f.reset(50)
	f.append(0, event(51, "jobs", "l"))
	got, lost := drain(s)
	if !lost || len(got) != 1 || got[0] != 51 {
		t.Fatalf("lost %v, read %v", lost, got)
	}
}

func TestFeedIsReadWhileItGrows(t *testing.T) {
	const events = 30_000
	f := newFeed()
	var readers sync.WaitGroup
	for i := range 4 {
		s := f.subscribe(fmt.Sprint("ns-", i%2), 0)
		readers.Go(func() {
			defer s.close()
			seen := uint64(0)
			for seen < events-uint64(i%2) {
				got, _ := s.next()
				for _, e := range got {
					if e.Index <= seen || e.Index%2 != uint64(i%2) {
						t.Errorf("event %d after %d", e.Index, seen)
						return
					}
					seen = e.Index
				}
				if got == nil {
					<-s.wake
				}
			}
		})
	}
	for i := uint64(1); i <= events; i++ {
		f.append(0, event(i, fmt.Sprint("ns-", i%2), "l"))
	}
	readers.Wait()
}

func BenchmarkFeedAppend(b *testing.B) {
	f, e := newFeed(), event(1, "jobs", "nightly")
	b.ReportAllocs()
	for b.Loop() {
		e.Index++
		f.append(0, e)
	}
}
