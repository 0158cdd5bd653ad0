package lease

import "lockd/lease/leasepb"

// Event is a change of a lock as clients see it.
type Event struct {
	// Index is a number of the group's counter (R16). The token of a grant is
	// the index of its EVENT_ACQUIRED.
	Index           uint64
	Type            leasepb.EventType
	Namespace, Lock string
	Lease           ID
	Owner           string
	Mode            leasepb.Mode
	Token           uint64 // 0 of a place in a queue
	Reason          string
	AtUnixMs        int64
}

// Reasons of events.
const (
	reasonWaitOver   = "wait_over"
	reasonClientGone = "client_gone"
	reasonNodeGone   = "node_gone"
	reasonReleased   = "released"
	reasonRevoked    = "revoked"
	reasonExpired    = "expired"
)

// Message returns the event in its wire form.
func (e *Event) Message() *leasepb.Event {
	return &leasepb.Event{
		Index:     e.Index,
		Type:      e.Type,
		Namespace: e.Namespace,
		Lock:      e.Lock,
		Lease:     e.Lease[:],
		Owner:     e.Owner,
		Mode:      e.Mode,
		Token:     e.Token,
		Reason:    e.Reason,
		AtUnixMs:  e.AtUnixMs,
	}
}

// tell records that something happened to a place, under the next number.
func (s *State) tell(kind leasepb.EventType, p *place, reason string) {
	s.turn.events = append(s.turn.events, Event{
		Index:     s.next(),
		Type:      kind,
		Namespace: p.lock.namespace,
		Lock:      p.lock.lock,
		Lease:     p.lease,
		Owner:     p.owner,
		Mode:      p.mode,
		Token:     p.token,
		Reason:    reason,
		AtUnixMs:  s.turn.at,
	})
}
