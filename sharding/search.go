package sharding

import (
	"context"
	"errors"
	"time"

	"lockd/consensus"
	"lockd/httpapi"
)

const (
	// leaderless is how long a request looks for a leader before it gives up.
	leaderless = 1500 * time.Millisecond
	// retryPause comes before the same replica is asked again.
	retryPause = 20 * time.Millisecond
)

// group is what the router needs of a group that this node has a replica of.
// It is a *consensus.Group.
type group interface {
	Propose(consensus.Proposal)
	Query(query any, done func(any, error))
	QueryStale(query any, done func(any, error))
	Status() consensus.Status
	Changed() <-chan struct{}
	SinceHeard() time.Duration
}

// target is the replica to ask, and the term in which it is believed to lead.
type target struct {
	node  consensus.NodeID
	term  uint64
	local bool
}

// search finds the leader of a group for one request, again and again while
// the request fails. It is made by Router.search.
type search struct {
	self  consensus.NodeID
	id    consensus.GroupID
	group group
	// patience, if later than leaderless allows, is until when to look; latest
	// is when to give up in any case.
	patience, latest time.Time

	since   time.Time // when the present search began; zero while all goes well
	refused target    // that failed last
	hint    target    // of a newer leader, given by a refusal
	stopped bool      // this node's replica is
}

// next returns the leader as this node knows it, and waits where none is known
// or where the known one has just refused.
func (s *search) next(ctx context.Context, stopping <-chan struct{}) (target, error) {
	if t := s.known(); t.node != 0 && t != s.refused {
		return t, nil
	}
	if s.stopped {
		return target{}, errStopping
	}
	pause := time.NewTimer(retryPause)
	defer pause.Stop()
	for {
		changed := s.group.Changed()
		if t := s.known(); t.node != 0 && t != s.refused {
			return t, nil
		}
		if !time.Now().Before(s.limit()) {
			return target{}, &httpapi.UnavailableError{RetryAfter: time.Second, Reason: "no leader answers"}
		}
		select {
		case <-changed:
		case <-pause.C:
			s.refused = target{} // it may do now
			pause.Reset(retryPause)
		case <-ctx.Done():
			return target{}, ctx.Err()
		case <-stopping:
			return target{}, errStopping
		}
	}
}

// known is the leader as this node knows it, if it knows one.
func (s *search) known() target {
	st := s.group.Status()
	t := target{node: st.Leader, term: st.Term}
	switch {
	case st.Leading:
		t.node, t.local = s.self, true
	case st.Leader == s.self:
		t.node = 0 // it will lead, or hands over
	}
	if s.hint.term > t.term {
		t = s.hint
	}
	return t
}

// limit is when to give up.
func (s *search) limit() time.Time {
	if s.since.IsZero() {
		s.since = time.Now()
	}
	limit := s.since.Add(leaderless)
	if s.patience.After(limit) {
		limit = s.patience
	}
	if s.latest.Before(limit) {
		limit = s.latest
	}
	return limit
}

// failed notes that a target did not do it.
func (s *search) failed(t target, err error) {
	if s.since.IsZero() {
		s.since = time.Now()
	}
	s.refused = t
	s.stopped = t.local && errors.Is(err, consensus.ErrStopped)
	var notLeader *consensus.NotLeaderError
	if errors.As(err, &notLeader) && notLeader.Leader != 0 && notLeader.Leader != s.self {
		if h := (target{node: notLeader.Leader, term: notLeader.Term}); h.term > s.hint.term && h != t {
			s.hint = h
		}
	}
}

// answered notes that a leader was found: what comes next has its own time.
func (s *search) answered() {
	s.since, s.refused = time.Time{}, target{}
}

// errStopping comes when this node is about to stop.
var errStopping = &httpapi.UnavailableError{RetryAfter: time.Second, Reason: "this node is stopping"}
