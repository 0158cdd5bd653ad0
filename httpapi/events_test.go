package httpapi

import (
	"bufio"
	"context"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"lockd/lease/leasepb"
)

// feed is a Service's events under a test's hand.
type feed struct {
	watches chan Watch
	events  chan fed
}

type fed struct {
	event *leasepb.Event
	lost  bool
}

func newFeed() *feed { return &feed{watches: make(chan Watch, 1), events: make(chan fed)} }

func (f *feed) Events(ctx context.Context, watch Watch) (iter.Seq2[*leasepb.Event, bool], error) {
	f.watches <- watch
	return func(yield func(*leasepb.Event, bool) bool) {
		for {
			select {
			case e := <-f.events:
				if !yield(e.event, e.lost) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

func fakeEvent(index uint64) *leasepb.Event {
	return &leasepb.Event{Index: index, Type: leasepb.EventType_EVENT_ACQUIRED, Namespace: "jobs", Lock: "a\nb", Lease: fakeID[:], Owner: "o", Token: index, AtUnixMs: fakeAt}
}

// readEvents reads count blocks of a stream.
func readEvents(t *testing.T, stream *bufio.Reader, count int) string {
	t.Helper()
	var text strings.Builder
	for count > 0 {
		line, err := stream.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", text.String(), err)
		}
		text.WriteString(line)
		if line == "\n" {
			count--
		}
	}
	return text.String()
}

func TestEventStream(t *testing.T) {
	f := newFeed()
	n := start(t, &fakeService{events: f.Events})
	res := n.open(t.Context(), "GET", "/v1/namespaces/jobs/events?prefix=a%2F", "")
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %v", res.StatusCode, res.Header)
	}
	if got, want := <-f.watches, (Watch{Namespace: "jobs", Prefix: "a/", After: LastIndex, Idle: 15 * time.Second}); got != want {
		t.Errorf("watch %+v, want %+v", got, want)
	}
	stream := bufio.NewReader(res.Body)
	if got := readEvents(t, stream, 1); got != ": watching\n\n" {
		t.Errorf("began with %q", got)
	}
	for _, step := range []struct {
		fed
		want string
	}{
		{fed{event: fakeEvent(7)}, "id: 7\nevent: acquired\ndata: {\"index\":7,\"type\":\"acquired\",\"namespace\":\"jobs\",\"lock\":\"a\\nb\",\"lease_id\":\"" + fakeID.String() +
			"\",\"owner\":\"o\",\"mode\":\"exclusive\",\"token\":7,\"at\":\"2026-01-02T03:04:05.678Z\"}\n\n"},
		{fed{}, ": idle\n\n"},
		{fed{event: &leasepb.Event{Index: 8, Type: leasepb.EventType_EVENT_FORCED, Mode: leasepb.Mode_MODE_SHARED, Namespace: "jobs", Lock: "b", Lease: fakeID[:], Reason: "stuck", AtUnixMs: fakeAt}},
			"id: 8\nevent: forced\ndata: {\"index\":8,\"type\":\"forced\",\"namespace\":\"jobs\",\"lock\":\"b\",\"lease_id\":\"" + fakeID.String() +
				"\",\"owner\":\"\",\"mode\":\"shared\",\"reason\":\"stuck\",\"at\":\"2026-01-02T03:04:05.678Z\"}\n\n"},
		{fed{lost: true}, "event: lost\ndata: {\"type\":\"lost\"}\n\n"},
	} {
		f.events <- step.fed
		if got := readEvents(t, stream, 1); got != step.want {
			t.Errorf("got\n%s\nwant\n%s", got, step.want)
		}
	}
}

func TestEventStreamResumes(t *testing.T) {
	f := newFeed()
	n := start(t, &fakeService{events: f.Events})
	res := n.open(t.Context(), "GET", "/v1/namespaces/jobs/events", "", "Last-Event-ID", "980")
	defer res.Body.Close()
	if got := <-f.watches; got.After != 980 {
		t.Errorf("watch %+v", got)
	}
	f.events <- fed{event: fakeEvent(990), lost: true}
	stream := bufio.NewReader(res.Body)
	if got := readEvents(t, stream, 3); !strings.HasPrefix(got, ": watching\n\nevent: lost\ndata: {\"type\":\"lost\"}\n\nid: 990\nevent: acquired\n") {
		t.Errorf("got\n%s", got)
	}
	if head := n.ask("HEAD", "/v1/namespaces/jobs/events", ""); head.status != http.StatusOK || head.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}
	for _, id := range []string{"x", "-1", "1.5", "9007199254740992"} {
		n.ask("GET", "/v1/namespaces/jobs/events", "", "Last-Event-ID", id).wantInvalid("Last-Event-ID")
	}
	n.ask("GET", "/v1/namespaces/jobs/events?since=1", "").wantInvalid("since")
	n.ask("GET", "/v1/namespaces/jobs/events?prefix=%00", "").wantInvalid("prefix")
}

func TestEventStreamEndsWithItsClientAndWithTheService(t *testing.T) {
	f := newFeed()
	ended := make(chan struct{})
	n := start(t, &fakeService{events: func(ctx context.Context, w Watch) (iter.Seq2[*leasepb.Event, bool], error) {
		context.AfterFunc(ctx, func() { ended <- struct{}{} })
		return f.Events(ctx, w)
	}})
	ctx, cancel := context.WithCancel(t.Context())
	n.open(ctx, "GET", "/v1/namespaces/jobs/events", "").Body.Close()
	cancel()
	<-ended
	<-f.watches

	res := n.open(t.Context(), "GET", "/v1/namespaces/jobs/events", "")
	defer res.Body.Close()
	if err := n.http.Config.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-ended
	if text, err := bufio.NewReader(res.Body).ReadString('x'); text != ": watching\n\n" || err == nil {
		t.Errorf("got %q, %v", text, err)
	}
}
