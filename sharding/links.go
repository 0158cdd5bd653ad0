package sharding

import (
	"sync"
	"time"
)

// links knows which processes reach this one, and since when the others do
// not. It is filled by the transport and read by the groups' goroutines.
type links struct {
	self uint64 // boot of this process
	now  func() time.Duration

	mu   sync.Mutex
	up   map[uint64]bool          // by boot
	down map[uint64]time.Duration // since when; only boots that somebody asked for or that were up
}

// maxDown bounds what is remembered of processes that are gone: past it, the
// time of one is counted anew, which only cancels its places later.
const maxDown = 1024

func newLinks() *links {
	return &links{up: make(map[uint64]bool), down: make(map[uint64]time.Duration)}
}

// start tells what is known only when the transport already runs, before any
// group does.
func (l *links) start(self uint64, now func() time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.self, l.now = self, now
}

// remote tells whether a boot is another process's.
func (l *links) remote(boot uint64) bool { return boot != l.self }

// opened tells of the first link from a process.
func (l *links) opened(boot uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up[boot] = true
	delete(l.down, boot)
}

// closed tells that the last link from a process is gone.
func (l *links) closed(boot uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.up, boot)
	if l.now != nil {
		l.since(l.now(), boot)
	}
}

// downFor is how long a process has not reached this one, 0 if it does. One
// that was never heard of counts from the first question.
func (l *links) downFor(now time.Duration, boot uint64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up[boot] {
		return 0
	}
	return max(now-l.since(now, boot), 1)
}

func (l *links) since(now time.Duration, boot uint64) time.Duration {
	since, ok := l.down[boot]
	if !ok {
		if len(l.down) >= maxDown {
			clear(l.down)
		}
		since = now
		l.down[boot] = since
	}
	return since
}
