package sharding

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"lockd/consensus"
	"lockd/sharding/shardpb"
)

// secretBytes is the length of the key of lease proofs.
const secretBytes = 32

// system is the state machine of the system group, group 0: the cluster's id
// and secret, its members and the ring. Its first leader makes them, from then
// on the log is the only source, and what a node's flags say does not count.
//
// Like any machine it belongs to its group's goroutine; what it knows is
// published to the atlas whenever it changes.
type system struct {
	founding *shardpb.Bootstrap // what this node would make; without random parts
	atlas    *atlas

	state    *shardpb.SystemState
	term     uint64 // that this replica leads, or 0
	proposed bool   // its Bootstrap waits to be applied
	again    time.Duration
}

func newSystem(founding *shardpb.Bootstrap, a *atlas) *system {
	return &system{founding: founding, atlas: a, state: &shardpb.SystemState{}}
}

// Apply implements consensus.StateMachine.
func (s *system) Apply(_ time.Duration, e consensus.Entry) any {
	cmd, err := decodeSystem(e.Data)
	if err != nil {
		panic(fmt.Sprintf("system group: entry %d: %v", e.Index, err))
	}
	switch op := cmd.Op.(type) {
	case *shardpb.SystemCommand_Bootstrap:
		s.bootstrap(op.Bootstrap)
	case *shardpb.SystemCommand_RegisterNode:
		s.register(op.RegisterNode.GetNode())
	}
	return systemApplied{}
}

// decodeSystem reads an entry of the system group. An error means that the log
// is corrupt, or written by a newer version.
func decodeSystem(data []byte) (*shardpb.SystemCommand, error) {
	cmd := &shardpb.SystemCommand{}
	if err := proto.Unmarshal(data, cmd); err != nil {
		return nil, err
	}
	if cmd.Op == nil {
		return nil, errors.New("no operation that this version knows")
	}
	return cmd, nil
}

// systemApplied is what applying an entry of the system group answers.
type systemApplied struct{}

// bootstrap makes the cluster, once: two leaders may have proposed it.
func (s *system) bootstrap(b *shardpb.Bootstrap) {
	if s.state.Cluster != "" {
		return
	}
	s.state = &shardpb.SystemState{Cluster: b.Cluster, Secret: b.Secret, Epoch: 1, Groups: b.Groups, Nodes: b.Nodes}
	slices.SortFunc(s.state.Nodes, func(a, b *shardpb.Node) int { return int(a.Id) - int(b.Id) })
	slices.SortFunc(s.state.Groups, func(a, b *shardpb.GroupWeight) int { return int(a.Group) - int(b.Group) })
	s.publish()
}

// register takes a member's new addresses. It makes nobody a member.
func (s *system) register(n *shardpb.Node) {
	for i, known := range s.state.Nodes {
		if known.Id == n.GetId() && known.Name == n.Name {
			s.state.Nodes[i] = n
			s.publish()
		}
	}
}

func (s *system) publish() {
	if s.state.Cluster == "" {
		return
	}
	state := proto.Clone(s.state).(*shardpb.SystemState)
	t := &Topology{Cluster: state.Cluster, Secret: state.Secret, Epoch: state.Epoch, Nodes: state.Nodes}
	var weights []Weight
	for _, g := range state.Groups {
		weights = append(weights, Weight{Group: consensus.GroupID(g.Group), Weight: g.Weight})
	}
	t.Ring = NewRing(weights)
	s.atlas.publish(t)
}

// Query implements consensus.StateMachine. Everybody reads the atlas instead.
func (s *system) Query(_, _ time.Duration, q any) any {
	return fmt.Errorf("the system group has no query %T", q)
}

// Lead implements consensus.StateMachine.
func (s *system) Lead(_ time.Duration, term uint64) { s.term = term }

// Follow implements consensus.StateMachine.
func (s *system) Follow() { s.term, s.proposed = 0, false }

// Turn implements consensus.StateMachine: the first leader makes the cluster.
func (s *system) Turn(now, _ time.Duration) (proposals []consensus.Proposal, wake time.Duration) {
	if s.term == 0 || s.proposed || s.state.Cluster != "" {
		return nil, 0
	}
	if now < s.again {
		return nil, s.again
	}
	b := proto.Clone(s.founding).(*shardpb.Bootstrap)
	b.Cluster = rand.Text()
	b.Secret = make([]byte, secretBytes)
	rand.Read(b.Secret) // never fails
	s.proposed, s.again = true, now+refusedPause
	return []consensus.Proposal{{
		Data: mustMarshal(&shardpb.SystemCommand{Op: &shardpb.SystemCommand_Bootstrap{Bootstrap: b}}),
		Term: s.term,
		Done: func(any, error) { s.proposed = false },
	}}, 0
}

// Snapshot implements consensus.StateMachine. The state is small: a copy is
// as good as copy-on-write.
func (s *system) Snapshot() consensus.Snapshot {
	return systemSnapshot(mustMarshal(s.state))
}

type systemSnapshot []byte

// Encode implements consensus.Snapshot.
func (s systemSnapshot) Encode(w io.Writer) error {
	_, err := w.Write(s)
	return err
}

// Restore implements consensus.StateMachine.
func (s *system) Restore(r io.Reader) (install func(), err error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("system group: snapshot: %w", err)
	}
	state := &shardpb.SystemState{}
	if err := proto.Unmarshal(raw, state); err != nil {
		return nil, fmt.Errorf("system group: snapshot: %w", err)
	}
	return func() {
		s.state = state
		s.publish()
	}, nil
}

// mustMarshal marshals what this process made itself, which cannot fail: its
// texts were checked to be UTF-8 where they came in. Equal messages give equal
// bytes.
func mustMarshal(m proto.Message) []byte {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("marshal %T: %v", m, err))
	}
	return raw
}
