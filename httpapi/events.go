package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"lockd/lease/leasepb"
)

func (s *Server) eventRoutes() []*route {
	return []*route{
		{method: http.MethodGet, path: "/v1/namespaces/{namespace}/events", handle: s.events, query: []string{"prefix"}},
	}
}

const (
	// eventIdle is how long a stream is silent before it gets a comment.
	eventIdle = 15 * time.Second
	// eventWrite is how long one write to a slow reader may take.
	eventWrite = 10 * time.Second
)

var eventNames = [...]string{
	leasepb.EventType_EVENT_ACQUIRED:  "acquired",
	leasepb.EventType_EVENT_RELEASED:  "released",
	leasepb.EventType_EVENT_EXPIRED:   "expired",
	leasepb.EventType_EVENT_QUEUED:    "queued",
	leasepb.EventType_EVENT_CANCELLED: "cancelled",
	leasepb.EventType_EVENT_FORCED:    "forced",
}

// events streams until the client, or the service, goes away. The stream has
// begun when its header is out: no later event is missed.
func (s *Server) events(x *exchange, r *http.Request) error {
	watch, err := watchOf(x, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.draining, cancel)()
	events, err := s.svc.Events(ctx, watch)
	if err != nil {
		return err
	}
	stream := eventStream{x: x, control: http.NewResponseController(x.ResponseWriter)}
	if err := stream.begin(); err != nil || r.Method == http.MethodHead {
		return nil // an error here and below is a reader that has gone
	}
	for event, lost := range events {
		if err := stream.send(event, lost); err != nil {
			return nil
		}
	}
	return nil
}

func watchOf(x *exchange, r *http.Request) (watch Watch, err error) {
	watch = Watch{After: LastIndex, Idle: eventIdle}
	if watch.Namespace, err = x.namespace(); err != nil {
		return watch, err
	}
	if watch.Prefix, err = queryOf(r).text("prefix"); err != nil {
		return watch, err
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		watch.After, err = parseUint("Last-Event-ID", last, 0, maxNumber)
	}
	return watch, err
}

// eventStream writes server-sent events. Each write has its own deadline.
type eventStream struct {
	x       *exchange
	control *http.ResponseController
}

func (st *eventStream) begin() error {
	st.x.Header()["Content-Type"] = []string{"text/event-stream"}
	st.x.WriteHeader(http.StatusOK)
	st.x.observe()
	st.x.out.b = append(st.x.out.b[:0], ": watching\n\n"...)
	return st.write()
}

// send writes what an iteration of Service.Events stands for.
func (st *eventStream) send(event *leasepb.Event, lost bool) error {
	a := &st.x.out
	a.b = a.b[:0]
	if lost {
		a.b = append(a.b, "event: lost\ndata: {\"type\":\"lost\"}\n\n"...)
	}
	switch {
	case event != nil:
		a.event(event)
	case !lost:
		a.b = append(a.b, ": idle\n\n"...)
	}
	return st.write()
}

func (st *eventStream) write() error {
	// It fails on a connection that is gone, which the write tells too.
	st.control.SetWriteDeadline(time.Now().Add(eventWrite))
	if _, err := st.x.Write(st.x.out.b); err != nil {
		return err
	}
	return st.control.Flush()
}

// event writes one event: JSON has no line breaks, so its data is one line.
func (a *answer) event(e *leasepb.Event) {
	a.b = append(a.b, "id: "...)
	a.b = strconv.AppendUint(a.b, e.Index, 10)
	a.b = append(a.b, "\nevent: "...)
	a.b = append(a.b, eventNames[e.Type]...)
	a.b = append(a.b, "\ndata: {"...)
	a.uint("index", e.Index)
	a.text("type", eventNames[e.Type])
	a.text("namespace", e.Namespace)
	a.text("lock", e.Lock)
	a.leaseID(e.Lease)
	a.text("owner", e.Owner)
	a.text("mode", modeNames[e.Mode])
	if e.Token != 0 {
		a.uint("token", e.Token)
	}
	if e.Reason != "" {
		a.text("reason", e.Reason)
	}
	a.time("at", e.AtUnixMs)
	a.b = append(a.b, "}\n\n"...)
}
