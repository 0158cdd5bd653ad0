package load

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// contendWait is how long an acquire of contend waits. Hand-offs take
// milliseconds: who waits so long was forgotten.
const contendWait = 30 * time.Second

// contend has all clients take one lock in turn, waiting for it.
type contend struct {
	*client
	acquire, release []byte
}

func newContend(c *client) workload { return &contend{client: c} }

func (w *contend) ready() {
	w.acquire = fmt.Appendf(nil, `{"lease":%q,"wait":%q}`, w.leases[0], contendWait)
	w.release = leaseBody(nil, w.leases[0])
}

func (w *contend) step(ctx context.Context) error {
	w.lockPath("contended", "acquire")
	start := time.Now()
	a, err := w.post(ctx, w.acquire, contendWait)
	if err != nil {
		return err
	}
	acquired := w.done(0, start)
	w.run.exclude.enter(w.index, a.number("token"))
	w.lockPath("contended", "release")
	w.run.exclude.leave()
	if _, err := w.post(ctx, w.release, 0); err != nil {
		return err
	}
	w.done(1, acquired)
	return nil
}

// exclusion watches that grants of one exclusive lock follow each other.
// Clients enter when they know of their grant and leave just before they give
// it back. Whoever gets the lock before another has given it back finds that one
// inside, or, if it learns of its grant later, enters with the smaller token.
type exclusion struct {
	mu      sync.Mutex
	holders int
	token   uint64 // of the last grant, and whose it was
	client  int
	lost    int
}

func (e *exclusion) enter(client int, token uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.holders++
	// The same token twice is a client that took again what it still held,
	// after a release whose answer was lost.
	again := token == e.token && client == e.client
	if e.holders > 1 || (token <= e.token && !again) {
		e.lost++
	}
	e.token, e.client = token, client
}

func (e *exclusion) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.holders--
}

func (e *exclusion) lostCount() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lost
}
