package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Consensus times what the groups and the store of this node do.
type Consensus struct {
	fsync prometheus.Histogram
	apply *prometheus.HistogramVec
}

func newConsensus(reg prometheus.Registerer) *Consensus {
	return &Consensus{
		fsync: histogram(reg, "lockd_fsync_duration_seconds", "Time of a durable write of the store, which all groups of the node share.", fast()),
		apply: histograms(reg, "lockd_apply_duration_seconds", "Time of a turn of a group that applied entries.", fast(), "group"),
	}
}

// Fsynced observes one durable write.
func (c *Consensus) Fsynced(took time.Duration) { c.fsync.Observe(took.Seconds()) }

// Applied returns what observes the turns of one group in which it applied
// entries, to be kept by its owner.
func (c *Consensus) Applied(group uint64) func(took time.Duration) {
	apply := c.apply.WithLabelValues(groupLabel(group))
	return func(took time.Duration) { apply.Observe(took.Seconds()) }
}

func groupLabel(id uint64) string { return strconv.FormatUint(id, 10) }
