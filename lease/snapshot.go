package lease

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/cespare/xxhash/v2"
)

// Snapshot is a state at one moment. It may be used by another goroutine while
// Apply goes on.
type Snapshot struct {
	content
}

// Snapshot returns the state as it is, in O(1).
func (s *State) Snapshot() *Snapshot {
	c := s.content
	c.namespaces = s.namespaces.Copy()
	c.leases = s.leases.Copy()
	c.locks = s.locks.Copy()
	c.places = s.places.Copy()
	c.requests = s.requests.Copy()
	c.closings = s.closings.Copy()
	c.keys = s.keys.Copy()
	s.generation++
	return &Snapshot{content: c}
}

// The stream is
//
//	magic | version | record... | 0 | number of records | checksum
//
// A record is its length as a uvarint, one byte for its kind, and its fields.
// The last two numbers have 8 bytes each; the checksum is xxhash64 over all
// before it. Equal states have equal streams. Whatever can be derived is left
// out: the places of leases, the queues, and all counts.
const (
	snapshotMagic   = "lockd-sm"
	snapshotVersion = 1
	// maxRecord bounds a record. None is larger than the command it came from
	// and some numbers.
	maxRecord = MaxCommand + 64<<10
)

// Kinds of records, in the order in which they come. A hold belongs to the lock
// before it, a key's place to the key before it.
const (
	recordHead byte = iota + 1
	recordLease
	recordLock
	recordHold
	recordRequest
	recordKey
	recordKeyPlace
)

// Encode writes the snapshot as a stream. Equal states give equal bytes.
func (s *Snapshot) Encode(w io.Writer) error {
	e := &encoder{out: bufio.NewWriterSize(w, 64<<10), hash: xxhash.New()}
	e.write(append([]byte(snapshotMagic), snapshotVersion))
	e.head(&s.content)
	s.leases.Scan(func(l *lease) bool {
		e.lease(l)
		return e.err == nil
	})
	s.locks.Scan(func(l *lock) bool {
		e.lock(l)
		for _, p := range l.holders {
			e.begin(recordHold)
			e.hold(p)
			e.end()
		}
		return e.err == nil
	})
	s.requests.Scan(func(r *request) bool {
		e.request(r)
		return e.err == nil
	})
	s.keys.Scan(func(k *key) bool {
		e.key(k)
		for _, p := range k.places {
			e.begin(recordKeyPlace)
			e.name(p.lock)
			e.hold(p)
			e.end()
		}
		return e.err == nil
	})
	return e.finish()
}

// encoder writes records. The first error of the writer stays in err.
type encoder struct {
	out    *bufio.Writer
	hash   *xxhash.Digest
	record []byte // the one being made
	length [binary.MaxVarintLen64]byte
	count  uint64
	err    error
}

func (e *encoder) write(b []byte) {
	if e.err != nil {
		return
	}
	_, e.err = e.hash.Write(b)
	if e.err == nil {
		_, e.err = e.out.Write(b)
	}
}

func (e *encoder) begin(kind byte) { e.record = append(e.record[:0], kind) }

func (e *encoder) end() {
	e.write(e.length[:binary.PutUvarint(e.length[:], uint64(len(e.record)))])
	e.write(e.record)
	e.count++
}

func (e *encoder) finish() error {
	e.write([]byte{0})
	e.write(binary.BigEndian.AppendUint64(nil, e.count))
	e.write(binary.BigEndian.AppendUint64(nil, e.hash.Sum64()))
	if e.err != nil {
		return e.err
	}
	return e.out.Flush()
}

func (e *encoder) head(c *content) {
	e.begin(recordHead)
	e.number(c.counter)
	e.number(c.arrivals)
	e.number(uint64(len(c.ranges)))
	for _, r := range c.ranges {
		e.number(r.First)
		e.number(r.Last)
	}
	e.end()
}

func (e *encoder) lease(l *lease) {
	e.begin(recordLease)
	e.raw(l.id[:])
	e.text(l.namespace)
	e.text(l.owner)
	e.number(uint64(l.ttl))
	e.number(uint64(l.lockDelay))
	e.flags(l.oneShot, l.running)
	e.pairs(l.metadata)
	e.end()
}

func (e *encoder) lock(l *lock) {
	e.begin(recordLock)
	e.name(l.name)
	e.number(l.last)
	e.flags(l.closed != nil)
	if l.closed != nil {
		e.number(l.closed.index)
		e.number(uint64(l.closed.delay))
	}
	e.end()
}

func (e *encoder) hold(p *place) {
	e.raw(p.lease[:])
	e.number(uint64(p.mode))
	e.number(uint64(p.permits))
	e.number(uint64(p.limit))
	e.number(p.token)
	e.text(p.owner)
	e.record = binary.AppendVarint(e.record, p.at)
	e.pairs(p.metadata)
}

func (e *encoder) request(r *request) {
	e.begin(recordRequest)
	e.number(r.arrival)
	e.raw(r.lease[:])
	e.number(r.attempt.Boot)
	e.number(r.attempt.Number)
	e.number(uint64(r.wait))
	e.text(r.owner)
	e.flags(r.key != nil)
	if r.key != nil {
		e.raw(r.key[:])
	}
	e.pairs(r.metadata)
	e.number(uint64(len(r.locks)))
	for _, w := range r.locks {
		e.name(w.lock)
		e.number(uint64(w.mode))
		e.number(uint64(w.permits))
		e.number(uint64(w.limit))
		e.flags(w.waits)
	}
	e.end()
}

func (e *encoder) key(k *key) {
	e.begin(recordKey)
	e.raw(k.hash[:])
	e.raw(k.body[:])
	e.number(k.home)
	e.number(uint64(k.kind))
	e.raw(k.lease[:])
	e.flags(k.pending, k.cancelled)
	e.number(k.index)
	e.number(uint64(len(k.notHeld)))
	for _, n := range k.notHeld {
		e.name(n)
	}
	e.end()
}

func (e *encoder) raw(b []byte) { e.record = append(e.record, b...) }

func (e *encoder) number(n uint64) { e.record = binary.AppendUvarint(e.record, n) }

func (e *encoder) text(t string) {
	e.number(uint64(len(t)))
	e.record = append(e.record, t...)
}

func (e *encoder) name(n lockName) {
	e.text(n.namespace)
	e.text(n.lock)
}

func (e *encoder) flags(first bool, more ...bool) {
	var b byte
	if first {
		b = 1
	}
	for i, f := range more {
		if f {
			b |= 2 << i
		}
	}
	e.record = append(e.record, b)
}

func (e *encoder) pairs(pairs []pair) {
	e.number(uint64(len(pairs)))
	for _, p := range pairs {
		e.text(p.key)
		e.text(p.value)
	}
}
