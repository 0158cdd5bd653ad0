package consensus

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/raft/v3"
	"go.etcd.io/etcd/raft/v3/raftpb"
	"go.etcd.io/etcd/raft/v3/tracker"

	"lockd/consensus/storage"
)

const (
	maxMessageBytes   = 1 << 20  // of entries in one append message, and in one Ready
	maxInflight       = 256      // append messages on their way to a follower
	maxUncommitted    = 64 << 20 // bytes of proposals not committed yet
	maxOpenWrites     = 8        // of one group
	maxAppliedPerTurn = 4096     // entries, so that replay does not starve ticks
	keptEntries       = 4096     // left behind a snapshot for followers a little behind
)

// replica decides for one group on one node: it drives raft's state machine
// with events and says what is to be sent, written and answered. It has no
// goroutine, clock or IO of its own; the group around it carries events in and
// effects out.
//
// A turn is begin, any number of events, end. The order inside end is the
// order that safety needs: notice a lost leadership, append, take what raft
// has ready, apply what is durable, answer reads, let the machine propose.
//
// Unlike the library's plain use, Advance is called as soon as a Ready was
// taken, not when it was persisted and applied: the disk type keeps back what
// must wait (R2), and nothing is applied before it is durable here. A Ready
// with a snapshot or a membership change does stop everything behind it until
// it is done.
type replica struct {
	id    uint64
	group GroupID
	opts  replicaOptions
	rn    *raft.RawNode
	log   *groupLog
	sm    StateMachine

	disk      disk
	hard      raftpb.HardState // as raft has it
	written   raftpb.HardState // as it was last given to the disk
	committed []raftpb.Entry   // taken from raft, not applied yet
	held      *raft.Ready      // not advanced yet: it stops the pipeline
	// installing: held has a snapshot that is not installed yet.
	installing bool

	applied     uint64
	appliedTerm uint64
	conf        raftpb.ConfState

	news      commitNews
	lead      leadership
	queue     []Proposal
	proposals proposals
	reads     reads
	snapshots snapshotting

	lastTurn time.Duration
	gap      time.Duration
	heard    time.Duration            // when a leader, or as a leader a quorum, was last heard from
	acks     map[uint64]time.Duration // when each peer last answered
	out      effects
}

type replicaOptions struct {
	tick          time.Duration
	electionTicks int
	snapshotBytes uint64
	boot          uint64
	logger        raft.Logger
}

func (o replicaOptions) election() time.Duration { return time.Duration(o.electionTicks) * o.tick }

// leadership is what this replica has announced of itself.
type leadership struct {
	term      uint64 // the term it leads, 0: it does not
	announced bool   // the machine was told: an entry of the term was applied
	// silenced is a term that it led until its disk hung, and in which it
	// never leads again: entries of that leadership may still be applied, and
	// their term would not tell them from those of a second one.
	silenced uint64
}

// effects is what a turn wants done, in this order.
type effects struct {
	messages []raftpb.Message
	writes   []write
	take     *takeSnapshot
	install  *storage.SnapshotMeta // to be read and given to restored
	wake     time.Duration         // when the next turn is due at the latest; 0: no wish
	more     bool                  // there is work left: run another turn at once
}

// takeSnapshot asks for a state to be written to a file and given to
// snapshotWritten.
type takeSnapshot struct {
	meta  storage.SnapshotMeta
	state Snapshot
}

// newReplica starts a replica from what the store has, with a machine that
// already is in the state of the stored snapshot.
func newReplica(id NodeID, st storage.GroupState, store storage.Store, sm StateMachine, o replicaOptions) (*replica, error) {
	r := &replica{
		id: uint64(id), group: GroupID(st.Group), opts: o, sm: sm,
		log:  newGroupLog(store, st),
		hard: st.HardState, written: st.HardState, conf: st.Snapshot.ConfState,
		applied: st.Snapshot.Index, appliedTerm: st.Snapshot.Term,
		disk: disk{durable: st.Last}, acks: map[uint64]time.Duration{},
	}
	r.reads.contexts = contexts{node: r.id, boot: o.boot, group: st.Group}
	rn, err := raft.NewRawNode(&raft.Config{
		ID: r.id, ElectionTick: o.electionTicks, HeartbeatTick: 1,
		Storage: r.log, Applied: r.applied,
		MaxSizePerMsg: maxMessageBytes, MaxCommittedSizePerReady: maxMessageBytes,
		MaxUncommittedEntriesSize: maxUncommitted, MaxInflightMsgs: maxInflight,
		CheckQuorum: true, PreVote: true, ReadOnlyOption: raft.ReadOnlySafe,
		DisableProposalForwarding: true, Logger: o.logger,
	})
	if err != nil {
		return nil, fmt.Errorf("group %d: %w", st.Group, err)
	}
	r.rn = rn
	if len(r.conf.Voters) == 1 && r.isVoter() {
		// Nobody else could win or object, so there is nothing to wait for. An
		// error is one that the first election timeout meets again.
		if err := rn.Campaign(); err != nil {
			return nil, fmt.Errorf("group %d: %w", st.Group, err)
		}
	}
	return r, nil
}

// begin starts a turn. A loop that stood still for more than half an election
// timeout is noticed here (R-time).
func (r *replica) begin(now time.Duration) {
	if gap := now - r.lastTurn; r.lastTurn > 0 && gap > r.opts.election()/2 {
		r.gap = gap
	}
	r.lastTurn = now
}

// step takes messages of other replicas.
func (r *replica) step(now time.Duration, messages []raftpb.Message) {
	for _, m := range messages {
		switch m.Type {
		case raftpb.MsgProp, raftpb.MsgReadIndex, raftpb.MsgReadIndexResp, raftpb.MsgTransferLeader:
			continue // nobody forwards these; what another node's ReadIndex fetched confirms nothing (R5)
		case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
			r.heard = now
		case raftpb.MsgAppResp, raftpb.MsgHeartbeatResp:
			r.acks[m.From] = now
		}
		// What raft refuses here is stale or from a stranger, and dropped as
		// the network might have done.
		if err := r.rn.Step(m); err != nil && !errors.Is(err, raft.ErrStepPeerNotFound) && !errors.Is(err, raft.ErrProposalDropped) {
			panic(fmt.Sprintf("group %d: step %s from %d: %v", r.group, m.Type, m.From, err))
		}
	}
}

func (r *replica) tick(now time.Duration) {
	r.rn.Tick()
	r.proposals.expire(now)
	if r.lead.term != 0 {
		r.heard = max(r.heard, r.quorumHeard(now))
	}
}

// quorumHeard is the moment since which a quorum has answered this leader.
func (r *replica) quorumHeard(now time.Duration) time.Duration {
	var at []time.Duration
	for _, id := range r.conf.Voters {
		if id == r.id {
			at = append(at, now)
		} else {
			at = append(at, r.acks[id])
		}
	}
	slices.Sort(at)
	return at[(len(at)-1)/2]
}

func (r *replica) propose(p []Proposal) { r.queue = append(r.queue, p...) }

func (r *replica) query(now time.Duration, queries []query) {
	for _, q := range queries {
		if q.stale {
			q.done(r.sm.Query(now, q.received, q.query), nil)
			continue
		}
		r.reads.waiting = append(r.reads.waiting, q)
	}
}

// wrote tells that all writes up to seq are durable.
func (r *replica) wrote(seq uint64) {
	for _, m := range r.disk.wrote(seq) {
		r.send(m)
	}
}

// unreachable, snapshotSent and transfer pass on what the shell knows.
func (r *replica) unreachable(node NodeID) { r.rn.ReportUnreachable(uint64(node)) }

func (r *replica) snapshotSent(node NodeID, ok bool) {
	status := raft.SnapshotFinish
	if !ok {
		status = raft.SnapshotFailure
	}
	r.rn.ReportSnapshot(uint64(node), status)
}

func (r *replica) transfer(to NodeID) {
	if r.lead.term != 0 {
		r.rn.TransferLeader(uint64(to))
	}
}

// end finishes a turn and returns what is to be done.
func (r *replica) end(now time.Duration) *effects {
	r.stepAside(now)
	for {
		r.observe(now)
		r.append()
		r.takeReady(now)
		r.observe(now) // an applied membership change may have ended it
		r.answerReads(now)
		r.snapshot()
		proposals, wake := r.sm.Turn(now, r.gap)
		r.gap, r.out.wake = 0, wake
		if len(proposals) == 0 {
			break
		}
		r.queue = append(r.queue, proposals...)
	}
	r.out.messages = r.news.due(now, r.out.messages)
	r.out.wake = sooner(r.out.wake, r.news.at)
	r.out.more = r.held == nil && r.rn.HasReady() || r.backlog() > 0
	out := r.out
	r.out = effects{}
	return &out
}

// observe notices what raft became since the last look.
func (r *replica) observe(now time.Duration) {
	st := r.rn.BasicStatus()
	leads := st.RaftState == raft.StateLeader && r.isVoter() && st.Term != r.lead.silenced
	if r.lead.term != 0 && (!leads || st.Term != r.lead.term) {
		r.stepDown(now)
	}
	if leads && r.lead.term == 0 {
		r.lead.term = st.Term
	}
	r.announce(now)
}

// announce tells the machine that it leads, once an entry of the term is
// applied (R5).
func (r *replica) announce(now time.Duration) {
	if r.lead.term != 0 && !r.lead.announced && r.appliedTerm == r.lead.term {
		r.lead.announced = true
		r.sm.Lead(now, r.lead.term)
	}
}

// isVoter tells whether the applied configuration names this replica as a
// voter; one that it does not name neither leads nor answers (R5).
func (r *replica) isVoter() bool { return slices.Contains(r.conf.Voters, r.id) }

// stepDown fails all that waits for this leader (R5, R-time): queued proposals
// were never appended, appended ones are followed in the log.
func (r *replica) stepDown(now time.Duration) {
	r.news = commitNews{}
	announced := r.lead.announced
	r.lead = leadership{silenced: r.lead.silenced}
	if announced {
		r.sm.Follow()
	}
	r.proposals.lost(now)
	r.failReads()
}

func (r *replica) notLeader() *NotLeaderError {
	st := r.rn.BasicStatus()
	lead := st.Lead
	switch {
	case st.LeadTransferee != 0:
		lead = st.LeadTransferee
	case lead == r.id && r.lead.term == 0:
		lead = 0 // it is silent, or no voter any more
	}
	return &NotLeaderError{Group: r.group, Leader: NodeID(lead), Term: st.Term}
}

// append hands everything that waits to raft in one message. A leader whose
// disk is behind takes nothing more; its heartbeats go on.
func (r *replica) append() {
	if len(r.queue) == 0 || r.lead.term != 0 && len(r.disk.open) >= maxOpenWrites {
		return
	}
	queue := r.queue
	r.queue = nil
	if r.lead.term == 0 {
		err := r.notLeader()
		for _, p := range queue {
			p.Done(nil, err)
		}
		return
	}
	entries := make([]raftpb.Entry, 0, len(queue))
	kept := queue[:0]
	for _, p := range queue {
		if p.Term != 0 && p.Term != r.lead.term {
			p.Done(nil, r.notLeader())
			continue
		}
		entries = append(entries, raftpb.Entry{Data: p.Data})
		kept = append(kept, p)
	}
	if len(entries) == 0 {
		return
	}
	if err := r.rn.Step(raftpb.Message{Type: raftpb.MsgProp, From: r.id, Entries: entries}); err != nil {
		refused := r.refusal()
		for _, p := range kept {
			p.Done(nil, refused)
		}
		return
	}
	for i, p := range kept {
		// raft sets Index and Term in the entries it was given.
		r.proposals.appended(entries[i].Index, entries[i].Term, p.Done)
	}
}

// refusal says why raft took no proposals.
func (r *replica) refusal() error {
	if r.rn.BasicStatus().LeadTransferee != 0 {
		return r.notLeader()
	}
	return ErrOverloaded
}

// takeReady takes what raft has ready, and applies what is durable.
func (r *replica) takeReady(now time.Duration) {
	for r.held == nil && r.backlog() < maxAppliedPerTurn && r.rn.HasReady() {
		rd := r.rn.Ready()
		if !raft.IsEmptyHardState(rd.HardState) {
			r.hard = rd.HardState
		}
		if !raft.IsEmptySnap(rd.Snapshot) {
			r.beginInstall(now, rd)
			return
		}
		r.persist(now, rd)
		for _, m := range rd.Messages {
			r.sendOrHold(m)
		}
		for _, s := range rd.ReadStates {
			r.confirm(s)
		}
		r.committed = append(r.committed, rd.CommittedEntries...)
		if hasConfChange(rd.CommittedEntries) {
			r.held = &rd
		} else {
			r.rn.Advance(rd)
		}
	}
	r.apply(now)
}

// backlog is how many entries could be applied at once.
func (r *replica) backlog() int {
	if len(r.committed) == 0 || r.committed[0].Index > r.disk.durable {
		return 0
	}
	return len(r.committed)
}

// persist asks for what a Ready changes. A commit index alone is worth no
// write: it travels with the next one, and is learnt again after a crash.
func (r *replica) persist(now time.Duration, rd raft.Ready) {
	r.log.append(rd.Entries)
	if !rd.MustSync {
		return
	}
	vote := !raft.IsEmptyHardState(rd.HardState) && r.voteChanges(rd)
	r.write(now, storage.GroupWrite{HardState: r.hard, Entries: rd.Entries}, vote, nil)
}

// voteChanges tells whether a Ready that must be synced changes Term or Vote;
// MustSync without entries means just that.
func (r *replica) voteChanges(rd raft.Ready) bool {
	return rd.HardState.Term != r.written.Term || rd.HardState.Vote != r.written.Vote
}

func (r *replica) write(now time.Duration, part storage.GroupWrite, vote bool, then func()) {
	part.Group = uint64(r.group)
	r.written = part.HardState
	r.out.writes = append(r.out.writes, r.disk.submit(now, part, vote, then))
	r.log.trim(r.disk.durable)
}

// advance resumes the pipeline behind a held Ready.
func (r *replica) advance() {
	rd := r.held
	r.held = nil
	r.rn.Advance(*rd)
}

// sendOrHold sends a message now if it may leave beside unfinished writes:
// only a leader's appends and heartbeats may (raft thesis §10.2.1), and not
// beside a change of Term or Vote (R2). A leader whose disk hangs could not
// hand over otherwise (R21), so its MsgTimeoutNow, which claims nothing of the
// log, leaves too.
func (r *replica) sendOrHold(m raftpb.Message) {
	early := m.Type == raftpb.MsgApp || m.Type == raftpb.MsgHeartbeat || m.Type == raftpb.MsgTimeoutNow && r.isSilent()
	if early && !r.disk.voteOpen() || !r.disk.hold(m) {
		r.send(m)
	}
}

// send lets a message leave, with a Commit no higher than what is durable
// here: the library counts a leader's own entries before they are (R2).
func (r *replica) send(m raftpb.Message) {
	if r.isSilent() && m.To != r.rn.BasicStatus().LeadTransferee {
		return // raft steps down when it hears from nobody for an election timeout
	}
	m.Commit = min(m.Commit, r.disk.durable)
	if !r.news.keep(r.lastTurn, r.opts.tick/10, m) {
		r.out.messages = append(r.out.messages, m)
	}
}

func hasConfChange(ents []raftpb.Entry) bool {
	for i := range ents {
		if ents[i].Type != raftpb.EntryNormal {
			return true
		}
	}
	return false
}

// apply applies what is committed and durable here. In a group of one voter
// raft commits entries before they are written, and a leader's own entries
// may be committed by others first; both wait (etcd issue 14370).
func (r *replica) apply(now time.Duration) {
	n := 0
	for n < len(r.committed) && n < maxAppliedPerTurn && r.committed[n].Index <= r.disk.durable {
		r.applyEntry(now, &r.committed[n])
		n++
	}
	r.committed = r.committed[n:]
	if len(r.committed) == 0 {
		r.committed = nil
		if r.held != nil && !r.installing {
			r.advance()
		}
	}
}

func (r *replica) applyEntry(now time.Duration, e *raftpb.Entry) {
	if e.Index != r.applied+1 {
		panic(fmt.Sprintf("group %d: apply %d after %d", r.group, e.Index, r.applied))
	}
	var result any
	switch {
	case e.Type != raftpb.EntryNormal:
		result = r.applyConfChange(e)
	case len(e.Data) > 0:
		result = r.sm.Apply(now, Entry{Index: e.Index, Term: e.Term, Data: e.Data})
	}
	r.applied, r.appliedTerm = e.Index, e.Term
	r.snapshots.bytes += uint64(e.Size())
	r.announce(now)
	var notDone error
	if len(r.proposals.orphans) > 0 {
		notDone = r.notLeader()
	}
	r.proposals.applied(e.Index, e.Term, result, notDone)
}

// applyConfChange passes every membership change to raft, refused ones
// (which raft made empty) too (R21).
func (r *replica) applyConfChange(e *raftpb.Entry) any {
	var cc raftpb.ConfChangeV2
	if e.Type == raftpb.EntryConfChange {
		var v1 raftpb.ConfChange
		if err := v1.Unmarshal(e.Data); err != nil {
			panic(fmt.Sprintf("group %d: membership change at %d: %v", r.group, e.Index, err))
		}
		cc = v1.AsV2()
	} else if err := cc.Unmarshal(e.Data); err != nil {
		panic(fmt.Sprintf("group %d: membership change at %d: %v", r.group, e.Index, err))
	}
	r.conf = *r.rn.ApplyConfChange(cc)
	return r.conf
}

// stepAside hands leadership on when the disk hangs: the library has no
// step-down, so the most advanced voter is asked to take over and this leader
// falls silent for the rest of its term (R21; etcd issues 13527, 15247).
func (r *replica) stepAside(now time.Duration) {
	if r.lead.term == 0 || r.disk.hangs(now) <= r.opts.election() {
		return
	}
	var best, match uint64
	r.rn.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		if id != r.id && typ == raft.ProgressTypePeer && pr.RecentActive && pr.Match >= match {
			best, match = id, pr.Match
		}
	})
	if best == 0 {
		return // nobody could do better
	}
	r.rn.TransferLeader(best)
	r.lead.silenced = r.lead.term
}

// isSilent tells whether raft leads a term that this replica has given up.
func (r *replica) isSilent() bool {
	if r.lead.silenced == 0 {
		return false
	}
	st := r.rn.BasicStatus()
	return st.RaftState == raft.StateLeader && st.Term == r.lead.silenced
}

// stop fails everything that waits.
func (r *replica) stop(now time.Duration) {
	if r.lead.term != 0 {
		r.stepDown(now)
	}
	for _, p := range r.queue {
		p.Done(nil, ErrStopped)
	}
	r.queue = nil
	r.failReads()
	r.proposals.stop()
}
