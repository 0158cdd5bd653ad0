package metrics

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// HTTP counts and times REST requests by route and status. A route is the
// pattern of its path, never the path itself.
type HTTP struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
}

func newHTTP(reg prometheus.Registerer) *HTTP {
	return &HTTP{
		requests: counters(reg, "lockd_http_requests_total", "REST requests answered, by route, method and status.", "route", "method", "code"),
		latency:  histograms(reg, "lockd_http_request_duration_seconds", "Time from a request's headers to the end of its answer, waiting for a lock included.", fast(), "route", "method"),
	}
}

// Route returns the collectors of one route, to be kept by whoever serves it.
func (h *HTTP) Route(method, route string) *Route {
	return &Route{
		requests: h.requests.MustCurryWith(prometheus.Labels{"route": route, "method": method}),
		latency:  h.latency.WithLabelValues(route, method),
	}
}

// Route counts and times the requests of one route.
type Route struct {
	requests *prometheus.CounterVec
	latency  prometheus.Observer
	byStatus [maxStatus + 1]atomic.Pointer[prometheus.Counter]
}

// maxStatus is the greatest HTTP status there is.
const maxStatus = 599

// Observe counts a request that was answered with status. A status outside of
// HTTP's counts as 0.
func (r *Route) Observe(status int, took time.Duration) {
	r.latency.Observe(took.Seconds())
	if status < 0 || status > maxStatus {
		status = 0
	}
	c := r.byStatus[status].Load()
	if c == nil {
		resolved := r.requests.WithLabelValues(strconv.Itoa(status))
		c = &resolved
		r.byStatus[status].Store(c) // twice at once stores the same counter
	}
	(*c).Inc()
}
