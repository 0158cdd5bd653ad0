package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lockd/internal/proc"
)

type m = map[string]any

func acquirePath(ns, lock string) string {
	return "/v1/namespaces/" + ns + "/locks/" + lock + "/acquire"
}
func releasePath(ns, lock string) string {
	return "/v1/namespaces/" + ns + "/locks/" + lock + "/release"
}
func lockPath(ns, lock string) string { return "/v1/namespaces/" + ns + "/locks/" + lock }

// holders returns the tokens of a lock's holders.
func holders(a proc.Answer) (tokens []int64) {
	list, _ := a.Body["holders"].([]any)
	for _, h := range list {
		tokens = append(tokens, int64(h.(m)["token"].(float64)))
	}
	return tokens
}

func TestOneNodeKeepsALockThroughKill(t *testing.T) {
	c := proc.Start(t, proc.Options{Nodes: 1})
	n := c.Nodes[0]
	got := proc.Post(n.URL, acquirePath("jobs", "nightly"), m{"ttl": "60s", "owner": "me"}).Must(t, 200)
	n.Kill()
	n.Start()
	n.AwaitReady(10 * time.Second)
	now := proc.Get(n.URL, lockPath("jobs", "nightly")).Must(t, 200)
	if h := holders(now); len(h) != 1 || h[0] != got.Number("token") {
		t.Fatalf("after the restart the lock is %v, token was %d", now.Body, got.Number("token"))
	}
	proc.Post(n.URL, acquirePath("jobs", "nightly"), m{}).Must(t, 409)
	proc.Post(n.URL, releasePath("jobs", "nightly"), m{"lease": got.Text("lease")}).Must(t, 200)
	next := proc.Post(n.URL, acquirePath("jobs", "nightly"), m{}).Must(t, 200)
	if next.Number("token") <= got.Number("token") {
		t.Fatalf("token %d after %d", next.Number("token"), got.Number("token"))
	}
}

// Acquire, release, keepalive and expiry on three processes, through any node,
// while each of them dies in turn.
func TestThreeNodesWhileAnyOneDies(t *testing.T) {
	c := proc.Start(t, proc.Options{})
	keep := proc.Post(c.Nodes[0].URL, "/v1/leases", m{"namespace": "jobs", "ttl": "5s"}).Must(t, 201)
	held := proc.Post(c.Nodes[1].URL, acquirePath("jobs", "nightly"), m{"lease": keep.Text("lease")}).Must(t, 200)
	for _, dead := range c.Nodes {
		alive := c.Others(dead)
		dead.Kill()
		retry(t, 5*time.Second, func() proc.Answer {
			return proc.Post(alive[0].URL, "/v1/leases/"+keep.Text("lease")+"/keepalive", nil)
		})
		a := retry(t, 5*time.Second, func() proc.Answer { return proc.Get(alive[1].URL, lockPath("jobs", "nightly")) })
		if h := holders(a); len(h) != 1 || h[0] != held.Number("token") {
			t.Fatalf("while %s was dead: %v", dead.Name, a.Body)
		}
		dead.Start()
		dead.AwaitReady(10 * time.Second)
	}
	short := proc.Post(c.Nodes[2].URL, acquirePath("jobs", "short"), m{"ttl": "1s"}).Must(t, 200)
	began := time.Now()
	next := proc.Post(c.Nodes[0].URL, acquirePath("jobs", "short"), m{"wait": "10s"}).Must(t, 200)
	if waited := time.Since(began); waited < 800*time.Millisecond || waited > 3*time.Second {
		t.Errorf("a lease of 1s ended after %s", waited)
	}
	if next.Number("token") <= short.Number("token") {
		t.Errorf("token %d after %d", next.Number("token"), short.Number("token"))
	}
}

// retry asks again while the answer is one that may be tried again.
func retry(t *testing.T, limit time.Duration, ask func() proc.Answer) proc.Answer {
	t.Helper()
	var a proc.Answer
	proc.Eventually(t, limit, "an answer that is not 5xx", func() bool {
		a = ask()
		return a.Err == nil && a.Status < 500
	})
	return a.Must(t, 200)
}

// load runs clients that take and give back locks, and remembers what was
// acknowledged.
type load struct {
	t      *testing.T
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	tokens map[string]int64 // the last token seen for each lock
	held   map[string]int64 // kept on purpose: acknowledged and not released
	leases map[string]string
	grants int
	errors map[string]int
}

func startLoad(t *testing.T, c *proc.Cluster, clients int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{t: t, cancel: cancel, tokens: map[string]int64{}, held: map[string]int64{}, leases: map[string]string{}, errors: map[string]int{}}
	for i := range clients {
		l.wg.Go(func() { l.run(ctx, c.URLs(), i) })
	}
	return l
}

func (l *load) run(ctx context.Context, urls []string, client int) {
	ns := fmt.Sprint("load-", client)
	for i := 0; ctx.Err() == nil; i++ {
		url := urls[(client+i)%len(urls)]
		name := fmt.Sprint("lock-", i%20)
		if i%10 == 9 {
			name = fmt.Sprint("keep-", i)
		}
		a := proc.Do(ctx, "POST", url+acquirePath(ns, name), m{"ttl": "60s"})
		l.count(a)
		if a.Status != 200 {
			continue
		}
		l.granted(ns+"/"+name, a)
		if i%10 == 9 {
			continue
		}
		// An answer may be lost after the release was done.
		for ctx.Err() == nil {
			r := proc.Do(ctx, "POST", urls[i%len(urls)]+releasePath(ns, name), m{"lease": a.Text("lease"), "token": a.Number("token")})
			i++
			if r.Status == 200 || r.Status == 404 {
				break
			}
		}
	}
}

func (l *load) count(a proc.Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.Status == 200 {
		l.grants++
	} else {
		l.errors[fmt.Sprint(a.Status, a.Code)]++
	}
}

func (l *load) granted(lock string, a proc.Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	token := a.Number("token")
	if token <= l.tokens[lock] {
		l.t.Errorf("S2: token %d of %s after %d", token, lock, l.tokens[lock])
	}
	l.tokens[lock] = token
	if strings.Contains(lock, "/keep-") {
		l.held[lock] = token
		l.leases[lock] = a.Text("lease")
	}
}

// stop ends the load and checks that everything acknowledged is still there.
func (l *load) stop(url string) {
	l.t.Helper()
	l.cancel()
	l.wg.Wait()
	if l.grants < 50 || len(l.held) < 5 {
		l.t.Fatalf("only %d grants, %d kept: the load tested nothing (%v)", l.grants, len(l.held), l.errors)
	}
	for lock, token := range l.held {
		ns, name, _ := strings.Cut(lock, "/")
		a := retry(l.t, 5*time.Second, func() proc.Answer { return proc.Get(url, lockPath(ns, name)) })
		if h := holders(a); len(h) != 1 || h[0] != token {
			l.t.Errorf("S4: %s was granted with token %d and is %v", lock, token, a.Body)
		}
	}
	l.t.Logf("%d grants, %d kept, errors %v", l.grants, len(l.held), l.errors)
}

func (l *load) grantsSoFar() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.grants
}

// awaitProgress waits until the load got more grants.
func (l *load) awaitProgress(more int) {
	l.t.Helper()
	from := l.grantsSoFar()
	proc.Eventually(l.t, 20*time.Second, fmt.Sprint(more, " more grants"), func() bool { return l.grantsSoFar() >= from+more })
}

// F1: kill -9 of leaders under load loses nothing.
func TestKilledLeadersUnderLoad(t *testing.T) {
	c := proc.Start(t, proc.Options{})
	l := startLoad(t, c, 8)
	for i := range 3 {
		l.awaitProgress(100)
		leader := proc.Leader(c.Nodes[i].URL, fmt.Sprint("load-", i))
		if leader == "" {
			t.Fatal("no leader is known")
		}
		n := c.Node(leader)
		n.Kill()
		l.awaitProgress(100)
		n.Start()
		n.AwaitReady(10 * time.Second)
	}
	l.stop(c.Nodes[0].URL)
}

// F1: kill -9 of all three at once under load loses nothing.
func TestAllKilledAtOnceUnderLoad(t *testing.T) {
	c := proc.Start(t, proc.Options{})
	l := startLoad(t, c, 8)
	for range 2 {
		l.awaitProgress(150)
		for _, n := range c.Nodes {
			n.Signal(syscall.SIGKILL)
		}
		for _, n := range c.Nodes {
			n.Kill()
		}
		for _, n := range c.Nodes {
			n.Start()
		}
		for _, n := range c.Nodes {
			n.AwaitReady(15 * time.Second)
		}
	}
	l.awaitProgress(50)
	l.stop(c.Nodes[1].URL)
}

// F2: a leader that stands still for long loses its place; when it goes on, it
// grants nothing that another one granted.
func TestPausedLeaderNeverMakesASecondHolder(t *testing.T) { pausedLeader(t, 0) }

// pausedLeader pauses a leader until another one has granted its lock, and at
// least for a while.
func pausedLeader(t *testing.T, least time.Duration) {
	c := proc.Start(t, proc.Options{})
	first := proc.Post(c.Nodes[0].URL, acquirePath("jobs", "one"), m{"ttl": "1s"}).Must(t, 200)
	leader := c.Node(proc.Leader(c.Nodes[0].URL, "jobs"))
	other := c.Others(leader)[0]
	leader.Pause()
	over := time.After(least)
	late := make(chan proc.Answer, 2)
	go func() { late <- proc.Post(leader.URL, acquirePath("jobs", "one"), m{"ttl": "60s"}) }()
	go func() { late <- proc.Post(leader.URL, "/v1/leases/"+first.Text("lease")+"/keepalive", nil) }()
	var second proc.Answer
	proc.Eventually(t, 10*time.Second, "the lock is granted by another leader", func() bool {
		second = proc.Post(other.URL, acquirePath("jobs", "one"), m{"ttl": "60s", "wait": "5s"})
		return second.Status == 200
	})
	if proc.Leader(other.URL, "jobs") == leader.Name {
		t.Fatal("the leader did not change: the test exercised nothing")
	}
	if second.Number("token") <= first.Number("token") {
		t.Fatalf("token %d after %d", second.Number("token"), first.Number("token"))
	}
	<-over
	leader.Resume()
	for range 2 {
		if a := <-late; a.Status == 200 {
			t.Errorf("a request that waited in the paused leader got %v", a.Body)
		}
	}
	view := retry(t, 5*time.Second, func() proc.Answer { return proc.Get(leader.URL, lockPath("jobs", "one")) })
	if h := holders(view); len(h) != 1 || h[0] != second.Number("token") {
		t.Errorf("the lock is held by %v, not by the second grant %d", h, second.Number("token"))
	}
}
