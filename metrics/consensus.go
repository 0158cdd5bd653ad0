package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Consensus times what the groups and the store of this node do.
type Consensus struct {
	fsync    prometheus.Histogram
	apply    *prometheus.HistogramVec
	proposal *prometheus.HistogramVec
}

func newConsensus(reg prometheus.Registerer) *Consensus {
	return &Consensus{
		fsync:    histogram(reg, "lockd_fsync_duration_seconds", "Time of a durable write of the store, which all groups of the node share.", fast()),
		apply:    histograms(reg, "lockd_apply_duration_seconds", "Time to apply a batch of committed entries.", fast(), "group"),
		proposal: histograms(reg, "lockd_proposal_duration_seconds", "Time from a proposal to its entry's application, at the node that proposed it.", fast(), "group"),
	}
}

// Fsynced observes one durable write.
func (c *Consensus) Fsynced(took time.Duration) { c.fsync.Observe(took.Seconds()) }

// Group returns the collectors of one group, to be kept by its owner.
func (c *Consensus) Group(id uint64) GroupTimes {
	group := groupLabel(id)
	return GroupTimes{apply: c.apply.WithLabelValues(group), proposal: c.proposal.WithLabelValues(group)}
}

// GroupTimes times the work of one group.
type GroupTimes struct{ apply, proposal prometheus.Observer }

// Applied observes the application of one batch of entries.
func (g GroupTimes) Applied(took time.Duration) { g.apply.Observe(took.Seconds()) }

// Proposed observes a proposal whose entry was applied.
func (g GroupTimes) Proposed(took time.Duration) { g.proposal.Observe(took.Seconds()) }

func groupLabel(id uint64) string { return strconv.FormatUint(id, 10) }
