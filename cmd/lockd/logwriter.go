package main

import (
	"io"
	"sync"
	"time"
)

const (
	// logQueueBytes bounds what waits for a slow pipe.
	logQueueBytes = 1 << 20
	// logFlushTimeout bounds how long Close waits for a pipe nobody reads.
	logFlushTimeout = time.Second
)

// logWriter is an io.Writer that never waits for what it writes to: a line is
// queued for one goroutine, and dropped when the queue is full. So a pipe that
// nobody reads cannot stop the service, as it would with a plain writer on the
// first line that blocks.
//
// Write may be called from many goroutines and keeps each call's bytes together.
type logWriter struct {
	out io.Writer
	// dropped is called for each dropped line; recovered once lines flow
	// again, with how many were dropped, for a line that says so.
	dropped   func()
	recovered func(out io.Writer, lines int)

	mu     sync.Mutex
	wake   sync.Cond // something was queued, or closed was set
	queue  [][]byte
	queued int // bytes
	lost   int // lines since the last report
	closed bool

	flushed chan struct{} // closed when the goroutine has ended
}

// newLogWriter starts a writer to out. Close ends it.
func newLogWriter(out io.Writer, dropped func(), recovered func(out io.Writer, lines int)) *logWriter {
	w := &logWriter{out: out, dropped: dropped, recovered: recovered, flushed: make(chan struct{})}
	w.wake.L = &w.mu
	go w.drain()
	return w
}

// Write queues a copy of line. It always reports success: a logger has nobody
// to tell.
func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	fits := !w.closed && w.queued+len(line) <= logQueueBytes
	if fits {
		w.queue = append(w.queue, append([]byte(nil), line...))
		w.queued += len(line)
	} else {
		w.lost++
	}
	w.mu.Unlock()
	if fits {
		w.wake.Signal()
	} else {
		w.dropped()
	}
	return len(line), nil
}

// Close writes what is queued, for at most logFlushTimeout. A goroutine that
// is stuck in a write by then is left behind: the process is about to end.
func (w *logWriter) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wake.Signal()
	select {
	case <-w.flushed:
	case <-time.After(logFlushTimeout):
	}
	return nil
}

// drain writes batches until the queue is empty and closed.
func (w *logWriter) drain() {
	defer close(w.flushed)
	for {
		lines, lost, more := w.next()
		for _, line := range lines {
			w.write(line)
		}
		if lost > 0 {
			w.recovered(w.out, lost)
		}
		if !more {
			return
		}
	}
}

// write writes one line and then makes room for another. Room is counted only
// when a line has left: what a stuck write holds is still queued.
func (w *logWriter) write(line []byte) {
	// There is nowhere to report that the log cannot be written.
	_, _ = w.out.Write(line)
	w.mu.Lock()
	w.queued -= len(line)
	w.mu.Unlock()
}

// next waits for something to write. more is false when nothing will follow.
func (w *logWriter) next() (lines [][]byte, lost int, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 && w.lost == 0 && !w.closed {
		w.wake.Wait()
	}
	lines, lost, more = w.queue, w.lost, !w.closed
	w.queue, w.lost = nil, 0
	return lines, lost, more
}
