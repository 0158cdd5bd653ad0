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
	m.reg.MustRegister(&sampled[GroupSample]{
		source:  source,
		label:   func(s *GroupSample) string { return groupLabel(s.Group) },
		metrics: groupMetrics(),
	})
}

func groupMetrics() []sampledMetric[GroupSample] {
	leads := func(s *GroupSample) bool { return s.Leading }
	metric := func(kind prometheus.ValueType, has func(*GroupSample) bool, name, help string, value func(*GroupSample) float64) sampledMetric[GroupSample] {
		return sampledMetric[GroupSample]{prometheus.NewDesc(name, help, []string{"group"}, nil), kind, has, value}
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []sampledMetric[GroupSample]{
		metric(gauge, nil, "lockd_group_has_leader", "1 if this node knows a leader of the group.", func(s *GroupSample) float64 { return oneIf(s.HasLeader) }),
		metric(gauge, nil, "lockd_group_leading", "1 if this node leads the group.", func(s *GroupSample) float64 { return oneIf(s.Leading) }),
		metric(gauge, nil, "lockd_group_term", "Raft term of the group as this node knows it.", func(s *GroupSample) float64 { return float64(s.Term) }),
		metric(gauge, nil, "lockd_group_commit_index", "Last index of the group's log that this node knows to be committed.", func(s *GroupSample) float64 { return float64(s.Commit) }),
		metric(gauge, nil, "lockd_group_applied_index", "Last index of the group's log that this node has applied.", func(s *GroupSample) float64 { return float64(s.Applied) }),
		metric(gauge, nil, "lockd_group_log_bytes", "Size of the group's log behind its last snapshot.", func(s *GroupSample) float64 { return float64(s.LogBytes) }),
		metric(gauge, nil, "lockd_group_snapshot_bytes", "Size of the group's last snapshot.", func(s *GroupSample) float64 { return float64(s.SnapshotBytes) }),
		metric(counter, nil, "lockd_group_proposals_total", "Entries proposed by this node.", func(s *GroupSample) float64 { return float64(s.Proposals) }),
		metric(gauge, leads, "lockd_held_locks", "Locks held in the group; only its leader's node tells.", func(s *GroupSample) float64 { return float64(s.State.HeldLocks) }),
		metric(gauge, leads, "lockd_leases", "Living leases of the group; only its leader's node tells.", func(s *GroupSample) float64 { return float64(s.State.Leases) }),
		metric(gauge, leads, "lockd_waiters", "Requests in queues of the group's locks; only its leader's node tells.", func(s *GroupSample) float64 { return float64(s.State.Waiters) }),
		metric(gauge, leads, "lockd_idempotency_keys", "Idempotency keys that the group remembers; only its leader's node tells.", func(s *GroupSample) float64 { return float64(s.State.IdempotencyKeys) }),
		metric(gauge, leads, "lockd_fencing_token", "The group's last fencing token; only its leader's node tells.", func(s *GroupSample) float64 { return float64(s.State.Token) }),
		metric(counter, nil, "lockd_grants_total", "Locks granted, each with a new fencing token, while this node led.", func(s *GroupSample) float64 { return float64(s.State.Grants) }),
		metric(counter, nil, "lockd_expirations_total", "Leases that ran out while this node led.", func(s *GroupSample) float64 { return float64(s.State.Expirations) }),
	}
}
