package httpapi

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strconv"
	"sync/atomic"
)

// maxRequestID is the length up to which a client's X-Request-Id is echoed.
const maxRequestID = 128

// requestIDs makes request ids that no other process makes: a random part made
// once, and a counter.
type requestIDs struct {
	prefix string
	last   *atomic.Uint64
}

func newRequestIDs() requestIDs {
	var random [8]byte
	rand.Read(random[:]) // never fails (since Go 1.24)
	return requestIDs{prefix: hex.EncodeToString(random[:]) + "-", last: new(atomic.Uint64)}
}

// of is the id that r came with, or else a new one.
func (ids requestIDs) of(r *http.Request) string {
	if sent := r.Header["X-Request-Id"]; len(sent) == 1 && len(sent[0]) <= maxRequestID && isPrintable(sent[0]) {
		return sent[0]
	}
	var buf [36]byte
	id := append(buf[:0], ids.prefix...)
	return string(strconv.AppendUint(id, ids.last.Add(1), 36))
}

// isPrintable reports whether s is printable ASCII and not empty.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return s != ""
}
