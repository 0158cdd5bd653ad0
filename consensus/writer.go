package consensus

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"lockd/consensus/storage"
)

// writer is the one goroutine of a node that writes to its store. While a
// write runs, what all groups want written next gathers, and goes into the
// next one: one fsync for all groups that are ready.
type writer struct {
	store storage.Store
	fsync func(time.Duration)
	fail  func(error)
	now   func() time.Duration

	mu      sync.Mutex
	waiting batch
	notify  chan struct{}
	stopped bool
	done    chan struct{}
}

type batch struct {
	parts  []storage.GroupWrite
	owners []owner // of the parts
	sync   bool
}

type owner struct {
	group *Group
	seq   uint64
}

func newWriter(store storage.Store, fsync func(time.Duration), fail func(error), now func() time.Duration) *writer {
	return &writer{store: store, fsync: fsync, fail: fail, now: now, notify: make(chan struct{}, 1), done: make(chan struct{})}
}

// submit queues a group's writes. The queue is bounded by the writes that each
// group may have open.
func (w *writer) submit(g *Group, writes []write) {
	if len(writes) == 0 {
		return
	}
	w.mu.Lock()
	for _, x := range writes {
		w.waiting.parts = append(w.waiting.parts, x.part)
		w.waiting.owners = append(w.waiting.owners, owner{g, x.seq})
		w.waiting.sync = w.waiting.sync || x.sync
	}
	w.mu.Unlock()
	w.wake()
}

func (w *writer) wake() {
	select {
	case w.notify <- struct{}{}:
	default:
	}
}

// run writes until stop. An error of the store is final (F9): nothing that
// waits is ever told that it was written.
func (w *writer) run() {
	defer close(w.done)
	var b batch
	for range w.notify {
		// Groups that are about to submit do so first: under load, writes get
		// fewer and larger.
		runtime.Gosched()
		var stopped bool
		b, stopped = w.take(b)
		if len(b.parts) > 0 {
			began := w.now()
			if err := w.store.Write(b.parts, b.sync); err != nil {
				w.fail(fmt.Errorf("write to the log: %w", err))
				return
			}
			if b.sync {
				w.fsync(w.now() - began)
			}
			for _, o := range b.owners {
				o.group.wrote(o.seq)
			}
		}
		if stopped {
			return
		}
	}
}

func (w *writer) take(used batch) (batch, bool) {
	clear(used.parts)
	clear(used.owners)
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.waiting
	w.waiting = batch{parts: used.parts[:0], owners: used.owners[:0]}
	return b, w.stopped
}

// stop writes what waits and ends.
func (w *writer) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.wake()
	<-w.done
}
