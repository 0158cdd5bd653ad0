package consensus

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.etcd.io/etcd/raft/v3/raftpb"
)

func TestProposalsAreAppliedEverywhereInOneOrder(t *testing.T) {
	n := newTestNet(t, 3)
	n.elect(1)
	for i := range 5 {
		o := n.propose(1, fmt.Sprint("p", i))
		n.deliver()
		o.want(t, "proposal", fmt.Sprintf("p%d@%d", i, i+3))
	}
	n.tick()
	n.deliver()
	for _, id := range n.order {
		if got := n.nodes[id].sm.list; !slices.Equal(got, []string{"p0", "p1", "p2", "p3", "p4"}) {
			t.Errorf("node %d has %q", id, got)
		}
	}
	n.propose(2, "x").wantNotLeader(t, "proposal at a follower")
}

// R2: a leader's appends leave beside its write, but nothing is applied before
// that write has returned, whatever the others acknowledged.
func TestR2LeaderAppliesOnlyWhatItsDiskHas(t *testing.T) {
	n := newTestNet(t, 3)
	n.elect(1)
	leader := n.nodes[1]
	leader.slow = true
	o := n.propose(1, "a")
	n.deliver()
	if got := n.nodes[2].r.disk.durable; got != leader.r.log.last {
		t.Fatalf("the append did not leave beside the write: follower is at %d, leader at %d", got, leader.r.log.last)
	}
	if c := leader.r.rn.BasicStatus().Commit; c != leader.r.log.last {
		t.Fatalf("raft's commit is %d, want %d: the test does not exercise what it is for", c, leader.r.log.last)
	}
	o.wantOpen(t, "proposal while the leader's write is open")
	n.flush(1)
	o.want(t, "proposal after the write", "a@3")
}

// R2: no message carries a commit index above what its sender has made
// durable; otherwise followers would apply an entry that a leader which had
// counted itself loses with its power.
func TestR2CommitIsLoweredToWhatIsDurable(t *testing.T) {
	n := newTestNet(t, 3)
	n.elect(1)
	leader := n.nodes[1]
	leader.slow = true
	durable := leader.r.disk.durable
	n.drop = func(m raftpb.Message) bool {
		if m.From == 1 && m.Commit > durable {
			t.Fatalf("%s to %d carries commit %d, durable is %d", m.Type, m.To, m.Commit, durable)
		}
		return false
	}
	n.propose(1, "a")
	n.deliver()
	n.tick()
	n.deliver()
	if c := leader.r.rn.BasicStatus().Commit; c <= durable {
		t.Fatalf("raft's commit is %d, not above %d: nothing was lowered", c, durable)
	}
	if got := n.nodes[2].sm.list; len(got) != 0 {
		t.Fatalf("a follower applied %q, which the leader has not written", got)
	}
	n.drop = nil
	n.flush(1)
	n.tick()
	n.deliver()
	if got := n.nodes[2].sm.list; !slices.Equal(got, []string{"a"}) {
		t.Fatalf("a later heartbeat did not carry the rest: %q", got)
	}
}

// R2, etcd issue 14370: in a group of one voter raft commits in the Ready that
// asks for the write.
func TestR2LoneVoterAcknowledgesAfterTheWrite(t *testing.T) {
	n := newTestNet(t, 1)
	n.elect(1)
	n.nodes[1].slow = true
	o := n.propose(1, "a")
	o.wantOpen(t, "proposal before the write")
	if len(n.nodes[1].sm.list) > 0 {
		t.Fatal("applied before the write")
	}
	n.flush(1)
	o.want(t, "proposal after the write", "a@3")
}

// R2: with one voter, nothing leaves beside the write of a new term; a crash
// would let the same term be won twice.
func TestR2NothingLeavesBesideAChangeOfTerm(t *testing.T) {
	n := newTestNet(t, 1)
	n.elect(1)
	learner := n.add(2, []NodeID{1})
	addLearner(n, 1, 2)
	n.propose(1, "x") // its write tells the disk that the learner is committed
	n.deliver()
	n.tick()
	n.deliver()
	if learner.r.applied != n.nodes[1].r.applied {
		t.Fatalf("learner is at %d, leader at %d", learner.r.applied, n.nodes[1].r.applied)
	}
	n.start(n.nodes[1])
	n.nodes[1].slow = true
	for n.nodes[1].r.lead.term == 0 {
		n.tick(1)
	}
	n.propose(1, "y")
	n.tick(1)
	if sent := n.nodes[1].sent; len(sent) > 0 {
		t.Fatalf("%s left beside the write of term %d", sent[0].Type, sent[0].Term)
	}
	n.flush(1)
	if len(n.nodes[1].sent) == 0 {
		t.Fatal("nothing left after the write either")
	}
}

func addLearner(n *testNet, leader, id NodeID) {
	n.t.Helper()
	n.changeMembers(leader, raftpb.ConfChange{Type: raftpb.ConfChangeAddLearnerNode, NodeID: uint64(id)})
}

func (n *testNet) changeMembers(leader NodeID, cc raftpb.ConfChange) {
	n.t.Helper()
	n.turn(leader, func(r *replica) { n.must(r.rn.ProposeConfChange(cc)) })
	n.deliver()
}

// R5: a query is confirmed by heartbeats that left after it was received, not
// by answers to earlier ones.
func TestR5QueryNeedsAFreshQuorum(t *testing.T) {
	n := newTestNet(t, 3)
	n.elect(1)
	o := n.query(1, "a")
	n.deliver()
	o.want(t, "query with a quorum", false)

	n.tick(1)
	early := n.nodes[1].sent // heartbeats from before the next query
	n.nodes[1].sent = nil
	o = n.query(1, "a")
	n.nodes[1].sent = early
	n.deliver()
	o.wantOpen(t, "query with answers to earlier heartbeats only")
}

// R5: requests that raft drops are asked again, each time with a context that
// was never used.
func TestR5ContextsAreNeverUsedTwice(t *testing.T) {
	n := newTestNet(t, 3)
	n.elect(1)
	seen := map[string]int{}
	n.drop = func(m raftpb.Message) bool {
		if m.Type == raftpb.MsgHeartbeat && len(m.Context) > 0 && m.To == 2 {
			seen[string(m.Context)]++
		}
		return len(m.Context) > 0
	}
	o := n.query(1, "a")
	for range 4 {
		n.deliver()
		o.wantOpen(t, "query while its heartbeats are lost")
		n.tick(1, 2, 3)
	}
	if len(seen) < 2 {
		t.Fatalf("%d contexts: the query was not asked again", len(seen))
	}
	n.drop = nil
	for range 4 {
		n.tick()
		n.deliver()
	}
	o.want(t, "query after the loss", false)
	n.start(n.nodes[1])
	if a, b := n.nodes[1].r.reads.contexts, (contexts{node: 2, boot: 7, group: 1}); a.node == b.node {
		t.Fatal("contexts do not name their node")
	}
}

// R5: a leader that was cut off confirms nothing, and fails what waits as soon
// as it learns of its end.
func TestR5DeposedLeaderAnswersNothing(t *testing.T) {
	n := newTestNet(t, 3)
	n.elect(1)
	n.drop = isolate(1)
	q := n.query(1, "a")
	p := n.propose(1, "lost")
	n.elect(2)
	q.wantOpen(t, "query at a leader that is cut off")
	n.drop = nil
	n.tick(2)
	n.deliver()
	q.wantNotLeader(t, "query at a deposed leader")
	if n.nodes[1].sm.follows != 1 {
		t.Fatalf("the machine was told %d times that it follows", n.nodes[1].sm.follows)
	}
	o := n.propose(2, "b")
	n.deliver()
	o.want(t, "proposal at the new leader", "b@4")
	n.tick()
	n.deliver()
	p.wantNotLeader(t, "proposal whose index another entry took (R20)")
}

// R5: nothing is confirmed before an entry of the leader's own term is applied.
func TestR5NoAnswerBeforeAnEntryOfTheTerm(t *testing.T) {
	n := newTestNet(t, 1)
	n.nodes[1].slow = true
	for n.nodes[1].r.rn.BasicStatus().RaftState.String() != "StateLeader" {
		n.tick(1)
	}
	o := n.query(1, "a")
	o.wantOpen(t, "query before the first entry is applied")
	if n.nodes[1].sm.leads != 0 {
		t.Fatal("the machine was told that it leads before the first entry was applied")
	}
	n.flush(1)
	n.turn(1, nil)
	o.want(t, "query after it", false)
}

// R5: a replica that its applied configuration does not name as a voter stops
// leading.
func TestR5RemovedLeaderStopsLeading(t *testing.T) {
	n := newTestNet(t, 3)
	n.elect(1)
	n.changeMembers(1, raftpb.ConfChange{Type: raftpb.ConfChangeRemoveNode, NodeID: 1})
	if n.nodes[1].sm.follows != 1 {
		t.Fatal("the removed leader goes on")
	}
	n.query(1, "a").wantNotLeader(t, "query")
	n.propose(1, "a").wantNotLeader(t, "proposal")
}

// R20: an entry of this leader's that a later leader commits is done, though
// its own leadership ended before it could know.
func TestR20OrphanIsResolvedByTheLog(t *testing.T) {
	n := newTestNet(t, 3)
	n.elect(1)
	n.drop = func(m raftpb.Message) bool { return m.To == 1 || m.From == 1 && m.To == 3 }
	o := n.propose(1, "a")
	n.deliver() // node 2 has it, node 1 does not know
	n.drop = isolate(1)
	n.elect(2)
	n.drop = nil
	n.tick(2)
	n.deliver()
	n.tick(2)
	n.deliver()
	o.want(t, "orphan", "a@3")
}

// R20: without word from the log, the outcome is unknown after a bound.
func TestR20OrphanBecomesUnknown(t *testing.T) {
	n := newTestNet(t, 3)
	n.elect(1)
	n.drop = isolate(1)
	o := n.propose(1, "a")
	for range 40 {
		if o.done {
			break
		}
		n.tick(1)
	}
	if !errors.Is(o.err, ErrOutcomeUnknown) {
		t.Fatalf("got %+v", *o)
	}
}

// R20: a snapshot that jumps over the index of a proposal tells nothing of it.
func TestR20SnapshotOverAProposalMakesItUnknown(t *testing.T) {
	n := startTestNet(t, 3, 1000)
	n.elect(1)
	n.drop = isolate(1)
	o := n.propose(1, "lost")
	n.elect(2)
	for i := range 2 * keptEntries / 10 {
		var many []Proposal
		for range 20 {
			many = append(many, Proposal{Data: []byte("a longer entry"), Done: func(any, error) {}})
		}
		_ = i
		n.turn(2, func(r *replica) { r.propose(many) })
		n.deliver()
	}
	if first := n.nodes[2].r.log.first; first < 10 {
		t.Fatalf("the log begins at %d: it was not compacted", first)
	}
	n.drop = nil
	for range 5 {
		n.tick(2)
		n.deliver()
	}
	if !errors.Is(o.err, ErrOutcomeUnknown) {
		t.Fatalf("got %+v", *o)
	}
	if a, b := n.nodes[1].sm.list, n.nodes[2].sm.list; !slices.Equal(a, b) {
		t.Fatalf("after the snapshot node 1 has %d entries, node 2 %d", len(a), len(b))
	}
}

// R-time: a step-down empties the queue of proposals, and a term guard keeps a
// late one out of a newer term.
func TestRTimeProposalsDoNotOutliveTheirTerm(t *testing.T) {
	n := newTestNet(t, 3)
	n.elect(1)
	o := &outcome{}
	n.turn(1, func(r *replica) {
		r.propose([]Proposal{{Data: []byte("x"), Term: r.lead.term - 1, Done: o.set}})
	})
	o.wantNotLeader(t, "proposal of an older term")

	n.nodes[1].slow = true
	var held []*outcome
	for range maxOpenWrites + 3 {
		held = append(held, n.propose(1, "y")) // the last ones wait in the queue
	}
	n.drop = isolate(1)
	n.elect(2)
	n.drop = nil
	n.tick(2)
	n.deliver()
	held[len(held)-1].wantNotLeader(t, "proposal that waited in the queue")
}

// R-time: a loop that stood still tells its machine for how long.
func TestRTimeGapIsToldToTheMachine(t *testing.T) {
	n := newTestNet(t, 1)
	n.elect(1)
	n.tick()
	if n.nodes[1].sm.gap != 0 {
		t.Fatalf("gap %s without one", n.nodes[1].sm.gap)
	}
	n.now += 10 * testTick * testElection
	n.turn(1, nil)
	if got := n.nodes[1].sm.gap; got != 10*testTick*testElection {
		t.Fatalf("gap %s", got)
	}
}

// R21: a leader whose disk hangs hands over and falls silent.
func TestR21LeaderWithAHungDiskStepsAside(t *testing.T) {
	n := newTestNet(t, 3)
	n.elect(1)
	n.nodes[1].slow = true
	o := n.propose(1, "a")
	n.deliver()
	for i := 0; n.nodes[2].sm.leads == 0 && n.nodes[3].sm.leads == 0; i++ {
		if i > 2*testElection {
			t.Fatal("nobody took over")
		}
		n.tick()
		n.deliver()
	}
	o.wantOpen(t, "proposal that is not durable at its leader")
	n.nodes[1].slow = false
	n.flush(1)
	for range 3 {
		n.tick()
		n.deliver()
	}
	o.want(t, "proposal once the disk works again", "a@3")
}

// R21: a follower far behind gets a snapshot, and a restart finds snapshot and
// tail.
func TestR21SnapshotInstallAndRestart(t *testing.T) {
	n := startTestNet(t, 3, 1000)
	n.elect(1)
	n.drop = isolate(3)
	for range keptEntries/10 + 10 {
		var many []Proposal
		for range 20 {
			many = append(many, Proposal{Data: []byte("a longer entry"), Done: func(any, error) {}})
		}
		n.turn(1, func(r *replica) { r.propose(many) })
		n.deliver()
	}
	n.drop = nil
	for range 5 {
		n.tick(1)
		n.deliver()
	}
	if n.nodes[3].r.log.snapshot.Index <= 1 {
		t.Fatal("no snapshot was installed")
	}
	for _, id := range n.order {
		n.nodes[id].store = n.nodes[id].store.Crash(0)
		n.start(n.nodes[id])
	}
	n.elect(2)
	n.tick(2)
	n.deliver()
	for _, id := range n.order {
		if got, want := len(n.nodes[id].sm.list), 20*(keptEntries/10+10); got != want {
			t.Errorf("node %d has %d entries after the restart, want %d", id, got, want)
		}
	}
}

// A snapshot and the append that follows it can be handled in one turn: raft
// then has both, and what of the append is committed, in one Ready.
func TestR21SnapshotAndAppendInOneReady(t *testing.T) {
	n := startTestNet(t, 3, 1000)
	n.elect(1)
	n.drop = isolate(3)
	for range keptEntries/10 + 10 {
		var many []Proposal
		for range 20 {
			many = append(many, Proposal{Data: []byte("a longer entry"), Done: func(any, error) {}})
		}
		n.turn(1, func(r *replica) { r.propose(many) })
		n.deliver()
	}
	// Node 3 is reached again. Its MsgSnap waits in its inbox until the append
	// behind it is there too.
	var late []raftpb.Message
	n.drop = func(m raftpb.Message) bool {
		if m.To != 3 {
			return false
		}
		if m.Type == raftpb.MsgSnap {
			n.copySnapshot(n.nodes[1], n.nodes[3], m)
			late = append(late, m)
			return true
		}
		if len(late) > 0 && m.Type == raftpb.MsgApp {
			late = append(late, m)
			return true
		}
		return false
	}
	for i := 0; len(late) < 2; i++ {
		if i > 20 {
			t.Fatalf("%d messages", len(late))
		}
		n.tick(1)
		n.deliver()
	}
	n.drop = nil
	n.turn(3, func(r *replica) { r.step(n.now, late) })
	n.files(n.nodes[3])
	for range 5 {
		n.tick(1)
		n.deliver()
	}
	if a, b := len(n.nodes[1].sm.list), len(n.nodes[3].sm.list); a != b {
		t.Errorf("node 1 applied %d, node 3 %d", a, b)
	}
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("the next entry stops the replica: %v", p)
		}
	}()
	n.propose(1, "next")
	n.deliver()
	n.tick(1)
	n.deliver()
}

// R6, S3: a leader that fell silent and leads on in the same term when its disk
// works again has entries of that term in the log that are not applied: an
// Expire among them would end a lease that is renewed in between.
func TestR6SilentLeaderNeverLeadsItsTermAgain(t *testing.T) {
	n := newTestNet(t, 3)
	n.elect(1)
	leader := n.nodes[1]
	term := leader.r.lead.term
	leader.slow = true
	n.drop = func(m raftpb.Message) bool { return m.From == 1 && m.Type == raftpb.MsgApp }
	n.propose(1, "expire")
	for range testElection + 1 {
		n.tick(1)
		n.deliver()
	}
	if !leader.r.isSilent() || leader.sm.leads != 0 {
		t.Fatal("the leader did not fall silent")
	}
	leader.slow = false
	n.flush(1)
	q := n.query(1, "expire")
	n.deliver()
	if leader.sm.leads == term && q.done && q.err == nil && q.result == false {
		n.drop = nil
		for range 3 {
			n.tick(1)
			n.deliver()
		}
		t.Fatalf("a keepalive of term %d was answered while the Expire of term %d was open; it is applied now: %q", term, term, leader.sm.list)
	}
}

// Queries, and with them keepalives, must be answered as long as a quorum
// answers, however slowly: a follower whose fsync takes three ticks answers
// heartbeats three ticks late.
func TestR5QueriesSurviveSlowFollowers(t *testing.T) {
	n := newTestNet(t, 3)
	n.elect(1)
	const late = 3
	type post struct {
		at int
		m  raftpb.Message
	}
	var posts []post
	step := 0
	n.drop = func(m raftpb.Message) bool {
		if m.To == 1 {
			posts = append(posts, post{step + late, m})
			return true
		}
		return false
	}
	q := n.query(1, "a")
	for ; step < 60 && !q.done; step++ {
		n.deliver()
		n.tick(1)
		n.deliver()
		for len(posts) > 0 && posts[0].at <= step {
			m := posts[0].m
			posts = posts[1:]
			n.turn(1, func(r *replica) { r.step(n.now, []raftpb.Message{m}) })
		}
	}
	if n.nodes[1].r.lead.term == 0 {
		t.Fatal("the leader stepped down: the test does not exercise what it is for")
	}
	if !q.done {
		t.Fatalf("no answer in %d ticks", step)
	}
}

// R15: a group in which nothing happens goes on with its heartbeats: leases may
// depend on them that leave no trace in the log. Cut off, its leader soon stops
// leading.
func TestR15IdleGroupDoesNotQuiesce(t *testing.T) {
	n := newTestNet(t, 3)
	n.elect(1)
	const ticks = 50
	beats := map[uint64]int{}
	n.drop = func(m raftpb.Message) bool {
		if m.Type == raftpb.MsgHeartbeat && m.From == 1 {
			beats[m.To]++
		}
		return false
	}
	for range ticks {
		n.tick()
		n.deliver()
	}
	if beats[2] < ticks || beats[3] < ticks {
		t.Errorf("in %d ticks %v heartbeats were sent", ticks, beats)
	}
	n.drop = isolate(1)
	for range 2 * testElection {
		n.tick(1)
		n.deliver()
	}
	if n.nodes[1].sm.leads != 0 {
		t.Error("an idle leader that is cut off goes on leading")
	}
}
