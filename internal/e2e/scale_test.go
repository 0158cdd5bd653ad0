//go:build chaos

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lockd/internal/proc"
)

// times are latencies of requests.
type times struct {
	mu  sync.Mutex
	all []time.Duration
}

func (ts *times) add(d time.Duration) {
	ts.mu.Lock()
	ts.all = append(ts.all, d)
	ts.mu.Unlock()
}

func (ts *times) at(q float64) time.Duration {
	slices.Sort(ts.all)
	return ts.all[min(len(ts.all)-1, int(q*float64(len(ts.all))))]
}

// parallel runs f for 0 to n-1 on some goroutines.
func parallel(n, workers int, f func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range workers {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// F25: 100,000 leases that expire within a second do not stall others, and are
// all gone soon after.
func TestChaosMassExpiry(t *testing.T) {
	const leases, ttl = 100_000, 40 * time.Second
	c := proc.Start(t, proc.Options{Args: []string{"--groups", "1"}})
	leader := c.Node(proc.Leader(c.Nodes[0].URL, "jobs"))
	ids := make([]string, leases)
	parallel(leases, 64, func(i int) {
		a := proc.Post(leader.URL, "/v1/leases", m{"namespace": "jobs", "ttl": ttl.String()})
		ids[i] = a.Text("lease")
	})
	// One round of keepalives lines all their ends up.
	began := time.Now()
	parallel(leases/1000, 4, func(i int) {
		proc.Post(leader.URL, "/v1/leases/keepalive", m{"leases": ids[i*1000 : (i+1)*1000]}).Must(t, 200)
	})
	spread := time.Since(began)
	probe := proc.Post(leader.URL, "/v1/leases", m{"namespace": "jobs", "ttl": "10m"}).Must(t, 201).Text("lease")
	<-time.After(time.Until(began.Add(ttl - time.Second))) // until just before they end
	lat, ends := &times{}, time.Now().Add(4*time.Second+spread)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; time.Now().Before(ends); i++ {
				name := fmt.Sprint("probe-", w, "-", i%50)
				at := time.Now()
				proc.Post(leader.URL, acquirePath("jobs", name), m{"lease": probe}).Must(t, 200)
				lat.add(time.Since(at))
				proc.Post(leader.URL, releasePath("jobs", name), m{"lease": probe}).Must(t, 200)
			}
		})
	}
	wg.Wait()
	left := 0.0 // only a group's leader counts its leases, and that may move
	for _, n := range c.Nodes {
		left += metric(t, n.URL, "lockd_leases{")
	}
	t.Logf("keepalives took %s; %d requests meanwhile: p50 %s, p99.9 %s, max %s; %v leases left", spread, len(lat.all), lat.at(0.5), lat.at(0.999), lat.at(1), left)
	if left > 2 {
		t.Errorf("%v leases are left", left)
	}
	if p, worst := lat.at(0.999), lat.at(1); p > 100*time.Millisecond || worst > 250*time.Millisecond {
		t.Errorf("p99.9 %s, max %s: want 100ms and 250ms", p, worst)
	}
}

// metric sums the samples of a name on a node's metrics page.
func metric(t *testing.T, url, name string) (sum float64) {
	t.Helper()
	page := proc.Raw(url + "/metrics")
	if page == "" {
		t.Fatal("no metrics")
	}
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, name) {
			var v float64
			if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &v); err != nil {
				t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

// F26: 10,000 waiters on one lock: first come, first served, one answer for
// each release, and hand-offs nearly as fast as with 16.
func TestChaosTenThousandWaiters(t *testing.T) {
	c := proc.Start(t, proc.Options{})
	url := c.Node(proc.Leader(c.Nodes[0].URL, "jobs")).URL
	few := handOffs(t, url, "few", 16, 2000)
	many := handOffs(t, url, "many", 10_000, 2000)
	t.Logf("hand-offs per second: %.0f with 16 waiters, %.0f with 10,000", few, many)
	if many < 0.8*few {
		t.Errorf("%.0f hand-offs/s with 10,000 waiters, %.0f with 16", many, few)
	}
}

// handOffs fills a queue, passes the lock on and returns how often in a second.
// With fewer waiters than hand-offs, who was served queues again.
func handOffs(t *testing.T, url, lock string, waiters, count int) float64 {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	held := proc.Post(url, acquirePath("jobs", lock), m{"ttl": "10m"}).Must(t, 200)
	grants := make(chan proc.Answer, waiters)
	var wg sync.WaitGroup
	wait := func() {
		wg.Go(func() {
			a := proc.Do(ctx, "POST", url+acquirePath("jobs", lock), m{"ttl": "10m", "wait": "10m"})
			if ctx.Err() == nil {
				grants <- a.Must(t, 200)
			}
		})
	}
	for range waiters {
		wait()
	}
	proc.Eventually(t, 120*time.Second, "all wait", func() bool { return queueLength(url, "jobs", lock) == int64(waiters) })
	began, last := time.Now(), held
	for range count {
		proc.Post(url, releasePath("jobs", lock), m{"lease": last.Text("lease")}).Must(t, 200)
		a := <-grants
		if a.Number("token") <= last.Number("token") {
			t.Fatalf("token %d after %d", a.Number("token"), last.Number("token"))
		}
		last = a
		wait()
	}
	rate := float64(count) / time.Since(began).Seconds()
	if n := len(grants); n > 0 {
		t.Errorf("%d answers too many", n)
	}
	cancel() // all clients vanish at once
	wg.Wait()
	proc.Eventually(t, 30*time.Second, "the places of clients that left are free", func() bool { return queueLength(url, "jobs", lock) == 0 })
	return rate
}

// A million held locks on 100,000 leases in one group: snapshots do not stall,
// a restart is quick, pages come in the order of names.
func TestChaosMillionLocks(t *testing.T) {
	const leases, locksEach = 100_000, 10
	c := proc.Start(t, proc.Options{Nodes: 1, Args: []string{"--groups", "1", "--snapshot-after", "16MiB"}})
	n := c.Nodes[0]
	lat := &times{}
	parallel(leases, 64, func(i int) {
		l := proc.Post(n.URL, "/v1/leases", m{"namespace": "jobs", "ttl": "24h"}).Must(t, 201).Text("lease")
		var locks []m
		for k := range locksEach {
			locks = append(locks, m{"namespace": "jobs", "lock": fmt.Sprintf("lock-%06d-%d", i, k)})
		}
		at := time.Now()
		proc.Post(n.URL, "/v1/multilock/acquire", m{"lease": l, "locks": locks}).Must(t, 200)
		lat.add(time.Since(at))
	})
	snapshots := len(n.Lines("snapshot taken"))
	t.Logf("%d snapshots while filling; acquire of 10 locks: p50 %s, p99.9 %s, max %s", snapshots, lat.at(0.5), lat.at(0.999), lat.at(1))
	if snapshots == 0 {
		t.Error("no snapshot was taken")
	}
	held := metric(t, n.URL, "lockd_held_locks")
	heap := metric(t, n.URL, "go_memstats_heap_inuse_bytes")
	t.Logf("%.0f locks held, %.0f bytes of heap a lock (of the whole process)", held, heap/held)
	n.Kill()
	began := time.Now()
	n.Start()
	n.AwaitReady(60 * time.Second)
	restart := time.Since(began)
	t.Logf("restart: %s", restart)
	if restart > 15*time.Second {
		t.Errorf("a restart takes %s", restart)
	}
	after := ""
	for range 5 {
		page := proc.Get(n.URL, "/v1/namespaces/jobs/locks?limit=1000&after="+after).Must(t, 200)
		for _, l := range page.Body["locks"].([]any) {
			name := l.(m)["lock"].(string)
			if name <= after {
				t.Fatalf("%q after %q", name, after)
			}
			after = name
		}
		after = page.Text("next")
	}
}
