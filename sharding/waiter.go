package sharding

import (
	"time"

	"lockd/lease"
	"lockd/lease/leasepb"
)

// waiter is an acquire that is queued in the log and whose answer comes with a
// later entry. It belongs to the leader that applied the entry: when that
// leadership ends, the waiter fails, and whoever asked asks the next leader.
//
// A waiter without an answer func is detached: its request came to an earlier
// leader, and its serving node is expected to ask again.
type waiter struct {
	leader *leader
	place  lease.Wait // as Cancel names it
	since  time.Duration
	// older are attempts for the same place that this one replaced. They get
	// the same answer, unless their wait is over before.
	older []*waiter
	// cancelling: a Cancel for it is proposed and open.
	cancelling bool
	// gone: nobody takes the answer any more.
	gone   bool
	answer func(*leasepb.Result, error)

	settled bool
	result  *leasepb.Result
	err     error
}

// then has f called with the answer, at once if it is there.
func (w *waiter) then(f func(*leasepb.Result, error)) {
	if w.settled {
		f(w.result, w.err)
		return
	}
	w.answer = f
}

func (w *waiter) settle(result *leasepb.Result, err error) {
	if w.settled {
		return
	}
	w.settled, w.result, w.err = true, result, err
	if w.answer != nil {
		w.answer(result, err)
		w.answer = nil
	}
}

// abandon notes that nobody takes the answer any more: the place is cancelled.
func (w *waiter) abandon() {
	if !w.settled {
		w.gone = true
		w.leader.sweepBy(w.leader.now)
	}
}

// delivers tells whether somebody gets the answer.
func (w *waiter) delivers() bool { return w.answer != nil && !w.gone }
