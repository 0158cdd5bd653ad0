package metrics

import "github.com/prometheus/client_golang/prometheus"

// GroupSample is one group of this node as it is at scrape time.
type GroupSample struct {
	Group     uint64
	HasLeader bool // this node knows who leads
	Leading   bool // it does itself

	Term, Applied, Commit uint64
	LogBytes              uint64 // of the entries kept
	SnapshotBytes         uint64 // of the last snapshot
	Proposals             uint64 // proposed here since the process started

	// State is what the group's leader knows; a sample of another replica has
	// none, so that a sum over the nodes counts everything once.
	State GroupState
}

// GroupState is what a data group holds, and what happened to it at this node
// while it led.
type GroupState struct {
	HeldLocks, Leases, Waiters, IdempotencyKeys int
	Grants, Expirations                         uint64 // since the process started
	Token                                       uint64 // the counter that tokens come from
}

// GroupSource returns a sample of every group of this node. It is called at
// each scrape, must not block, and leaves the slice to its caller.
type GroupSource func() []GroupSample

// AddGroups adds the metrics of groups. Call it once.
func (m *Metrics) AddGroups(source GroupSource) {
	m.reg.MustRegister(&groupCollector{source: source, metrics: groupMetrics()})
}

// groupMetric is one metric with a value for each group.
type groupMetric struct {
	desc      *prometheus.Desc
	kind      prometheus.ValueType
	ofLeaders bool // only where this node leads
	value     func(*GroupSample) float64
}

func groupMetrics() []groupMetric {
	metric := func(kind prometheus.ValueType, ofLeaders bool, name, help string, value func(*GroupSample) float64) groupMetric {
		return groupMetric{prometheus.NewDesc(name, help, []string{"group"}, nil), kind, ofLeaders, value}
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	const replica, leader = false, true
	return []groupMetric{
		metric(gauge, replica, "lockd_group_has_leader", "1 if this node knows a leader of the group.", func(s *GroupSample) float64 { return oneIf(s.HasLeader) }),
		metric(gauge, replica, "lockd_group_leading", "1 if this node leads the group.", func(s *GroupSample) float64 { return oneIf(s.Leading) }),
		metric(gauge, replica, "lockd_group_term", "Raft term of the group as this node knows it.", func(s *GroupSample) float64 { return float64(s.Term) }),
		metric(gauge, replica, "lockd_group_commit_index", "Last index of the group's log that this node knows to be committed.", func(s *GroupSample) float64 { return float64(s.Commit) }),
		metric(gauge, replica, "lockd_group_applied_index", "Last index of the group's log that this node has applied.", func(s *GroupSample) float64 { return float64(s.Applied) }),
		metric(gauge, replica, "lockd_group_log_bytes", "Size of the group's log behind its last snapshot.", func(s *GroupSample) float64 { return float64(s.LogBytes) }),
		metric(gauge, replica, "lockd_group_snapshot_bytes", "Size of the group's last snapshot.", func(s *GroupSample) float64 { return float64(s.SnapshotBytes) }),
		metric(counter, replica, "lockd_group_proposals_total", "Entries proposed by this node.", func(s *GroupSample) float64 { return float64(s.Proposals) }),
		metric(gauge, leader, "lockd_held_locks", "Locks held in the group; only its leader's node tells.", func(s *GroupSample) float64 { return float64(s.State.HeldLocks) }),
		metric(gauge, leader, "lockd_leases", "Living leases of the group; only its leader's node tells.", func(s *GroupSample) float64 { return float64(s.State.Leases) }),
		metric(gauge, leader, "lockd_waiters", "Requests in queues of the group's locks; only its leader's node tells.", func(s *GroupSample) float64 { return float64(s.State.Waiters) }),
		metric(gauge, leader, "lockd_idempotency_keys", "Idempotency keys that the group remembers; only its leader's node tells.", func(s *GroupSample) float64 { return float64(s.State.IdempotencyKeys) }),
		metric(gauge, leader, "lockd_fencing_token", "The group's last fencing token; only its leader's node tells.", func(s *GroupSample) float64 { return float64(s.State.Token) }),
		metric(counter, replica, "lockd_grants_total", "Locks granted, each with a new fencing token, while this node led.", func(s *GroupSample) float64 { return float64(s.State.Grants) }),
		metric(counter, replica, "lockd_expirations_total", "Leases that ran out while this node led.", func(s *GroupSample) float64 { return float64(s.State.Expirations) }),
	}
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// groupCollector asks its source at each scrape.
type groupCollector struct {
	source  GroupSource
	metrics []groupMetric
}

// Describe implements prometheus.Collector.
func (c *groupCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		descs <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *groupCollector) Collect(out chan<- prometheus.Metric) {
	for _, sample := range c.source() {
		label := groupLabel(sample.Group)
		for _, m := range c.metrics {
			if m.ofLeaders && !sample.Leading {
				continue
			}
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&sample), label)
		}
	}
}
