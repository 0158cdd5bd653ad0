package sharding

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"lockd/consensus"
	"lockd/lease"
	"lockd/lease/leasepb"
	"lockd/sharding/shardpb"
)

func TestRefusalsTravel(t *testing.T) {
	for _, r := range refusals {
		_, err := decodeAnswer(3, encodeAnswer(3, nil, r.err))
		if encodeRefusal(err).Why != r.why {
			t.Errorf("%v arrived as %v", r.err, err)
		}
	}
	_, err := decodeAnswer(3, encodeAnswer(3, nil, &consensus.NotLeaderError{Group: 3, Leader: 2, Term: 9}))
	var notLeader *consensus.NotLeaderError
	if !errors.As(err, &notLeader) || *notLeader != (consensus.NotLeaderError{Group: 3, Leader: 2, Term: 9}) {
		t.Errorf("not leader arrived as %v", err)
	}
	if _, err := decodeAnswer(3, encodeAnswer(3, nil, errors.New("something new"))); !maybeDone(err) {
		t.Errorf("an unknown error arrived as %v, which says that nothing was done", err)
	}
}

func TestAnswersTravel(t *testing.T) {
	for _, answer := range []proto.Message{
		&leasepb.Result{Code: leasepb.Code_LOCK_HELD, Blocked: []*leasepb.LockView{{Namespace: "jobs", Lock: "l"}}},
		&leasepb.LockView{Namespace: "jobs", Lock: "l", LastToken: 7},
		&leasepb.LeaseView{Namespace: "jobs", TtlMs: 5},
		&shardpb.Page{Namespaces: []string{"a"}, More: true},
	} {
		got, err := decodeAnswer(1, encodeAnswer(1, answer, nil))
		if m, ok := got.(proto.Message); err != nil || !ok || !proto.Equal(m, answer) {
			t.Errorf("%v arrived as %v, %v", answer, got, err)
		}
	}
}

func TestKeepalivesTravel(t *testing.T) {
	q := question{query: &keepalive{ids: []lease.ID{leaseID(1), leaseID(2)}}}
	raw, err := q.encode(4, 0)
	if err != nil {
		t.Fatal(err)
	}
	req, _, query, err := decodeRequest(raw)
	k, ok := query.(*keepalive)
	if err != nil || !ok || req.Group != 4 || len(k.ids) != 2 || k.ids[1] != leaseID(2) {
		t.Fatalf("arrived as %v %v, %v", req, query, err)
	}
	k.outcomes = []renewal{{ttl: time.Second, expiresIn: time.Second / 2}, {outcome: shardpb.Renewed_RENEWED_NOT_FOUND}}
	answer, err := decodeAnswer(4, encodeAnswer(4, k, nil))
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := renewedOf(answer, 2)
	if err != nil || outcomes[0] != k.outcomes[0] || outcomes[1] != k.outcomes[1] {
		t.Errorf("answered %v, %v", outcomes, err)
	}
	if _, err := renewedOf(answer, 3); err == nil {
		t.Error("a short answer was taken")
	}
}

// F16: what a newer node's router may send is refused before it is proposed.
// Once in the log it would stop every replica of the group, at each start.
func TestUnreadableCommandIsNotProposed(t *testing.T) {
	unknown := []byte{0xfa, 0x3f, 0} // a field of number 1023 alone
	for _, id := range []consensus.GroupID{systemGroup, 1} {
		r := newRig(t)
		raw := mustMarshal(&shardpb.Request{Group: uint64(id), Term: 1, Ask: &shardpb.Request_Command{Command: unknown}})
		var err error
		serve(func(consensus.GroupID) (group, *shard) { return r, r.s }, raw, func(answer []byte) {
			_, err = decodeAnswer(id, answer)
		})
		if !errors.Is(err, errMalformed) || len(r.log) != 0 {
			t.Errorf("group %d answered %v, %d entries proposed", id, err, len(r.log))
		}
	}
}

// FuzzRequest: no bytes from another node bring this one down.
func FuzzRequest(f *testing.F) {
	for _, q := range []question{
		{command: mustMarshal(oneShot("jobs", "l", time.Minute, time.Second))},
		{command: []byte("garbage")},
		{query: &keepalive{ids: []lease.ID{leaseID(1)}}},
		{query: &shardpb.LockQuery{Namespace: "jobs", Lock: "l"}},
		{query: &shardpb.LeaseQuery{Lease: []byte{1}}},
		{query: &shardpb.LocksQuery{Namespace: "jobs", Prefix: "p", After: "a", Limit: -1}},
		{query: &shardpb.LeasesQuery{After: []byte("x"), Limit: 1 << 40}},
		{query: &shardpb.NamespacesQuery{}},
	} {
		raw, err := q.encode(1, 2)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := newRig(t)
		r.grant(1, "l", time.Minute)
		answers := 0
		cancel := serve(func(id consensus.GroupID) (group, *shard) {
			if id != 1 {
				return nil, nil
			}
			return r, r.s
		}, raw, func(answer []byte) {
			answers++
			if _, err := decodeAnswer(1, answer); err != nil && errors.Is(err, errMalformed) {
				return
			}
		})
		if cancel != nil {
			cancel()
		}
		r.commit()
		r.pass(time.Hour)
		if answers != 1 {
			t.Fatalf("%d answers", answers)
		}
	})
}

// FuzzAnswer: nor does an answer.
func FuzzAnswer(f *testing.F) {
	f.Add(encodeAnswer(1, &leasepb.Result{}, nil))
	f.Add(encodeAnswer(1, nil, consensus.ErrStopped))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if answer, err := decodeAnswer(1, raw); err == nil && answer == nil {
			t.Fatal("neither an answer nor an error")
		}
	})
}
