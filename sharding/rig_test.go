package sharding

import (
	"math"
	"testing"
	"time"

	"lockd/consensus"
	"lockd/lease"
	"lockd/lease/leasepb"
	"lockd/sharding/shardpb"
)

// rig drives one shard as its group would, with a clock that is turned by
// hand and a log in which entries stand until they are committed.
type rig struct {
	t           *testing.T
	s           *shard
	now         time.Duration
	index, term uint64
	log         []consensus.Proposal // proposed, not committed
	attempts    uint64
}

const (
	selfBoot  = 100
	otherBoot = 200
	election  = 500 * time.Millisecond
)

// rigToday is the time of day in a rig.
var rigToday = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// newRig returns a shard that leads term 1, owns everything, and to which the
// other process has a link.
func newRig(t *testing.T) *rig {
	r := &rig{t: t, now: time.Second}
	l := newLinks()
	l.start(selfBoot, func() time.Duration { return r.now })
	l.opened(otherBoot)
	r.s = newShard(1, []*leasepb.Range{{First: 0, Last: math.MaxUint64}}, election, l, func() time.Time { return rigToday })
	r.elect()
	r.pass(0)
	return r
}

// elect makes the shard the leader of a new term.
func (r *rig) elect() {
	r.index++
	r.term++
	r.s.Lead(r.now, r.term)
}

// depose ends its leadership. What was not committed is overwritten.
func (r *rig) depose() {
	r.s.Follow()
	r.refuse()
}

func (r *rig) refuse() {
	log := r.log
	r.log = nil
	for _, p := range log {
		p.Done(nil, &consensus.NotLeaderError{Group: 1, Term: r.term})
	}
}

// turn lets the shard propose what is due, and returns what it proposed.
func (r *rig) turn(gap time.Duration) []*leasepb.Command {
	proposals, _ := r.s.Turn(r.now, gap)
	r.log = append(r.log, proposals...)
	var cmds []*leasepb.Command
	for _, p := range proposals {
		cmd, err := lease.DecodeCommand(p.Data)
		if err != nil {
			r.t.Fatal(err)
		}
		if p.Term != r.term || cmd.Term != r.term {
			r.t.Fatalf("proposed %v for term %d, in term %d: R-time", cmd, p.Term, r.term)
		}
		cmds = append(cmds, cmd)
	}
	return cmds
}

// commit applies what is in the log.
func (r *rig) commit() {
	for len(r.log) > 0 {
		p := r.log[0]
		r.log = r.log[1:]
		r.index++
		p.Done(r.s.Apply(r.now, consensus.Entry{Index: r.index, Term: r.term, Data: p.Data}), nil)
	}
}

// pass lets time pass, and everything that is due happen.
func (r *rig) pass(d time.Duration) {
	r.now += d
	for range 1000 {
		r.turn(0)
		if len(r.log) == 0 {
			return
		}
		r.commit()
	}
	r.t.Fatal("the shard proposes for ever")
}

// reply is what a caller heard.
type reply struct {
	heard  bool
	result *leasepb.Result
	err    error
}

func (r *reply) code() leasepb.Code { return r.result.GetCode() }

// propose sends a command as the router of this node does.
func (r *rig) propose(cmd *leasepb.Command) *reply {
	rep := &reply{}
	c := newCall()
	r.log = append(r.log, consensus.Proposal{Data: mustMarshal(cmd), Done: c.onApplied})
	c.onSettled = func(res *leasepb.Result, err error) { rep.result, rep.err, rep.heard = res, err, true }
	original := c.onApplied
	r.log[len(r.log)-1].Done = func(answer any, err error) {
		if w, ok := answer.(*waiter); ok {
			w.then(c.onSettled)
			return
		}
		original(answer, err)
		<-c.done
		rep.result, _ = c.answer.(*leasepb.Result)
		rep.err, rep.heard = c.err, true
	}
	return rep
}

// do proposes and commits.
func (r *rig) do(cmd *leasepb.Command) *reply {
	rep := r.propose(cmd)
	r.commit()
	return rep
}

// serve sends a command as another node does. heard tells whether the answer
// was sent.
func (r *rig) serve(cmd *leasepb.Command) (rep *reply, cancel func()) {
	rep = &reply{}
	raw := mustMarshal(&shardpb.Request{Group: 1, Ask: &shardpb.Request_Command{Command: mustMarshal(cmd)}})
	cancel = serve(func(consensus.GroupID) (group, *shard) { return r, r.s }, raw, func(answer []byte) {
		got, err := decodeAnswer(1, answer)
		rep.result, _ = got.(*leasepb.Result)
		rep.err, rep.heard = err, true
	})
	return rep, cancel
}

// What follows makes a rig the group of its shard.

func (r *rig) Propose(p consensus.Proposal) { r.log = append(r.log, p) }
func (r *rig) Query(q any, done func(any, error)) {
	done(r.s.Query(r.now, r.now, q), nil)
}
func (r *rig) QueryStale(q any, done func(any, error)) { done(r.s.Query(r.now, r.now, q), nil) }
func (r *rig) Status() consensus.Status                { return consensus.Status{Leading: true, Term: r.term} }
func (r *rig) Changed() <-chan struct{}                { return nil }
func (r *rig) SinceHeard() time.Duration               { return 0 }

func (r *rig) attempt(boot uint64) *leasepb.Attempt {
	r.attempts++
	return &leasepb.Attempt{Boot: boot, Id: r.attempts}
}

// acquire is an acquire of lock in namespace jobs; with ttl it makes a one-shot
// lease.
func (r *rig) acquire(n int, lock string, ttl, wait time.Duration) *leasepb.Command {
	id := leaseID(n)
	a := &leasepb.Acquire{
		Lease: id[:], WaitMs: wait.Milliseconds(), Attempt: r.attempt(selfBoot),
		Locks: []*leasepb.LockRequest{{Namespace: "jobs", Lock: lock, Permits: 1}},
	}
	if ttl > 0 {
		a.OneShot = &leasepb.NewLease{TtlMs: ttl.Milliseconds()}
	}
	return &leasepb.Command{Op: &leasepb.Command_Acquire{Acquire: a}}
}

func (r *rig) create(n int, ttl, delay time.Duration) {
	r.t.Helper()
	id := leaseID(n)
	rep := r.do(&leasepb.Command{Op: &leasepb.Command_CreateLease{CreateLease: &leasepb.CreateLease{
		Lease: id[:], Namespace: "jobs", New: &leasepb.NewLease{TtlMs: ttl.Milliseconds(), LockDelayMs: delay.Milliseconds()},
	}}})
	if rep.code() != leasepb.Code_OK {
		r.t.Fatalf("create: %v", rep.result)
	}
}

func (r *rig) release(n int, lock string) *reply {
	id := leaseID(n)
	return r.do(&leasepb.Command{Op: &leasepb.Command_Release{Release: &leasepb.Release{
		Lease: id[:], Locks: []*leasepb.ReleaseRef{{Namespace: "jobs", Lock: lock}},
	}}})
}

// grant acquires and expects to get it.
func (r *rig) grant(n int, lock string, ttl time.Duration) *leasepb.Result {
	r.t.Helper()
	rep := r.do(r.acquire(n, lock, ttl, 0))
	if !rep.heard || rep.err != nil || rep.code() != leasepb.Code_OK {
		r.t.Fatalf("acquire %s: %+v", lock, rep)
	}
	return rep.result
}

// renew is a keepalive received and confirmed now.
func (r *rig) renew(n int) renewal { return r.renewReceived(n, r.now) }

func (r *rig) renewReceived(n int, received time.Duration) renewal {
	k := &keepalive{ids: []lease.ID{leaseID(n)}}
	r.s.Query(r.now, received, k)
	return k.outcomes[0]
}

func (r *rig) view(lock string) *leasepb.LockView {
	return r.s.Query(r.now, r.now, &shardpb.LockQuery{Namespace: "jobs", Lock: lock}).(*leasepb.LockView)
}
