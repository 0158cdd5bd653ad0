package sharding

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"lockd/lease"
)

func leaseID(n int) lease.ID {
	return lease.NewID("jobs", [12]byte{byte(n >> 16), byte(n >> 8), byte(n)})
}

func leaseTimer(n int, ttl time.Duration) lease.TimerChange {
	return lease.TimerChange{ID: lease.TimerID{Kind: lease.TimerLease, Lease: leaseID(n)}, After: ttl}
}

func waitTimer(n uint64, wait time.Duration) lease.TimerChange {
	return lease.TimerChange{ID: lease.TimerID{Kind: lease.TimerWait, Boot: 1, Number: n, Lease: leaseID(int(n)), Namespace: "jobs", Lock: "l"}, After: wait}
}

// each step is at a second; what fires is what has run out by then.
func TestTimers(t *testing.T) {
	const s = time.Second
	type step struct {
		at     time.Duration
		do     func(now time.Duration, t *timers)
		expire []int // leases that fire at this time
	}
	start := func(n int, ttl time.Duration) func(time.Duration, *timers) {
		return func(now time.Duration, t *timers) { t.change(now, leaseTimer(n, ttl)) }
	}
	stop := func(n int) func(time.Duration, *timers) {
		return func(now time.Duration, t *timers) {
			t.change(now, lease.TimerChange{ID: lease.TimerID{Kind: lease.TimerLease, Lease: leaseID(n)}, Stop: true})
		}
	}
	renew := func(n int, received time.Duration) func(time.Duration, *timers) {
		return func(_ time.Duration, t *timers) { t.leases.renew(received, leaseID(n)) }
	}
	gap := func(g time.Duration) func(time.Duration, *timers) {
		return func(_ time.Duration, t *timers) { t.extend(g) }
	}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"a timer runs in full", []step{{0, start(1, 10*s), nil}, {9 * s, nil, nil}, {10 * s, nil, []int{1}}}},
		{"R5: a keepalive counts from when it was received, not from when it was confirmed", []step{
			{0, start(1, 10*s), nil}, {7 * s, renew(1, 4*s), nil}, {13 * s, nil, nil}, {14 * s, nil, []int{1}}}},
		{"a keepalive that was overtaken never shortens", []step{
			{0, start(1, 10*s), nil}, {6 * s, renew(1, 6*s), nil}, {7 * s, renew(1, 2*s), nil}, {15 * s, nil, nil}, {16 * s, nil, []int{1}}}},
		{"R6: a firing lease is not renewed", []step{
			{0, start(1, 10*s), nil}, {10 * s, nil, []int{1}}, {11 * s, renew(1, 11*s), nil}, {40 * s, nil, nil}}},
		{"a stopped timer never fires", []step{{0, start(1, 10*s), nil}, {5 * s, stop(1), nil}, {20 * s, nil, nil}}},
		{"started again it runs in full", []step{{0, start(1, 10*s), nil}, {5 * s, start(1, 10*s), nil}, {14 * s, nil, nil}, {15 * s, nil, []int{1}}}},
		{"R-time: a gap puts everything off by its length", []step{
			{0, start(1, 10*s), nil}, {9 * s, gap(4 * s), nil}, {13 * s, nil, nil}, {14 * s, nil, []int{1}}}},
		{"R-time: what starts after a gap is not put off by it", []step{
			{0, gap(4 * s), nil}, {1 * s, start(1, 10*s), nil}, {10 * s, nil, nil}, {11 * s, nil, []int{1}}}},
		{"a keepalive after a gap", []step{
			{0, start(1, 10*s), nil}, {4 * s, gap(3 * s), nil}, {5 * s, renew(1, 5*s), nil}, {14 * s, nil, nil}, {15 * s, nil, []int{1}}}},
		{"they fire in the order in which they ran out", []step{
			{0, start(1, 10*s), nil}, {0, start(2, 5*s), nil}, {0, start(3, 7*s), nil}, {20 * s, nil, []int{2, 3, 1}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			all := &timers{}
			for _, st := range tc.steps {
				if st.do != nil {
					st.do(st.at, all)
				}
				var fired []int
				for _, tm := range all.leases.fire(st.at, 100) {
					fired = append(fired, int(tm.id[10]))
				}
				if !slices.Equal(fired, st.expire) {
					t.Fatalf("at %v leases %v ran out, want %v", st.at, fired, st.expire)
				}
			}
		})
	}
}

func TestHeldTimerRunsOutAgainAndMayBeRenewed(t *testing.T) {
	all := &timers{}
	all.change(0, leaseTimer(1, time.Second))
	all.change(0, leaseTimer(2, time.Second))
	fired := all.leases.fire(time.Second, 10)
	for _, tm := range fired {
		all.leases.hold(tm, 2*time.Second)
	}
	all.leases.renew(1500*time.Millisecond, leaseID(2))
	if got := all.leases.fire(2*time.Second, 10); len(got) != 1 || got[0].id != leaseID(1) {
		t.Fatalf("%d fire at 2 s, want lease 1 alone", len(got))
	}
	if got := all.leases.fire(2500*time.Millisecond, 10); len(got) != 1 || got[0].id != leaseID(2) {
		t.Fatalf("%d fire at 2.5 s, want lease 2", len(got))
	}
	// What was refused while it fired has not renewed it (R6).
	all.leases.renew(10*time.Second, leaseID(1))
	all.leases.hold(all.leases.byID[leaseID(1)], 2700*time.Millisecond)
	if got := all.leases.fire(2700*time.Millisecond, 10); len(got) != 1 {
		t.Fatal("a keepalive of a firing lease has put off its end")
	}
	// A firing timer that was stopped and started anew is another one.
	all.change(3*time.Second, leaseTimer(1, time.Second))
	all.leases.hold(fired[0], 0)
	if got := all.leases.fire(3500*time.Millisecond, 10); len(got) != 0 {
		t.Fatal("an old proposal's end changed a new timer")
	}
}

func TestNextIsTheFirstOfAllKinds(t *testing.T) {
	all := &timers{}
	if _, ok := all.next(); ok {
		t.Fatal("an empty table has a next timer")
	}
	all.change(0, leaseTimer(1, 10*time.Second))
	all.change(0, waitTimer(7, 3*time.Second))
	all.extend(time.Second)
	if at, ok := all.next(); !ok || at != 4*time.Second {
		t.Fatalf("next is %v %v, want 4s", at, ok)
	}
}

// The heap must agree with a plain list, whatever happens.
func TestTimersAgreeWithAList(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	all, list := &timers{}, map[int]time.Duration{}
	now := time.Duration(0)
	for range 20_000 {
		now += time.Duration(r.IntN(20)) * time.Millisecond
		n := r.IntN(300)
		switch r.IntN(10) {
		case 0, 1, 2:
			ttl := time.Duration(1+r.IntN(2000)) * time.Millisecond
			all.change(now, leaseTimer(n, ttl))
			list[n] = now + ttl
		case 3, 4:
			c := leaseTimer(n, 0)
			c.Stop = true
			all.change(now, c)
			delete(list, n)
		case 5, 6, 7:
			if tm := all.leases.renew(now, leaseID(n)); tm != nil {
				list[n] = max(list[n], now+tm.after)
			}
		case 8:
			gap := time.Duration(r.IntN(50)) * time.Millisecond
			all.extend(gap)
			for k := range list {
				list[k] += gap
			}
		}
		want := map[lease.ID]bool{}
		for k, at := range list {
			if at <= now {
				want[leaseID(k)] = true
				delete(list, k)
			}
		}
		for _, tm := range all.leases.fire(now, 1000) {
			if !want[tm.id] {
				t.Fatalf("seed %d: a lease fired that had not run out", seed)
			}
			delete(want, tm.id)
			all.leases.stop(tm.id)
		}
		if len(want) > 0 {
			t.Fatalf("seed %d: %d leases ran out and did not fire", seed, len(want))
		}
	}
}

func BenchmarkTimersOfANewLeader(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			changes := make([]lease.TimerChange, n)
			for i := range changes {
				changes[i] = leaseTimer(i, time.Duration(n-i)*time.Second)
			}
			b.ReportAllocs()
			for b.Loop() {
				newTimers(0, slices.Values(changes))
			}
		})
	}
}

func BenchmarkTimersRenew(b *testing.B) {
	all := &timers{}
	for i := range 100_000 {
		all.change(0, leaseTimer(i, time.Minute))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7919) % 100_000
		all.leases.renew(time.Duration(i), leaseID(i))
	}
}
