// Package metrics holds the Prometheus collectors of a node.
//
// It imports no package of ours and knows nothing of locks or raft: the others
// get its methods as plain callbacks, or lend it a function that is called at
// scrape time. It decides nothing and starts no goroutine.
//
// Rules kept by all metrics:
//  1. names begin with lockd_ and end in a base unit; latencies are histograms
//     from 100 microseconds up;
//  2. no label ever holds the name of a lock, a namespace, a lease or an
//     owner: labels have few values, known beforehand;
//  3. what is known at scrape time is read then (the Add methods); only events
//     are counted as they happen, through children resolved beforehand, so
//     that a request builds no string and takes no lock for them.
//
// All methods may be called from any goroutine.
package metrics

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the collectors of one node, by the part that feeds them.
type Metrics struct {
	HTTP      *HTTP
	Locks     *Locks
	Consensus *Consensus
	Logs      *Logs

	reg prometheus.Registerer
}

// New registers all collectors on reg, which must not have them yet. Those
// read at scrape time are added by AddNode, AddGroups and AddPeers.
func New(reg prometheus.Registerer) *Metrics {
	return &Metrics{
		HTTP:      newHTTP(reg),
		Locks:     newLocks(reg),
		Consensus: newConsensus(reg),
		Logs:      newLogs(reg),
		reg:       reg,
	}
}

// fast are the bounds, in seconds, of what takes 0.1 ms to 6.6 s.
func fast() []float64 { return prometheus.ExponentialBuckets(100e-6, 2, 17) }

// patient are the bounds, in seconds, of what takes 0.1 ms to 28 minutes.
func patient() []float64 { return prometheus.ExponentialBuckets(100e-6, 4, 13) }

// register adds c to reg and returns it. A name taken twice is a mistake in
// this package, which its tests find.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	reg.MustRegister(c)
	return c
}

func counter(reg prometheus.Registerer, name, help string) prometheus.Counter {
	return register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
}

func counters(reg prometheus.Registerer, name, help string, labels ...string) *prometheus.CounterVec {
	return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
}

func histogram(reg prometheus.Registerer, name, help string, bounds []float64) prometheus.Histogram {
	return register(reg, prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}))
}

func histograms(reg prometheus.Registerer, name, help string, bounds []float64, labels ...string) *prometheus.HistogramVec {
	return register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, labels))
}
