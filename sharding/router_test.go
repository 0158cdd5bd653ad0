package sharding

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"lockd/consensus"
	"lockd/httpapi"
	"lockd/lease"
	"lockd/lease/leasepb"
	"lockd/sharding/shardpb"
)

// world is a group and the nodes that could lead it, as a router sees them.
// What the router asks is answered by the script, step by step.
type world struct {
	t      *testing.T
	router *Router

	mu      sync.Mutex
	status  consensus.Status
	changed chan struct{}
	script  []step
	asked   []asked
	open    []func(*leasepb.Result, error) // asked and not answered
}

// step answers one question: with a result or an error, or, if silent, not.
type step struct {
	code   leasepb.Code
	err    error
	silent bool
	then   func() // before the answer
}

// asked is a command as it was sent.
type asked struct {
	to   consensus.NodeID
	term uint64
	cmd  *leasepb.Command
}

const (
	here  consensus.NodeID = 1
	there consensus.NodeID = 2
)

func newWorld(t *testing.T, script ...step) *world {
	w := &world{t: t, changed: make(chan struct{}), script: script}
	a := newAtlas()
	a.publish(&Topology{Cluster: "c", Epoch: 1, Ring: NewRing([]Weight{{Group: 1, Weight: 1}, {Group: 2, Weight: 1}})})
	w.router = newRouter(here, selfBoot, w, func(consensus.GroupID) (group, *shard) { return w, nil }, a)
	w.leads(there, 5)
	return w
}

// leads makes a node the leader of a term; 0 is nobody.
func (w *world) leads(node consensus.NodeID, term uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = consensus.Status{Leader: node, Term: term, Leading: node == here}
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) ask(to consensus.NodeID, term uint64, command []byte, done func(*leasepb.Result, error)) {
	cmd, err := lease.DecodeCommand(command)
	if err != nil {
		w.t.Errorf("sent what cannot be read: %v", err)
	}
	w.mu.Lock()
	w.asked = append(w.asked, asked{to, term, cmd})
	if len(w.script) == 0 {
		w.script = []step{{silent: true}}
	}
	st := w.script[0]
	w.script = w.script[1:]
	if st.silent {
		w.open = append(w.open, done)
	}
	w.mu.Unlock()
	if st.then != nil {
		st.then()
	}
	switch {
	case st.silent:
	case st.err != nil:
		done(nil, st.err)
	default:
		done(&leasepb.Result{Code: st.code, Lease: cmd.GetAcquire().GetLease()}, nil)
	}
}

func (w *world) Propose(p consensus.Proposal) {
	w.ask(here, p.Term, p.Data, func(r *leasepb.Result, err error) {
		if err != nil {
			p.Done(nil, err)
			return
		}
		p.Done(r, nil)
	})
}

func (w *world) Call(to consensus.NodeID, payload []byte, done func([]byte, error)) func() {
	var req shardpb.Request
	if err := proto.Unmarshal(payload, &req); err != nil {
		w.t.Error(err)
	}
	w.ask(to, req.Term, req.GetCommand(), func(r *leasepb.Result, err error) {
		if errors.Is(err, consensus.ErrLinkLost) || errors.Is(err, consensus.ErrUnreachable) {
			done(nil, err)
			return
		}
		done(encodeAnswer(1, r, err), nil)
	})
	return func() {}
}

func (w *world) Query(any, func(any, error))      { w.t.Error("a query") }
func (w *world) QueryStale(any, func(any, error)) {}
func (w *world) SinceHeard() time.Duration        { return 0 }

func (w *world) Status() consensus.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

func (w *world) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *world) do(cmd *leasepb.Command) (*leasepb.Result, error) {
	return w.router.Do(context.Background(), cmd)
}

// expect compares what was asked: the kinds of commands, to whom, in which term.
func (w *world) expect(want ...asked) {
	w.t.Helper()
	if len(w.asked) != len(want) {
		w.t.Fatalf("asked %d times, want %d: %v", len(w.asked), len(want), w.asked)
	}
	for i, a := range w.asked {
		if a.to != want[i].to || a.term != want[i].term {
			w.t.Errorf("question %d went to node %d for term %d, want %d and %d", i, a.to, a.term, want[i].to, want[i].term)
		}
	}
}

func notLeader(leader consensus.NodeID, term uint64) error {
	return &consensus.NotLeaderError{Group: 1, Leader: leader, Term: term}
}

func withLease(wait time.Duration) *leasepb.Command {
	cmd := oneShot("jobs", "l", time.Minute, wait)
	id := leaseID(1)
	cmd.GetAcquire().OneShot, cmd.GetAcquire().Lease = nil, id[:]
	return cmd
}

func TestRequestGoesToTheLeaderWithItsTerm(t *testing.T) {
	for _, leader := range []consensus.NodeID{here, there} {
		w := newWorld(t, step{})
		w.leads(leader, 5)
		if _, err := w.do(oneShot("jobs", "l", time.Minute, 0)); err != nil {
			t.Fatal(err)
		}
		w.expect(asked{to: leader, term: 5})
		a := w.asked[0].cmd.GetAcquire()
		if idOf(a.Lease).Hash() != lease.HashNamespace("jobs") || a.Attempt.Boot != selfBoot || a.Attempt.Id == 0 {
			t.Errorf("sent lease %v, attempt %v", idOf(a.Lease), a.Attempt)
		}
	}
}

func TestRefusalsAreErrors(t *testing.T) {
	w := newWorld(t, step{code: leasepb.Code_LOCK_HELD}, step{code: leasepb.Code_LEASE_NOT_FOUND})
	var held *lease.LockHeldError
	if _, err := w.do(oneShot("jobs", "l", time.Minute, 0)); !errors.As(err, &held) {
		t.Errorf("lock held: %v", err)
	}
	if _, err := w.do(withLease(0)); !errors.Is(err, lease.ErrLeaseNotFound) {
		t.Errorf("no lease: %v", err)
	}
}

func TestWhatWasNotDoneIsTriedAtTheNextLeader(t *testing.T) {
	for name, refusal := range map[string]error{
		"not leader": notLeader(0, 5), "unreachable": consensus.ErrUnreachable, "no group": consensus.ErrNoGroup, "stopping": consensus.ErrStopped,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.script = []step{{err: refusal, then: func() { w.leads(here, 6) }}, {}}
			if _, err := w.do(oneShot("jobs", "l", time.Minute, 0)); err != nil {
				t.Fatal(err)
			}
			w.expect(asked{to: there, term: 5}, asked{to: here, term: 6})
		})
	}
}

func TestHintOfANewerLeaderIsFollowed(t *testing.T) {
	w := newWorld(t, step{err: notLeader(3, 7)}, step{})
	if _, err := w.do(oneShot("jobs", "l", time.Minute, 0)); err != nil {
		t.Fatal(err)
	}
	w.expect(asked{to: there, term: 5}, asked{to: 3, term: 7})
}

// The group's own ranges come with an entry of its first leader.
func TestWrongGroupIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, step{code: leasepb.Code_WRONG_GROUP}, step{code: leasepb.Code_WRONG_GROUP}, step{})
		if _, err := w.do(withLease(0)); err != nil {
			t.Fatal(err)
		}
		if len(w.asked) != 3 {
			t.Errorf("asked %d times", len(w.asked))
		}
	})
}

func TestNoLeaderIsUnavailableInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.leads(0, 5)
		began := time.Now()
		_, err := w.do(oneShot("jobs", "l", time.Minute, 0))
		var unavailable *httpapi.UnavailableError
		if !errors.As(err, &unavailable) || unavailable.RetryAfter <= 0 {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took < leaderless || took > leaderless+retryPause {
			t.Errorf("took %v", took)
		}
	})
}

func TestOverloadedIsUnavailableAtOnce(t *testing.T) {
	w := newWorld(t, step{err: consensus.ErrOverloaded})
	_, err := w.do(oneShot("jobs", "l", time.Minute, 0))
	if !errors.As(err, new(*httpapi.UnavailableError)) {
		t.Errorf("%v", err)
	}
	w.expect(asked{to: there, term: 5})
}

// A one-shot acquire whose outcome is unknown: the leader of a later term is
// asked with the lease that may exist.
func TestUnknownOneShotJoinsWhatTheNextLeaderHas(t *testing.T) {
	for name, unknown := range map[string]error{
		"outcome unknown": consensus.ErrOutcomeUnknown, "link lost": consensus.ErrLinkLost, "queued": errPlaceLeft,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.script = []step{{err: unknown, then: func() { w.leads(here, 6) }}, {}}
			if _, err := w.do(oneShot("jobs", "l", time.Minute, time.Minute)); err != nil {
				t.Fatal(err)
			}
			w.expect(asked{to: there, term: 5}, asked{to: here, term: 6})
			first, second := w.asked[0].cmd.GetAcquire(), w.asked[1].cmd.GetAcquire()
			if idOf(first.Lease) != idOf(second.Lease) || second.OneShot != nil {
				t.Errorf("asked for %v, then for %v", first, second)
			}
			if first.Attempt.Id == second.Attempt.Id {
				t.Error("one attempt was sent twice")
			}
		})
	}
}

func TestUnknownOneShotThatIsNotThereIsMadeUnderANewID(t *testing.T) {
	w := newWorld(t)
	w.script = []step{{err: consensus.ErrOutcomeUnknown, then: func() { w.leads(here, 6) }}, {code: leasepb.Code_LEASE_NOT_FOUND}, {}}
	r, err := w.do(oneShot("jobs", "l", time.Minute, 0))
	if err != nil {
		t.Fatal(err)
	}
	third := w.asked[2].cmd.GetAcquire()
	if idOf(third.Lease) == idOf(w.asked[0].cmd.GetAcquire().Lease) || third.OneShot == nil || idOf(r.Lease) != idOf(third.Lease) {
		t.Errorf("the third attempt was %v", third)
	}
}

// The leader is the same, only the link was lost: what it may have done is
// ended first, for it would not be certain that it never will be.
func TestOneShotAfterALostLinkIsEndedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, step{err: consensus.ErrLinkLost}, step{err: consensus.ErrUnreachable}, step{code: leasepb.Code_LEASE_NOT_FOUND}, step{})
		if _, err := w.do(oneShot("jobs", "l", time.Minute, 0)); err != nil {
			t.Fatal(err)
		}
		lost := w.asked[0].cmd.GetAcquire().Lease
		if end := w.asked[2].cmd.GetEndLease(); end == nil || idOf(end.Lease) != idOf(lost) || w.asked[2].term != 5 {
			t.Errorf("then sent %v", w.asked[2])
		}
		if again := w.asked[3].cmd.GetAcquire(); again == nil || again.OneShot == nil || idOf(again.Lease) == idOf(lost) {
			t.Errorf("then sent %v", again)
		}
	})
}

func TestUnknownOutcomes(t *testing.T) {
	id := leaseID(1)
	ref := func(token uint64) *leasepb.Command {
		return release(&leasepb.Grant{Namespace: "jobs", Lock: "l", Lease: id[:], Token: token})
	}
	force := func(token uint64) *leasepb.Command {
		return &leasepb.Command{Op: &leasepb.Command_ForceRelease{ForceRelease: &leasepb.ForceRelease{Lock: &leasepb.LockRef{Namespace: "jobs", Lock: "l"}, Token: token}}}
	}
	keyed := func(cmd *leasepb.Command) *leasepb.Command {
		cmd.Key = &leasepb.Key{Hash: make([]byte, 16), Body: make([]byte, 16)}
		return cmd
	}
	create := &leasepb.Command{Op: &leasepb.Command_CreateLease{CreateLease: &leasepb.CreateLease{
		Lease: id[:], Namespace: "jobs", New: &leasepb.NewLease{TtlMs: 1000}}}}
	all := &leasepb.Command{Op: &leasepb.Command_Release{Release: &leasepb.Release{Lease: id[:], Multi: true, Namespace: "jobs"}}}
	for name, tc := range map[string]struct {
		cmd       *leasepb.Command
		triedMore bool
	}{
		"acquire with a lease":            {withLease(0), true},
		"acquire with a key":              {keyed(oneShot("jobs", "l", time.Minute, 0)), true},
		"create a lease":                  {create, true},
		"end a lease":                     {&leasepb.Command{Op: &leasepb.Command_EndLease{EndLease: &leasepb.EndLease{Lease: id[:]}}}, true},
		"release with a token":            {ref(7), true},
		"release with a key":              {keyed(ref(0)), true},
		"release without a token":         {ref(0), false},
		"release of all that a lease has": {all, false},
		"force-release with a token":      {force(7), true},
		"force-release without a token":   {force(0), false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.script = []step{{err: consensus.ErrOutcomeUnknown, then: func() { w.leads(here, 6) }}, {}}
			_, err := w.do(tc.cmd)
			if tc.triedMore && (err != nil || len(w.asked) != 2) {
				t.Errorf("%v after %d attempts: it is safe to repeat", err, len(w.asked))
			}
			if !tc.triedMore && (!errors.Is(err, httpapi.ErrOutcomeUnknown) || len(w.asked) != 1) {
				t.Errorf("%v after %d attempts: it is not safe to repeat", err, len(w.asked))
			}
			w.noLeaseMadeTwice()
		})
	}
}

// noLeaseMadeTwice: whatever happens, no two commands make a lease of one id.
func (w *world) noLeaseMadeTwice() {
	w.t.Helper()
	made := map[lease.ID]bool{}
	for _, a := range w.asked {
		id := idOf(a.cmd.GetCreateLease().GetLease())
		if a.cmd.GetAcquire().GetOneShot() != nil {
			id = idOf(a.cmd.GetAcquire().Lease)
		}
		if id == (lease.ID{}) {
			continue
		}
		if made[id] {
			w.t.Errorf("lease %v was made twice", id)
		}
		made[id] = true
	}
}

// Under any sequence of failures a router makes no lease id twice, sends no
// attempt twice, and answers in time.
func TestRandomFailures(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 2))
	failures := []error{
		notLeader(0, 5), notLeader(there, 9), consensus.ErrUnreachable, consensus.ErrLinkLost, consensus.ErrOutcomeUnknown, errPlaceLeft, consensus.ErrStopped,
	}
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			for range r.IntN(12) {
				st := step{err: failures[r.IntN(len(failures))]}
				if slow := time.Duration(r.IntN(800)) * time.Millisecond; r.IntN(2) == 0 {
					st.then = func() { time.Sleep(slow) }
				}
				if r.IntN(3) == 0 {
					node, term := consensus.NodeID(r.IntN(3)), uint64(5+r.IntN(4))
					st.then = func() { w.leads(node, max(term, w.Status().Term)) }
				}
				if r.IntN(6) == 0 {
					st = step{code: leasepb.Code_LEASE_NOT_FOUND}
				}
				w.script = append(w.script, st)
			}
			w.script = append(w.script, step{then: nil})
			began, wait := time.Now(), time.Duration(r.IntN(2))*time.Second
			_, err := w.do(oneShot("jobs", "l", time.Minute, wait))
			if took := time.Since(began); took > wait+5*time.Second {
				t.Errorf("seed %d: took %v", seed, took)
			}
			w.noLeaseMadeTwice()
			attempts := map[uint64]bool{}
			for _, a := range w.asked {
				if id := a.cmd.GetAcquire().GetAttempt().GetId(); id != 0 && attempts[id] {
					t.Errorf("seed %d: attempt %d was sent twice", seed, id)
				} else {
					attempts[id] = true
				}
			}
			if t.Failed() {
				t.Logf("seed %d: %v after %v", seed, err, w.asked)
			}
		})
	}
}

func TestRetriedWaitIsWhatIsLeftOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.script = []step{{silent: true}, {}}
		go func() {
			time.Sleep(4 * time.Second)
			w.leads(here, 6)
			w.open[0](nil, errPlaceLeft)
		}()
		if _, err := w.do(withLease(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if left := w.asked[1].cmd.GetAcquire().WaitMs; left != 6000 {
			t.Errorf("%d ms are left of 10 s after 4 s", left)
		}
	})
}

// A wait that may have got a place in a queue looks for the next leader for as
// long as it lasts.
func TestWaitGoesOnWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.leads(there, 5)
		time.AfterFunc(5*time.Second, func() { w.leads(there, 6) })
		w.script = []step{{err: consensus.ErrLinkLost, then: func() { w.leads(0, 5) }}, {}}
		if _, err := w.do(withLease(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
	})
}

// One that never reached a leader is refused as soon as any other request.
func TestWaitWithoutALeaderIsRefusedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.leads(0, 5)
		began := time.Now()
		_, err := w.do(withLease(10 * time.Second))
		if took := time.Since(began); !errors.As(err, new(*httpapi.UnavailableError)) || took > leaderless+retryPause {
			t.Fatalf("%v after %s", err, took)
		}
	})
}

// A client that goes away leaves nothing behind.
func TestClientGoneIsFollowedUp(t *testing.T) {
	for name, tc := range map[string]struct {
		cmd  *leasepb.Command
		kind func(*leasepb.Command) bool
	}{
		"a one-shot lease is ended": {oneShot("jobs", "l", time.Minute, time.Minute), func(c *leasepb.Command) bool { return c.GetEndLease() != nil }},
		"a place is cancelled":      {withLease(time.Minute), func(c *leasepb.Command) bool { return c.GetCancel() != nil }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.script = []step{{silent: true}, {err: notLeader(0, 5), then: func() { w.leads(here, 6) }}, {}}
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(time.Second, cancel)
				_, err := w.router.Do(ctx, tc.cmd)
				if !errors.Is(err, context.Canceled) && !errors.Is(err, httpapi.ErrOutcomeUnknown) {
					t.Errorf("%v", err)
				}
				if len(w.asked) != 3 || !tc.kind(w.asked[2].cmd) || w.asked[2].to != here {
					t.Errorf("asked %v", w.asked)
				}
			})
		})
	}
}

// Every request is answered within its wait and five seconds.
func TestEveryRequestIsAnsweredInTime(t *testing.T) {
	for name, tc := range map[string]struct {
		cmd  *leasepb.Command
		wait time.Duration
	}{
		"a try":            {oneShot("jobs", "l", time.Minute, 0), 0},
		"a wait":           {oneShot("jobs", "l", time.Minute, time.Minute), time.Minute},
		"a lease's wait":   {withLease(time.Minute), time.Minute},
		"an end of a wait": {&leasepb.Command{Op: &leasepb.Command_EndLease{EndLease: &leasepb.EndLease{Lease: make([]byte, 20)}}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t) // answers nothing
				began := time.Now()
				_, err := w.do(tc.cmd)
				if !errors.Is(err, httpapi.ErrOutcomeUnknown) {
					t.Errorf("%v", err)
				}
				if took := time.Since(began); took > tc.wait+5*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestWaitsEndWhenTheNodeStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.script = []step{{silent: true}, {}}
		time.AfterFunc(time.Second, func() { close(w.router.stopping) })
		_, err := w.do(oneShot("jobs", "l", time.Minute, time.Minute))
		if err != errStopping {
			t.Errorf("%v", err)
		}
		if len(w.asked) != 2 || w.asked[1].cmd.GetEndLease() == nil {
			t.Errorf("asked %v", w.asked)
		}
	})
}

// Locks and leases of several groups are refused without asking any.
func TestSeveralGroupsAreRefused(t *testing.T) {
	w := newWorld(t)
	ring := w.router.atlas.load().Ring
	mine, other := "jobs", ""
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		if ring.Group(lease.HashNamespace(name)) != ring.Group(lease.HashNamespace(mine)) {
			other = name
		}
	}
	several := oneShot(mine, "l", time.Minute, 0)
	several.GetAcquire().Locks = append(several.GetAcquire().Locks, &leasepb.LockRequest{Namespace: other, Lock: "l", Permits: 1})
	foreign := oneShot(other, "l", time.Minute, 0)
	id := leaseID(1)
	foreign.GetAcquire().OneShot, foreign.GetAcquire().Lease = nil, id[:]
	for name, cmd := range map[string]*leasepb.Command{"locks of two groups": several, "a lease of another group": foreign} {
		if _, err := w.do(cmd); !errors.Is(err, lease.ErrOtherGroup) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.expect()
}

// The place of a lease must be given up under the attempt that may have it.
func TestLeaveCancelsTheAttemptThatMayWait(t *testing.T) {
	ctx, gone := context.WithCancel(t.Context())
	w := newWorld(t)
	w.script = []step{
		{err: errPlaceLeft, then: func() { w.leads(there, 6) }}, // attempt 1 is in the queue
		{err: notLeader(0, 6), then: gone},                      // attempt 2 certainly is not
		{code: leasepb.Code_OK}, {code: leasepb.Code_OK}, {code: leasepb.Code_OK},
	}
	w.router.Do(ctx, withLease(time.Minute))
	first := w.asked[0].cmd.GetAcquire().Attempt.Id
	for _, a := range w.asked {
		if c := a.cmd.GetCancel(); c != nil && c.Attempt.Id == first {
			return
		}
	}
	t.Errorf("no Cancel names attempt %d", first)
}
