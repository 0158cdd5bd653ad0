package metrics

import "github.com/prometheus/client_golang/prometheus"

// sampledMetric is one metric read from samples of type S.
type sampledMetric[S any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	has   func(*S) bool // nil: every sample has it
	value func(*S) float64
}

// sampled is a collector that asks its source for samples at each scrape.
type sampled[S any] struct {
	source  func() []S
	label   func(*S) string // the value of the one label, which tells samples apart
	metrics []sampledMetric[S]
}

// Describe implements prometheus.Collector.
func (c *sampled[S]) Describe(descs chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		descs <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *sampled[S]) Collect(out chan<- prometheus.Metric) {
	for _, sample := range c.source() {
		label := c.label(&sample)
		for _, m := range c.metrics {
			if m.has == nil || m.has(&sample) {
				out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&sample), label)
			}
		}
	}
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
