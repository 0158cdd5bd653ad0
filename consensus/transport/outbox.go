package transport

import "sync"

// outbox gathers records into frames until the one goroutine that sends them
// takes them away. So what comes while a frame is being sent goes out together
// in the next one, and a single record waits for nothing.
//
// Frames have numbers from 1, in the order in which they are sent.
type outbox struct {
	limit int // bytes that may wait

	mu     sync.Mutex
	full   []outFrame // frames of frameBytes and more, oldest first
	last   outFrame   // takes the next record; its buf is nil while it is empty
	number uint64     // of last
	taken  uint64     // the highest number taken
	bytes  int        // in full and last
	closed bool
	wake   chan struct{} // holds one token when there is something to take
}

func newOutbox(limit int) *outbox {
	return &outbox{limit: limit, number: 1, wake: make(chan struct{}, 1)}
}

// fits reports whether the box is open and has room for a record of n bytes.
// o.mu is held.
func (o *outbox) fits(n int) bool {
	return !o.closed && o.bytes+n <= o.limit
}

// room returns the buffer to which a record of at most n bytes is to be
// appended. o.mu is held from before until stored was called. That the box is
// not full, who calls has seen to.
func (o *outbox) room(n int) *[]byte {
	if o.last.buf != nil && len(*o.last.buf)+n > frameBytes {
		o.full = append(o.full, o.last)
		o.last = outFrame{}
		o.number++
	}
	if o.last.buf == nil {
		o.last.buf = framePool.Get(n)
	}
	return o.last.buf
}

// stored notes that b, the buffer from room with one more record, is in place
// of it. o.mu is held.
func (o *outbox) stored(b []byte) {
	o.bytes += len(b) - len(*o.last.buf)
	*o.last.buf = b
	o.last.records++
}

// put adds a record. It reports false if the box is closed or full.
func (o *outbox) put(r record) bool {
	o.mu.Lock()
	ok := o.fits(maxRecordHead + len(r.payload))
	if ok {
		o.putLocked(r)
	}
	o.mu.Unlock()
	if ok {
		o.ring()
	}
	return ok
}

func (o *outbox) putLocked(r record) {
	o.stored(appendRecord(*o.room(maxRecordHead + len(r.payload)), r))
}

// ring wakes the sender.
func (o *outbox) ring() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take moves the oldest frame into f and reports whether there was one.
func (o *outbox) take(f *outFrame) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case len(o.full) > 0:
		*f = o.full[0]
		o.full[0] = outFrame{}
		o.full = o.full[1:]
		o.taken++
	case o.last.buf != nil:
		*f = o.last
		o.last = outFrame{}
		o.taken = o.number
		o.number++
	default:
		return false
	}
	o.bytes -= len(*f.buf)
	return true
}

// close ends the box and returns how many records were never taken.
func (o *outbox) close() (left int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closeLocked()
}

func (o *outbox) closeLocked() (left int) {
	for _, f := range o.full {
		left += f.records
	}
	left += o.last.records
	o.full, o.last, o.bytes, o.closed = nil, outFrame{}, 0, true
	return left
}
