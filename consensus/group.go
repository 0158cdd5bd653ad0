package consensus

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/raft/v3/raftpb"

	"lockd/consensus/storage"
	"lockd/consensus/transport"
)

// Bounds of a group's inbox. Messages over theirs are dropped, as the network
// might have; proposals and queries get ErrOverloaded.
const (
	maxQueuedMessages = 8192
	maxQueuedRequests = 65536
	maxQueuedTicks    = 2 // a loop that lags must not hold an election for it
)

// Status is what others may know of a replica. Fields are of one moment.
type Status struct {
	Leader NodeID // 0: none is known
	Term   uint64
	// Leading: this replica leads and its machine was told so.
	Leading bool
	Voters  []NodeID
}

// Group is this node's replica of one group: a goroutine that owns the
// replica and its machine, and the queues through which others reach it. All
// methods may be called from any goroutine and do not block.
type Group struct {
	id     GroupID
	node   *Node
	r      *replica
	notify chan struct{}
	done   chan struct{}
	// sending is used again by each turn.
	sending []transport.GroupMessage

	mu      sync.Mutex
	in      inbox
	changed chan struct{}
	stopped bool

	observe func(time.Duration) // of turns that applied entries

	backlog atomic.Int64 // requests taken but not appended yet
	status  atomic.Pointer[Status]
	applied atomic.Uint64
	commit  atomic.Uint64
	heard   atomic.Int64 // when a leader was last heard from
	counts  Counts
}

// Counts are totals since the process started, for metrics.
type Counts struct {
	Proposals     atomic.Uint64
	SnapshotBytes atomic.Uint64 // of the newest snapshot, not a total
}

// inbox is what arrived since the last turn.
type inbox struct {
	messages  []raftpb.Message
	proposals []Proposal
	queries   []query
	wrote     uint64
	ticks     int
	events    []func(now time.Duration)
	stop      bool
}

func newGroup(n *Node, r *replica) *Group {
	g := &Group{
		id: r.group, node: n, r: r,
		observe: func(time.Duration) {},
		notify:  make(chan struct{}, 1), done: make(chan struct{}), changed: make(chan struct{}),
	}
	g.status.Store(&Status{Term: r.hard.Term})
	return g
}

// ID returns the group's id.
func (g *Group) ID() GroupID { return g.id }

// Propose asks for p to be appended to the log. p.Done is called exactly once.
func (g *Group) Propose(p Proposal) {
	if err := g.put(func(in *inbox) bool {
		if len(in.proposals)+int(g.backlog.Load()) >= maxQueuedRequests {
			return false
		}
		in.proposals = append(in.proposals, p)
		return true
	}); err != nil {
		p.Done(nil, err)
	}
}

// Query asks the machine, linearizably: done gets its answer, or
// *NotLeaderError unless this replica leads.
func (g *Group) Query(q any, done func(any, error)) { g.ask(q, false, done) }

// QueryStale asks the machine as it is here, led or not.
func (g *Group) QueryStale(q any, done func(any, error)) { g.ask(q, true, done) }

func (g *Group) ask(q any, stale bool, done func(any, error)) {
	received := g.node.Now()
	if err := g.put(func(in *inbox) bool {
		if len(in.queries) >= maxQueuedRequests {
			return false
		}
		in.queries = append(in.queries, query{query: q, received: received, stale: stale, done: done})
		return true
	}); err != nil {
		done(nil, err)
	}
}

// TransferLeader asks for another replica to lead, if this one does. Whether
// it came to pass shows in Status.
func (g *Group) TransferLeader(to NodeID) { g.event(func(time.Duration) { g.r.transfer(to) }) }

// Status returns who leads.
func (g *Group) Status() Status { return *g.status.Load() }

// Applied and Commit return the indexes up to which entries are applied here
// and known to be committed.
func (g *Group) Applied() uint64 { return g.applied.Load() }

// Commit returns the index up to which entries are known to be committed.
func (g *Group) Commit() uint64 { return g.commit.Load() }

// SinceHeard returns for how long this replica has not heard from a leader,
// or, leading, from a quorum.
func (g *Group) SinceHeard() time.Duration { return g.node.Now() - time.Duration(g.heard.Load()) }

// Counts returns the group's totals.
func (g *Group) Counts() *Counts { return &g.counts }

// Changed returns a channel that is closed when the leader or the term
// changes next.
func (g *Group) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

func (g *Group) event(f func(now time.Duration)) {
	// A stopped group needs no more events.
	_ = g.put(func(in *inbox) bool { in.events = append(in.events, f); return true })
}

func (g *Group) receive(m []raftpb.Message) {
	_ = g.put(func(in *inbox) bool {
		if len(in.messages)+len(m) > maxQueuedMessages {
			return false
		}
		in.messages = append(in.messages, m...)
		return true
	})
}

func (g *Group) tick() {
	_ = g.put(func(in *inbox) bool { in.ticks = min(in.ticks+1, maxQueuedTicks); return true })
}

func (g *Group) wrote(seq uint64) {
	_ = g.put(func(in *inbox) bool { in.wrote = max(in.wrote, seq); return true })
}

// put adds to the inbox and wakes the loop.
func (g *Group) put(add func(*inbox) bool) error {
	g.mu.Lock()
	switch {
	case g.stopped:
		g.mu.Unlock()
		return ErrStopped
	case !add(&g.in):
		g.mu.Unlock()
		return ErrOverloaded
	}
	g.mu.Unlock()
	g.wake()
	return nil
}

func (g *Group) wake() {
	select {
	case g.notify <- struct{}{}:
	default: // it is awake already
	}
}

// run is the group's goroutine. Each turn takes all that has arrived, messages
// and answers of the disk before ticks and timers (R-time), and then carries
// out what the replica wants.
func (g *Group) run() {
	defer close(g.done)
	defer g.node.guard(g.id)
	var alarm alarm
	defer alarm.stop()
	var in inbox
	for {
		select {
		case <-g.notify:
		case <-alarm.c():
			alarm.fired()
		}
		// Whoever is about to add to the inbox does so first: under load, turns
		// get fewer and larger.
		runtime.Gosched()
		in = g.take(in)
		now := g.node.Now()
		g.r.begin(now)
		if in.wrote > 0 {
			g.r.wrote(in.wrote)
		}
		g.r.step(now, in.messages)
		for _, f := range in.events {
			f(now)
		}
		g.r.propose(in.proposals)
		g.counts.Proposals.Add(uint64(len(in.proposals)))
		g.r.query(now, in.queries)
		for range in.ticks {
			g.r.tick(now)
		}
		if in.stop {
			g.r.stop(now)
			return
		}
		applied := g.r.applied
		out := g.r.end(now)
		if g.r.applied > applied {
			g.observe(g.node.Now() - now)
		}
		g.perform(out)
		g.publish()
		if out.more {
			g.wake()
		}
		alarm.set(now, out.wake)
	}
}

// alarm wakes a loop. Setting a timer may cost a system call, and a turn mostly
// wants to be woken later than is set already: then the alarm stays, and the
// loop wakes once for nothing.
type alarm struct {
	timer *time.Timer
	at    time.Duration // 0: not set
}

func (a *alarm) set(now, at time.Duration) {
	switch {
	case at == 0 || a.at != 0 && a.at <= at:
		return
	case a.timer == nil:
		a.timer = time.NewTimer(max(0, at-now))
	default:
		a.timer.Reset(max(0, at-now))
	}
	a.at = at
}

func (a *alarm) fired() { a.at = 0 }

func (a *alarm) c() <-chan time.Time {
	if a.timer == nil {
		return nil
	}
	return a.timer.C
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// take swaps the inbox for an empty one, whose slices are used again.
func (g *Group) take(used inbox) inbox {
	clear(used.messages)
	clear(used.proposals)
	clear(used.queries)
	clear(used.events)
	g.mu.Lock()
	defer g.mu.Unlock()
	in := g.in
	g.in = inbox{
		messages: used.messages[:0], proposals: used.proposals[:0], queries: used.queries[:0],
		events: used.events[:0], stop: in.stop,
	}
	return in
}

// perform carries out the effects of a turn. Appends leave before the write
// begins, so that followers write while this node does.
func (g *Group) perform(out *effects) {
	g.node.send(g, out.messages)
	g.node.writer.submit(g, out.writes)
	if t := out.take; t != nil {
		g.node.background(func() { g.takeSnapshot(t) })
	}
	if meta := out.install; meta != nil {
		g.node.background(func() { g.install(*meta) })
	}
}

func (g *Group) takeSnapshot(t *takeSnapshot) {
	meta := t.meta
	if err := writeSnapshot(g.node.store, g.id, &meta, t.state); err != nil {
		g.node.fail(err)
		return
	}
	g.counts.SnapshotBytes.Store(meta.Size)
	g.node.log.Info().Uint64("group", uint64(g.id)).Uint64("index", meta.Index).Uint64("bytes", meta.Size).Msg("snapshot taken")
	g.event(func(now time.Duration) { g.r.snapshotWritten(now, meta) })
}

func (g *Group) install(meta storage.SnapshotMeta) {
	install, err := readSnapshot(g.node.store, g.id, meta, g.r.sm)
	if err != nil {
		g.node.fail(err)
		return
	}
	g.node.log.Info().Uint64("group", uint64(g.id)).Uint64("index", meta.Index).Uint64("bytes", meta.Size).Msg("snapshot installed")
	g.event(func(now time.Duration) { g.r.restored(now, meta, install) })
}

// publish shows others where the replica stands.
func (g *Group) publish() {
	st := g.r.rn.BasicStatus()
	g.applied.Store(g.r.applied)
	g.commit.Store(st.Commit)
	g.heard.Store(int64(g.r.heard))
	g.backlog.Store(int64(len(g.r.queue)))
	leader := NodeID(st.Lead)
	if leader == NodeID(g.r.id) && g.r.lead.term == 0 {
		leader = 0
	}
	old := g.status.Load()
	if old.Leader == leader && old.Term == st.Term && old.Leading == g.r.lead.announced && slices.EqualFunc(old.Voters, g.r.conf.Voters, func(a NodeID, b uint64) bool { return uint64(a) == b }) {
		return
	}
	s := &Status{Leader: leader, Term: st.Term, Leading: g.r.lead.announced}
	for _, v := range g.r.conf.Voters {
		s.Voters = append(s.Voters, NodeID(v))
	}
	g.status.Store(s)
	if s.Leading != old.Leading && s.Leading {
		g.node.log.Info().Uint64("group", uint64(g.id)).Uint64("term", s.Term).Msg("leading")
	}
	g.mu.Lock()
	close(g.changed)
	g.changed = make(chan struct{})
	g.mu.Unlock()
}

// stop ends the loop; all that waits is answered.
func (g *Group) stop() {
	g.mu.Lock()
	g.in.stop = true
	g.mu.Unlock()
	g.wake()
	<-g.done
	g.mu.Lock()
	g.stopped = true
	left := g.in
	g.in = inbox{}
	g.mu.Unlock()
	for _, p := range left.proposals {
		p.Done(nil, ErrStopped)
	}
	for _, q := range left.queries {
		q.done(nil, ErrStopped)
	}
}
