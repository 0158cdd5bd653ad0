package httpapi

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// exchange is one request and its answer. It is the http.ResponseWriter that
// handlers get, and holds the buffers that requests reuse.
type exchange struct {
	http.ResponseWriter
	server *Server
	start  time.Time
	id     string // X-Request-Id
	route  *route // nil until one matched
	vars   vars
	status int  // 0 until the header is written
	gone   bool // the client went away before the answer

	body    bytes.Buffer
	raw     []byte // what was read into body, until the next request
	decoder decoder
	out     answer
}

// Header values that never change are shared by all answers: net/http copies
// them when it writes.
var (
	noStore     = []string{"no-store"}
	jsonType    = []string{"application/json"}
	problemType = []string{"application/problem+json"}
)

func (x *exchange) begin(s *Server, w http.ResponseWriter, r *http.Request) {
	x.ResponseWriter, x.server = w, s
	x.start = time.Now()
	x.route, x.status, x.gone = nil, 0, false
	x.id = s.ids.of(r)
	h := w.Header()
	h["Cache-Control"] = noStore
	h["X-Request-Id"] = []string{x.id}
}

// keptBuffer is the size above which a buffer is not kept for the next request.
const keptBuffer = 64 << 10

// end reports the answer and lets go of what belonged to this request.
func (x *exchange) end() {
	x.observe()
	x.ResponseWriter = nil
	if x.body.Cap() > keptBuffer {
		x.body = bytes.Buffer{}
	}
	if cap(x.out.b) > keptBuffer {
		x.out.b = nil
	}
}

// statusGone stands in metrics for an answer that nobody was there to read.
const statusGone = 499

// observe tells the metrics, once.
func (x *exchange) observe() {
	if x.route == nil {
		return
	}
	status := x.status
	if x.gone {
		status = statusGone
	}
	x.route.observe(status, time.Since(x.start))
	x.route = nil
}

// WriteHeader keeps the status for the metrics.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	return x.ResponseWriter.Write(b)
}

// Unwrap is how http.ResponseController finds the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// reply writes x.out as the whole answer. A nil error does not mean that the
// client has it: it may still be in a buffer.
func (x *exchange) reply(status int) error {
	if bytes.HasSuffix(x.out.b, []byte("}")) {
		x.out.b = append(x.out.b, '\n') // for people with curl
	}
	h := x.Header()
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = jsonType
	}
	// net/http finds the length of small answers by itself, for less.
	if len(x.out.b) > 1024 {
		h["Content-Length"] = []string{strconv.Itoa(len(x.out.b))}
	}
	x.WriteHeader(status)
	_, err := x.Write(x.out.b)
	return err
}

// flush hands the answer to the kernel now. Only its error tells that it
// could not be written.
func (x *exchange) flush() error {
	return http.NewResponseController(x.ResponseWriter).Flush()
}
