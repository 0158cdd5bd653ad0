package sharding

import (
	"lockd/consensus"
	"lockd/lease/leasepb"
)

// served is a command of another node's client on its way through a group of
// this node. But for cancel, its methods run on the group's goroutine, or,
// with an error, on the caller's.
type served struct {
	group   group
	shard   *shard
	command []byte
	reply   func([]byte)
	waiter  *waiter
	gone    bool // nobody takes the answer any more
}

// abandonment is a query that changes nothing in the state: it carries to the
// group's goroutine that nobody takes an answer any more.
type abandonment struct {
	of interface{ abandon() }
}

func abandon(g group, of interface{ abandon() }) {
	g.QueryStale(abandonment{of}, func(any, error) {}) // of a stopped group there is nothing to abandon
}

// cancel tells that nobody takes the answer any more: the caller gave up, or
// its link broke.
func (s *served) cancel() { abandon(s.group, s) }

func (s *served) abandon() {
	s.gone = true
	if s.waiter != nil {
		s.waiter.abandon()
	}
}

// done is the Done of the command's proposal.
func (s *served) done(applied any, err error) {
	if err != nil {
		s.reply(encodeAnswer(s.shard.id, nil, err))
		return
	}
	switch applied := applied.(type) {
	case *waiter:
		s.waiter = applied
		applied.then(s.answer)
		if s.gone {
			applied.abandon()
		}
	case *leasepb.Result:
		if s.gone && s.shard.lead != nil {
			s.shard.lead.undelivered(s.command, applied)
		}
		s.answer(applied, queuedElsewhere(applied))
	}
}

// queuedElsewhere is the error for a request that was queued by an entry which
// its proposer applied as a follower: no waiter stands here for it.
func queuedElsewhere(r *leasepb.Result) error {
	if r.Code == leasepb.Code_QUEUED {
		return errPlaceLeft
	}
	return nil
}

func (s *served) answer(r *leasepb.Result, err error) {
	s.reply(encodeAnswer(s.shard.id, r, err))
}

// serve answers a request of another node's client.
func serve(groups func(consensus.GroupID) (group, *shard), payload []byte, reply func([]byte)) (cancel func()) {
	req, command, query, err := decodeRequest(payload)
	if err != nil {
		reply(encodeAnswer(0, nil, err))
		return nil
	}
	id := consensus.GroupID(req.Group)
	g, sh := groups(id)
	switch {
	case g == nil:
		reply(encodeAnswer(id, nil, consensus.ErrNoGroup))
		return nil
	case command == nil:
		g.Query(query, func(answer any, err error) { reply(encodeAnswer(id, answer, err)) })
		return nil
	case sh == nil: // the system group's
		g.Propose(consensus.Proposal{Data: command, Term: req.Term, Done: func(answer any, err error) {
			reply(encodeAnswer(id, answer, err))
		}})
		return nil
	}
	s := &served{group: g, shard: sh, command: command, reply: reply}
	g.Propose(consensus.Proposal{Data: command, Term: req.Term, Done: s.done})
	return s.cancel
}
