package consensus

import (
	"encoding/binary"
	"slices"
	"time"

	"go.etcd.io/etcd/raft/v3"
)

// A query waits for a moment at which the state may be read.
type query struct {
	query    any
	received time.Duration
	stale    bool
	done     func(any, error)
}

// reads are the queries that wait for their moment.
type reads struct {
	waiting  []query
	round    *round
	contexts contexts
}

// round is one confirmation of leadership that all queries share which were
// waiting when it was first asked for (R5): a heartbeat with a context that
// was never used before, acknowledged by a quorum.
type round struct {
	queries   []query
	term      uint64
	contexts  []string      // one for each time it was asked for
	asked     time.Duration // the last time
	confirmed bool
	index     uint64 // once confirmed: to be applied before the queries run
}

// contexts makes ReadIndex contexts that are unique over nodes, groups and
// restarts (R21): node id, random boot number, group, counter.
type contexts struct {
	node, boot, group, counter uint64
}

func (c *contexts) next() []byte {
	c.counter++
	b := make([]byte, 0, 32)
	for _, v := range [...]uint64{c.node, c.boot, c.group, c.counter} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

// answerReads asks for a confirmation if none is under way, and answers the
// queries of one that is confirmed and applied.
func (r *replica) answerReads(now time.Duration) {
	if r.lead.term == 0 {
		r.failReads()
		return
	}
	if !r.lead.announced {
		return // nothing is confirmed before an entry of the own term is applied (R5)
	}
	r.finishRound(now)
	switch rd := r.reads.round; {
	case rd == nil && len(r.reads.waiting) > 0:
		r.ask(now, &round{term: r.lead.term, queries: r.reads.waiting})
		r.reads.waiting = nil
	case rd != nil && !rd.confirmed && now-rd.asked > 2*r.opts.tick:
		r.ask(now, rd) // raft drops such requests silently, and so may the network
	}
}

// ask begins a confirmation: a heartbeat round that starts after all its
// queries were received.
func (r *replica) ask(now time.Duration, rd *round) {
	ctx := r.reads.contexts.next()
	rd.contexts, rd.asked = append(rd.contexts, string(ctx)), now
	r.reads.round = rd
	r.rn.ReadIndex(ctx)
	r.takeReady(now) // the heartbeats leave in this turn; a lone voter confirms at once
	r.finishRound(now)
}

// confirm takes raft's word that this replica still led when asked: any of the
// times, for all of them came after the queries. The newest alone would not
// do: where answers take longer than the pause between two, there would always
// be a newer one.
func (r *replica) confirm(s raft.ReadState) {
	if rd := r.reads.round; rd != nil && rd.term == r.lead.term && slices.Contains(rd.contexts, string(s.RequestCtx)) {
		rd.index, rd.confirmed = s.Index, true
	}
}

func (r *replica) finishRound(now time.Duration) {
	rd := r.reads.round
	if rd == nil || !rd.confirmed || r.applied < rd.index || !r.isVoter() {
		return
	}
	r.reads.round = nil
	r.heard = now
	for _, q := range rd.queries {
		q.done(r.sm.Query(now, q.received, q.query), nil)
	}
}

func (r *replica) failReads() {
	if r.reads.round == nil && len(r.reads.waiting) == 0 {
		return
	}
	failed := r.reads.waiting
	if r.reads.round != nil {
		failed = append(r.reads.round.queries, failed...)
	}
	r.reads.waiting, r.reads.round = nil, nil
	err := r.notLeader()
	for _, q := range failed {
		q.done(nil, err)
	}
}
