package metrics

import "github.com/prometheus/client_golang/prometheus"

// Logs counts what the log lost.
type Logs struct{ dropped prometheus.Counter }

func newLogs(reg prometheus.Registerer) *Logs {
	return &Logs{dropped: counter(reg, "lockd_log_dropped_lines_total", "Log lines dropped because nobody read the log fast enough.")}
}

// Dropped counts one line that was not written.
func (l *Logs) Dropped() { l.dropped.Inc() }
