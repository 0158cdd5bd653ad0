package metrics

import "github.com/prometheus/client_golang/prometheus"

// PeerSample is another node of the cluster as this one sees it at scrape time.
type PeerSample struct {
	Node      string // its name
	Connected bool
	// Raft messages since this process started.
	SentMessages, DroppedMessages uint64
}

// PeerSource returns a sample of every other node. It is called at each
// scrape, must not block, and leaves the slice to its caller.
type PeerSource func() []PeerSample

// AddPeers adds the metrics of peers. Call it once.
func (m *Metrics) AddPeers(source PeerSource) {
	m.reg.MustRegister(&sampled[PeerSample]{
		source: source,
		label:  func(s *PeerSample) string { return s.Node },
		metrics: []sampledMetric[PeerSample]{
			peerMetric(prometheus.GaugeValue, "lockd_peer_connected", "1 while there is a link to the node.", func(s *PeerSample) float64 { return oneIf(s.Connected) }),
			peerMetric(prometheus.CounterValue, "lockd_peer_sent_messages_total", "Raft messages given to the link to the node.", func(s *PeerSample) float64 { return float64(s.SentMessages) }),
			peerMetric(prometheus.CounterValue, "lockd_peer_dropped_messages_total", "Raft messages dropped because the node could not be reached or did not keep up.", func(s *PeerSample) float64 { return float64(s.DroppedMessages) }),
		},
	})
}

func peerMetric(kind prometheus.ValueType, name, help string, value func(*PeerSample) float64) sampledMetric[PeerSample] {
	return sampledMetric[PeerSample]{desc: prometheus.NewDesc(name, help, []string{"peer"}, nil), kind: kind, value: value}
}
