package lease

import "time"

// TimerKind says what a timer ends.
type TimerKind uint8

const (
	TimerLease TimerKind = iota + 1 // a lease's TTL; propose Expire
	TimerWait                       // a waiting attempt; propose Cancel
	TimerDelay                      // a lock-delay; propose Open
	TimerKey                        // a remembered key; propose Forget
)

// KeyRemembered is how long an idempotency key is remembered after its answer.
const KeyRemembered = 2 * time.Minute

// TimerID names a timer. The fields that its kind does not need are zero.
type TimerID struct {
	Kind  TimerKind
	Lease ID // of TimerLease and TimerWait
	// Namespace and Lock are those of TimerDelay, and for TimerWait a lock
	// that the attempt waits for, as Cancel wants it.
	Namespace, Lock string
	// Boot is that of the attempt of TimerWait.
	Boot uint64
	// Number is that of the attempt of TimerWait, else the index that Open or
	// Forget names.
	Number uint64
	Key    [16]byte // of TimerKey
}

// TimerChange starts a timer, anew if it runs already, or stops it.
type TimerChange struct {
	ID    TimerID
	After time.Duration // in full; of a start
	Stop  bool
}

func (s *State) start(c TimerChange) { s.turn.timers = append(s.turn.timers, c) }

func (s *State) stop(c TimerChange) {
	s.turn.timers = append(s.turn.timers, TimerChange{ID: c.ID, Stop: true})
}

// Timers yields every timer that runs, in full, as a new leader starts them (R-time).
func (s *State) Timers(yield func(TimerChange) bool) {
	more := true
	s.leases.Scan(func(l *lease) bool {
		more = !l.running || yield(l.timer())
		return more
	})
	if !more {
		return
	}
	s.requests.Scan(func(r *request) bool {
		more = yield(r.timer())
		return more
	})
	if !more {
		return
	}
	s.closings.Scan(func(c *closing) bool {
		more = yield(c.timer())
		return more
	})
	if !more {
		return
	}
	s.keys.Scan(func(k *key) bool {
		return k.pending || yield(k.timer())
	})
}

func milliseconds(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
