package sharding

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"lockd/consensus"
	"lockd/consensus/transport"
	"lockd/lease"
	"lockd/lease/leasepb"
	"lockd/sharding/shardpb"
)

var (
	// errPlaceLeft comes to a waiting acquire whose leader lost its place. The
	// request may still stand in the queue, or be granted by the next leader.
	errPlaceLeft = errors.New("queued, but the leader changed")

	// errMalformed comes for a request that its receiver cannot read. Nothing
	// was done, and never will be.
	errMalformed = errors.New("malformed request")
)

// refusals are the errors that travel between nodes as they are.
var refusals = []struct {
	why shardpb.Why
	err error
}{
	{shardpb.Why_WHY_UNKNOWN, consensus.ErrOutcomeUnknown},
	{shardpb.Why_WHY_OVERLOADED, consensus.ErrOverloaded},
	{shardpb.Why_WHY_OVERLOADED, transport.ErrOverloaded},
	{shardpb.Why_WHY_NO_GROUP, consensus.ErrNoGroup},
	{shardpb.Why_WHY_STOPPED, consensus.ErrStopped},
	{shardpb.Why_WHY_PLACE_LEFT, errPlaceLeft},
	{shardpb.Why_WHY_WRONG_GROUP, lease.ErrWrongGroup},
	{shardpb.Why_WHY_LEASE_NOT_FOUND, lease.ErrLeaseNotFound},
	{shardpb.Why_WHY_MALFORMED, errMalformed},
}

// encodeAnswer puts what a replica said on the wire. An error that is none of
// the known ones becomes "unknown", which promises nothing.
func encodeAnswer(group consensus.GroupID, answer any, err error) []byte {
	a := &shardpb.Answer{}
	switch answer := answer.(type) {
	case nil:
	case error:
		err = answer
	case *leasepb.Result:
		a.Is = &shardpb.Answer_Result{Result: answer}
	case *keepalive:
		a.Is = &shardpb.Answer_Renewals{Renewals: answer.message()}
	case *leasepb.LockView:
		a.Is = &shardpb.Answer_Lock{Lock: answer}
	case *leasepb.LeaseView:
		a.Is = &shardpb.Answer_Lease{Lease: answer}
	case *shardpb.Page:
		a.Is = &shardpb.Answer_Page{Page: answer}
	case systemApplied:
		a.Is = &shardpb.Answer_Applied{}
	default:
		panic(fmt.Sprintf("group %d answered %T", group, answer))
	}
	if err != nil {
		a.Is = &shardpb.Answer_Refusal{Refusal: encodeRefusal(err)}
	}
	return mustMarshal(a)
}

func encodeRefusal(err error) *shardpb.Refusal {
	var notLeader *consensus.NotLeaderError
	if errors.As(err, &notLeader) {
		return &shardpb.Refusal{Why: shardpb.Why_WHY_NOT_LEADER, Leader: uint64(notLeader.Leader), Term: notLeader.Term}
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return &shardpb.Refusal{Why: r.why}
		}
	}
	return &shardpb.Refusal{Why: shardpb.Why_WHY_UNKNOWN}
}

// decodeAnswer reads what another node's replica of a group said.
func decodeAnswer(group consensus.GroupID, raw []byte) (any, error) {
	var a shardpb.Answer
	if err := proto.Unmarshal(raw, &a); err != nil {
		return nil, fmt.Errorf("answer of group %d: %w: %w", group, consensus.ErrOutcomeUnknown, err)
	}
	switch is := a.Is.(type) {
	case *shardpb.Answer_Result:
		return is.Result, nil
	case *shardpb.Answer_Renewals:
		return is.Renewals, nil
	case *shardpb.Answer_Lock:
		return is.Lock, nil
	case *shardpb.Answer_Lease:
		return is.Lease, nil
	case *shardpb.Answer_Page:
		return is.Page, nil
	case *shardpb.Answer_Applied:
		return systemApplied{}, nil
	case *shardpb.Answer_Refusal:
		return nil, decodeRefusal(group, is.Refusal)
	}
	return nil, fmt.Errorf("answer of group %d says nothing known: %w", group, consensus.ErrOutcomeUnknown)
}

func decodeRefusal(group consensus.GroupID, r *shardpb.Refusal) error {
	if r.Why == shardpb.Why_WHY_NOT_LEADER {
		return &consensus.NotLeaderError{Group: group, Leader: consensus.NodeID(r.Leader), Term: r.Term}
	}
	for _, known := range refusals {
		if known.why == r.Why {
			return known.err
		}
	}
	return fmt.Errorf("group %d refused for a reason of a newer version: %w", group, consensus.ErrOutcomeUnknown)
}

// decodeRequest reads a request of another node and makes of it what a group
// is asked: a command's bytes, or a query.
func decodeRequest(raw []byte) (req *shardpb.Request, command []byte, query any, err error) {
	req = &shardpb.Request{}
	if err := proto.Unmarshal(raw, req); err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	switch ask := req.Ask.(type) {
	case *shardpb.Request_Command:
		// A newer node may send what this version cannot read. In the log it
		// would stop every replica, again at each start.
		if err := readable(consensus.GroupID(req.Group), ask.Command); err != nil {
			return nil, nil, nil, fmt.Errorf("%w: %w", errMalformed, err)
		}
		return req, ask.Command, nil, nil
	case *shardpb.Request_Renew:
		k, err := decodeKeepalive(ask.Renew)
		return req, nil, k, err
	case *shardpb.Request_Lock:
		return req, nil, ask.Lock, nil
	case *shardpb.Request_Lease:
		return req, nil, ask.Lease, nil
	case *shardpb.Request_Locks:
		ask.Locks.Limit = pageLimit(ask.Locks.Limit)
		return req, nil, ask.Locks, nil
	case *shardpb.Request_Leases:
		ask.Leases.Limit = pageLimit(ask.Leases.Limit)
		return req, nil, ask.Leases, nil
	case *shardpb.Request_Namespaces:
		ask.Namespaces.Limit = pageLimit(ask.Namespaces.Limit)
		return req, nil, ask.Namespaces, nil
	}
	return nil, nil, nil, fmt.Errorf("%w: it asks for nothing known", errMalformed)
}

// readable tells whether a group of this version can apply a command.
func readable(group consensus.GroupID, command []byte) error {
	if group != systemGroup {
		_, err := lease.DecodeCommand(command)
		return err
	}
	_, err := decodeSystem(command)
	return err
}

// maxPage bounds a page, whoever asks for it.
const maxPage = 1000

func pageLimit(asked int64) int64 { return min(max(asked, 1), maxPage) }

// keepalive is the query that renews leases: outcomes answers for each id, in
// the order asked for.
type keepalive struct {
	ids      []lease.ID
	outcomes []renewal
}

// renewal is what became of one lease of a keepalive.
type renewal struct {
	outcome        shardpb.Renewed
	ttl, expiresIn time.Duration
}

func encodeKeepalive(ids []lease.ID) []byte {
	raw := make([]byte, 0, len(ids)*len(lease.ID{}))
	for i := range ids {
		raw = append(raw, ids[i][:]...)
	}
	return raw
}

func decodeKeepalive(raw []byte) (*keepalive, error) {
	const size = len(lease.ID{})
	if len(raw)%size != 0 {
		return nil, fmt.Errorf("%w: lease ids of %d bytes", errMalformed, len(raw))
	}
	k := &keepalive{ids: make([]lease.ID, len(raw)/size)}
	for i := range k.ids {
		copy(k.ids[i][:], raw[i*size:])
	}
	return k, nil
}

// message is the answer in its wire form.
func (k *keepalive) message() *shardpb.Renewals {
	all := make([]shardpb.Renewal, len(k.outcomes))
	m := &shardpb.Renewals{Renewals: make([]*shardpb.Renewal, len(k.outcomes))}
	for i, r := range k.outcomes {
		all[i].Outcome, all[i].TtlMs, all[i].ExpiresInMs = r.outcome, r.ttl.Milliseconds(), r.expiresIn.Milliseconds()
		m.Renewals[i] = &all[i]
	}
	return m
}
