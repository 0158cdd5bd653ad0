package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// AcquireOutcome is how an acquire ended for its client.
type AcquireOutcome int

// The outcomes of an acquire.
const (
	AcquireGranted     AcquireOutcome = iota
	AcquireHeld                       // others hold the lock, also at the end of a wait
	AcquireCancelled                  // the client went away, or its request was released
	AcquireRefused                    // any other refusal: no such lease, other mode, a quota
	AcquireUnavailable                // certainly not done
	AcquireUnknown                    // may or may not have been done
	acquireOutcomes
)

var acquireOutcomeNames = [acquireOutcomes]string{"granted", "held", "cancelled", "refused", "unavailable", "unknown"}

// Locks counts what requests of this node's clients came to. What groups hold,
// and what they granted and expired, is in GroupSample.
type Locks struct {
	acquires [acquireOutcomes]prometheus.Counter
	wait     prometheus.Histogram
}

func newLocks(reg prometheus.Registerer) *Locks {
	acquires := counters(reg, "lockd_acquires_total", "Acquires answered by this node, by outcome.", "outcome")
	l := &Locks{wait: histogram(reg, "lockd_acquire_wait_duration_seconds", "How long granted acquires had waited in the queue of their lock.", patient())}
	for outcome, name := range acquireOutcomeNames {
		l.acquires[outcome] = acquires.WithLabelValues(name)
	}
	return l
}

// Acquired counts an answered acquire. waited is how long it stood in the
// queue, 0 if it did not.
func (l *Locks) Acquired(outcome AcquireOutcome, waited time.Duration) {
	l.acquires[outcome].Inc()
	if outcome == AcquireGranted && waited > 0 {
		l.wait.Observe(waited.Seconds())
	}
}
