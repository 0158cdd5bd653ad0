package sharding

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"lockd/consensus"
	"lockd/lease"
	"lockd/lease/leasepb"
	"lockd/sharding/shardpb"
)

// refusedPause is how long a machine waits before it proposes again what was
// refused: its group has no room, or is about to change its leader.
const refusedPause = 50 * time.Millisecond

// shard is the state machine of a data group on this node: the replicated
// state of its leases and locks, the feed of what happened to them, and, while
// this replica leads, what only a leader has.
//
// It belongs to its group's goroutine. Others read feed and counts.
type shard struct {
	id       consensus.GroupID
	ranges   []*leasepb.Range // what the group owns when it begins
	election time.Duration
	links    *links
	// wall is the time of day that the leader's own commands carry, for people
	// only: a grant that an expiry makes is shown with it.
	wall func() time.Time

	state  *lease.State
	feed   *feed
	lead   *leader // nil unless this replica leads
	counts counts
}

// counts are what metrics tell of a shard.
type counts struct {
	stats       atomic.Pointer[lease.Stats] // at the end of the last turn that changed something
	token       atomic.Uint64
	grants      atomic.Uint64 // while this replica led
	expirations atomic.Uint64
	dirty       bool // entries were applied since
}

func newShard(id consensus.GroupID, ranges []*leasepb.Range, election time.Duration, l *links, wall func() time.Time) *shard {
	s := &shard{id: id, ranges: ranges, election: election, links: l, wall: wall, state: lease.New(), feed: newFeed()}
	s.counts.stats.Store(&lease.Stats{})
	return s
}

// Apply implements consensus.StateMachine. Its result is a *leasepb.Result, or
// a *waiter where the leader has queued the request.
func (s *shard) Apply(now time.Duration, e consensus.Entry) any {
	cmd, err := lease.DecodeCommand(e.Data)
	if err != nil {
		panic(fmt.Sprintf("entry %d: %v", e.Index, err))
	}
	outcome := s.state.Apply(e.Index, e.Term, cmd)
	for i := range outcome.Events {
		s.feed.append(now, &outcome.Events[i])
	}
	s.counts.dirty = true
	if s.lead == nil {
		return outcome.Result
	}
	s.count(outcome.Events)
	return s.lead.applied(now, cmd, &outcome)
}

func (s *shard) count(events []lease.Event) {
	for i := range events {
		switch events[i].Type {
		case leasepb.EventType_EVENT_ACQUIRED:
			s.counts.grants.Add(1)
		case leasepb.EventType_EVENT_EXPIRED:
			s.counts.expirations.Add(1)
		}
	}
}

// Lead implements consensus.StateMachine.
func (s *shard) Lead(now time.Duration, term uint64) { s.lead = newLeader(s, now, term) }

// Follow implements consensus.StateMachine.
func (s *shard) Follow() {
	s.lead.fail()
	s.lead = nil
}

// Turn implements consensus.StateMachine.
func (s *shard) Turn(now, gap time.Duration) (proposals []consensus.Proposal, wake time.Duration) {
	if s.counts.dirty {
		s.counts.dirty = false
		stats := s.state.Stats()
		s.counts.stats.Store(&stats)
		s.counts.token.Store(s.state.Counter())
	}
	if s.lead == nil {
		return nil, 0
	}
	return s.lead.turn(now, gap)
}

// Query implements consensus.StateMachine. Its answer is an error, or what
// belongs to the query.
func (s *shard) Query(now, received time.Duration, query any) any {
	switch q := query.(type) {
	case *keepalive:
		s.lead.renew(now, received, q)
		return q
	case *shardpb.LockQuery:
		return s.lock(now, q.Namespace, q.Lock)
	case staleLock:
		if !s.owns(q.namespace) {
			return lease.ErrWrongGroup
		}
		return s.state.Lock(q.namespace, q.lock)
	case *shardpb.LeaseQuery:
		return s.lease(now, q.Lease)
	case *shardpb.LocksQuery:
		return s.locks(now, q)
	case *shardpb.LeasesQuery:
		return s.leases(now, q)
	case *shardpb.NamespacesQuery:
		names, next := s.state.Namespaces(q.After, int(q.Limit))
		return &shardpb.Page{Namespaces: names, More: next != ""}
	case abandonment:
		q.of.abandon()
		return nil
	}
	return fmt.Errorf("group %d has no query %T", s.id, query)
}

// Snapshot implements consensus.StateMachine.
func (s *shard) Snapshot() consensus.Snapshot { return s.state.Snapshot() }

// Restore implements consensus.StateMachine.
func (s *shard) Restore(r io.Reader) (install func(), err error) {
	state, err := lease.Decode(r)
	if err != nil {
		return nil, err
	}
	return func() {
		s.state = state
		s.counts.dirty = true
		s.feed.reset(state.Counter())
	}, nil
}
