package metrics

import "github.com/prometheus/client_golang/prometheus"

// Node says which process this is.
type Node struct{ Name, Version, Revision, GoVersion string }

// AddNode adds the constant metrics of this process, and the ring's epoch as
// epoch gives it at scrape time. Call it once.
func (m *Metrics) AddNode(n Node, epoch func() uint64) {
	info := func(name, help string, labels prometheus.Labels) {
		register(m.reg, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 { return 1 }))
	}
	info("lockd_build_info", "What the node's binary was built from; always 1.", prometheus.Labels{
		"version": n.Version, "revision": n.Revision, "goversion": n.GoVersion,
	})
	info("lockd_node_info", "The node's name; always 1.", prometheus.Labels{"node": n.Name})
	register(m.reg, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "lockd_ring_epoch", Help: "Version of the hash ring that this node routes by.",
	}, func() float64 { return float64(epoch()) }))
}
