package lease

import (
	"fmt"

	"github.com/tidwall/btree"

	"lockd/lease/leasepb"
)

// State is the replicated state of a group. The package comment lists the
// rules that it keeps.
type State struct {
	content
	// held and waiters are totals for Stats, kept along.
	held    int
	waiters int
	// generation grows with every snapshot. A record of an older one may be in
	// a snapshot, and is copied before it is changed.
	generation uint64
	turn       turn
	probe      probe
}

// content is what a snapshot holds. Copies of it are cheap.
type content struct {
	ranges ranges
	// counter is the last number given to an event, a token or a key (R16).
	// It never goes back.
	counter uint64
	// arrivals is the last number given to a request that had to wait.
	arrivals uint64

	namespaces *btree.BTreeG[*namespace]
	leases     *btree.BTreeG[*lease]
	locks      *btree.BTreeG[*lock]
	places     *btree.BTreeG[*place]
	requests   *btree.BTreeG[*request]
	closings   *btree.BTreeG[*closing]
	keys       *btree.BTreeG[*key]
}

// turn is what one Apply gathers. Its slices are used again by the next.
type turn struct {
	index     uint64 // of the entry; only to say where something is broken
	at        int64
	events    []Event
	timers    []TimerChange
	answers   []Answer
	unsettled []*lock
	wants     []want   // of the acquire
	granted   []*place // what the command got, in the order asked for
	freed     []*place // what the command ended
}

// probe holds the keys of look-ups, so that these need no memory of their own.
type probe struct {
	namespace namespace
	lease     lease
	lock      lock
	place     place
	request   request
	key       key
}

// New returns the state of a group to which nothing was applied yet. It owns
// nothing, and refuses everything but Own.
func New() *State {
	return &State{generation: 1, content: content{
		namespaces: tree(func(a, b *namespace) bool { return a.name < b.name }),
		leases:     tree(lessLease),
		locks:      tree(lessLock),
		places:     tree(lessPlace),
		requests:   tree(lessRequest),
		closings:   tree(lessClosing),
		keys:       tree(lessKey),
	}}
}

func tree[T any](less func(a, b T) bool) *btree.BTreeG[T] {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

// Outcome is what an entry did. Its slices are valid until the next Apply.
type Outcome struct {
	Result *leasepb.Result
	// Events are in order of their indexes.
	Events []Event
	// Timers are to be carried out in order by a leader.
	Timers []TimerChange
	// Answers are for attempts that waited before this entry.
	Answers []Answer
}

// Apply applies an entry. index and term are the entry's; index decides
// nothing, since clients see numbers of the group's own counter (R16).
func (s *State) Apply(index, term uint64, cmd *leasepb.Command) Outcome {
	s.begin(index, cmd)
	result := s.decide(term, cmd)
	s.settle()
	return Outcome{
		Result:  result,
		Events:  s.turn.events,
		Timers:  s.turn.timers,
		Answers: s.turn.answers,
	}
}

func (s *State) begin(index uint64, cmd *leasepb.Command) {
	t := &s.turn
	t.index, t.at = index, cmd.GetAtUnixMs()
	clear(t.answers)
	clear(t.granted)
	clear(t.freed)
	t.events, t.timers, t.answers = t.events[:0], t.timers[:0], t.answers[:0]
	t.granted, t.freed = t.granted[:0], t.freed[:0]
}

// decide checks what holds for every command, and dispatches.
func (s *State) decide(term uint64, cmd *leasepb.Command) *leasepb.Result {
	if problem := validate(cmd); problem != "" {
		return refuse(leasepb.Code_INVALID, problem)
	}
	if cmd.Term != term && (cmd.Term != 0 || leaderOnly(cmd)) {
		// R-time: its proposer no longer led when it was appended.
		return refuse(leasepb.Code_DROPPED, "proposed by the leader of another term")
	}
	if refusal := s.refuseElsewhere(cmd); refusal != nil {
		return refusal
	}
	if cmd.Key != nil {
		return s.applyKeyed(cmd)
	}
	return s.dispatch(cmd)
}

func (s *State) dispatch(cmd *leasepb.Command) *leasepb.Result {
	switch op := cmd.Op.(type) {
	case *leasepb.Command_Own:
		return s.applyOwn(op.Own)
	case *leasepb.Command_CreateLease:
		return s.applyCreateLease(op.CreateLease)
	case *leasepb.Command_Acquire:
		return s.applyAcquire(op.Acquire, idOf(op.Acquire.Lease), nil)
	case *leasepb.Command_Release:
		return s.applyRelease(op.Release)
	case *leasepb.Command_Cancel:
		return s.applyCancel(op.Cancel)
	case *leasepb.Command_EndLease:
		return s.applyEndLease(op.EndLease)
	case *leasepb.Command_ForceRelease:
		return s.applyForceRelease(op.ForceRelease)
	case *leasepb.Command_Expire:
		return s.applyExpire(op.Expire)
	case *leasepb.Command_Open:
		return s.applyOpen(op.Open)
	case *leasepb.Command_Forget:
		return s.applyForget(op.Forget)
	}
	s.broken("no operation %T", cmd.Op)
	return nil
}

// next takes the next number of the group's counter.
func (s *State) next() uint64 {
	s.counter++
	return s.counter
}

// broken stops the replica: its state contradicts itself.
func (s *State) broken(format string, args ...any) {
	panic(fmt.Sprintf("lease: broken state at entry %d: ", s.turn.index) + fmt.Sprintf(format, args...))
}

// Counter is the last number given to an event or token. It never goes back.
func (s *State) Counter() uint64 { return s.counter }

// Stats are totals of a group.
type Stats struct {
	Namespaces int // with a lock or a lease
	Leases     int
	Locks      int // held, waited for or closed
	Held       int // locks with a holder
	Holds      int // leases that hold a lock, summed over the locks
	Waiters    int // places in queues
	Closed     int // lock-delays that run
	Keys       int // remembered or pending
}

// Stats returns the totals, in O(1).
func (s *State) Stats() Stats {
	return Stats{
		Namespaces: s.namespaces.Len(),
		Leases:     s.leases.Len(),
		Locks:      s.locks.Len(),
		Held:       s.held,
		Holds:      s.places.Len() - s.waiters,
		Waiters:    s.waiters,
		Closed:     s.closings.Len(),
		Keys:       s.keys.Len(),
	}
}
