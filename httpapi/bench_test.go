package httpapi

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rs/zerolog"

	"context"
	"lockd/lease/leasepb"
)

// quickService answers without remembering.
type quickService struct {
	fakeService
	result *leasepb.Result
}

func (q *quickService) Do(context.Context, *leasepb.Command) (*leasepb.Result, error) {
	return q.result, nil
}

// deadWriter is a ResponseWriter that keeps nothing.
type deadWriter struct {
	header http.Header
	status int
}

func (w *deadWriter) Header() http.Header         { return w.header }
func (w *deadWriter) WriteHeader(status int)      { w.status = status }
func (w *deadWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *deadWriter) Flush()                      {}

type body struct{ bytes.Reader }

func (*body) Close() error { return nil }

func benchmarkHandler(b *testing.B, path, request string, result *leasepb.Result) {
	s := New(Config{Logger: zerolog.New(io.Discard)}, &quickService{result: result})
	h := s.Handler()
	r := httptest.NewRequest(http.MethodPost, path, nil)
	var rd body
	r.Body, r.ContentLength = &rd, int64(len(request))
	w := &deadWriter{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		rd.Reset([]byte(request))
		clear(w.header)
		h.ServeHTTP(w, r)
		if w.status != http.StatusOK {
			b.Fatal(w.status)
		}
	}
}

var benchLease = newProofs(fakeSecret).lease(fakeID)

func BenchmarkAcquire(b *testing.B) {
	benchmarkHandler(b, "/v1/namespaces/jobs/locks/nightly-17/acquire", `{"lease":"`+benchLease+`"}`,
		fakeGrant(&leasepb.Acquire{Lease: fakeID[:], Locks: []*leasepb.LockRequest{{Namespace: "jobs", Lock: "nightly-17", Permits: 1}}}))
}

func BenchmarkAcquireOneShot(b *testing.B) {
	benchmarkHandler(b, "/v1/namespaces/jobs/locks/nightly-17/acquire", `{"ttl":"30s","owner":"worker-17"}`,
		fakeGrant(&leasepb.Acquire{OneShot: &leasepb.NewLease{Owner: "worker-17", TtlMs: 30_000}, Locks: []*leasepb.LockRequest{{Namespace: "jobs", Lock: "nightly-17", Permits: 1}}}))
}

func BenchmarkRelease(b *testing.B) {
	benchmarkHandler(b, "/v1/namespaces/jobs/locks/nightly-17/release", `{"lease":"`+benchLease+`","token":42}`,
		&leasepb.Result{Released: []*leasepb.Grant{{Namespace: "jobs", Lock: "nightly-17", Token: 42}}})
}

func BenchmarkKeepalive(b *testing.B) {
	benchmarkHandler(b, "/v1/leases/"+benchLease+"/keepalive", "", nil)
}
