package metrics

import "github.com/prometheus/client_golang/prometheus"

// Traffic is what a stream between nodes carries.
type Traffic int

// The kinds of traffic, each on streams of its own.
const (
	RaftTraffic Traffic = iota
	RequestTraffic
	SnapshotTraffic
	traffics
)

var trafficNames = [traffics]string{"raft", "request", "snapshot"}

// Transport counts what goes between this node and the others.
type Transport struct {
	sent, received, sentBytes, receivedBytes, dropped [traffics]prometheus.Counter
	forwarded                                         prometheus.Counter
}

func newTransport(reg prometheus.Registerer) *Transport {
	kinds := func(name, help string) (children [traffics]prometheus.Counter) {
		vec := counters(reg, name, help, "kind")
		for kind, label := range trafficNames {
			children[kind] = vec.WithLabelValues(label)
		}
		return children
	}
	return &Transport{
		sent:          kinds("lockd_transport_sent_messages_total", "Messages sent to other nodes, by kind of stream."),
		received:      kinds("lockd_transport_received_messages_total", "Messages received from other nodes, by kind of stream."),
		sentBytes:     kinds("lockd_transport_sent_bytes_total", "Bytes sent to other nodes, by kind of stream."),
		receivedBytes: kinds("lockd_transport_received_bytes_total", "Bytes received from other nodes, by kind of stream."),
		dropped:       kinds("lockd_transport_dropped_messages_total", "Messages dropped because a node was unreachable or its queue full, by kind of stream."),
		forwarded:     counter(reg, "lockd_forwarded_requests_total", "Requests passed on to the node that leads their group."),
	}
}

// Sent counts a batch of messages sent, and its size.
func (t *Transport) Sent(kind Traffic, messages, bytes int) {
	t.sent[kind].Add(float64(messages))
	t.sentBytes[kind].Add(float64(bytes))
}

// Received counts a batch of messages received, and its size.
func (t *Transport) Received(kind Traffic, messages, bytes int) {
	t.received[kind].Add(float64(messages))
	t.receivedBytes[kind].Add(float64(bytes))
}

// Dropped counts messages that were not sent.
func (t *Transport) Dropped(kind Traffic, messages int) { t.dropped[kind].Add(float64(messages)) }

// Forwarded counts a request passed on to another node.
func (t *Transport) Forwarded() { t.forwarded.Inc() }
