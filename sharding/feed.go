package sharding

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"lockd/httpapi"
	"lockd/lease"
	"lockd/lease/leasepb"
)

// What a feed keeps: ten minutes of events, always the last ten thousand, and
// never more bytes than a bound, so that a busy group cannot fill the memory.
const (
	feedKeepTime   = 10 * time.Minute
	feedKeepEvents = 10_000
	feedMaxBytes   = 32 << 20
	feedBlockBytes = 64 << 10
)

// feed is the recent past of a group on this node: what changed on its locks,
// in the order of the log. Every replica has one, so any node can tell it.
//
// The group's goroutine appends; any goroutine reads. Events are kept as bytes
// in blocks that only grow at their end, so a reader takes what it has seen to
// be there without holding the lock while it decodes.
type feed struct {
	mu     sync.Mutex
	blocks []*feedBlock // oldest first
	next   uint64       // number of the block that comes after the last one
	count  int
	bytes  int
	last   uint64 // index of the newest event
	// floor: events up to it are gone.
	floor uint64
	subs  map[string]map[*subscription]struct{} // by namespace
}

type feedBlock struct {
	first, last uint64        // indexes of its events
	newest      time.Duration // when its last event came
	count       int
	data        []byte
}

func newFeed() *feed { return &feed{subs: make(map[string]map[*subscription]struct{})} }

// reset forgets all events: the state was replaced by a snapshot's, whose
// events up to index nobody saw here.
func (f *feed) reset(index uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blocks, f.count, f.bytes = nil, 0, 0
	f.next++
	f.floor, f.last = index, index
	for _, subs := range f.subs {
		for s := range subs {
			f.touch(s)
		}
	}
}

// append adds an event; its index is above all before it.
func (f *feed) append(now time.Duration, e *lease.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.room(now, e)
	for s := range f.subs[e.Namespace] {
		if !s.pending {
			s.at = cursor{block: f.next - 1, offset: len(b.data)}
			f.touch(s)
		}
	}
	size := len(b.data)
	b.data = appendEvent(b.data, e)
	b.last, b.newest = e.Index, now
	b.count++
	f.count++
	f.bytes += len(b.data) - size
	f.last = e.Index
}

// room returns the last block, or a new one if it has no room for e.
func (f *feed) room(now time.Duration, e *lease.Event) *feedBlock {
	need := eventSize(e)
	if n := len(f.blocks); n > 0 {
		if b := f.blocks[n-1]; cap(b.data)-len(b.data) >= need {
			return b
		}
	}
	f.trim(now)
	b := &feedBlock{first: e.Index, data: make([]byte, 0, max(feedBlockBytes, need))}
	f.blocks = append(f.blocks, b)
	f.next++
	return b
}

// trim drops the oldest blocks that need not be kept.
func (f *feed) trim(now time.Duration) {
	for len(f.blocks) > 0 {
		b := f.blocks[0]
		if f.count-b.count < feedKeepEvents || (b.newest+feedKeepTime > now && f.bytes < feedMaxBytes) {
			return
		}
		f.count -= b.count
		f.bytes -= len(b.data)
		f.floor = b.last
		f.blocks[0] = nil
		f.blocks = f.blocks[1:]
	}
}

// touch tells a subscription that there may be something for it.
func (f *feed) touch(s *subscription) {
	s.pending = true
	select {
	case s.wake <- struct{}{}:
	default: // told already
	}
}

// cursor is a place in a feed: a block by its number, and an offset in it.
type cursor struct {
	block  uint64
	offset int
}

// subscription follows the events of one namespace. It belongs to one
// goroutine.
type subscription struct {
	feed      *feed
	namespace string
	after     uint64
	wake      chan struct{} // gets a value when next may have something

	// Guarded by feed.mu.
	at      cursor
	pending bool // there may be events at or after at
}

// subscribe follows the events of a namespace with an index above after, or
// from now on with httpapi.LastIndex.
func (f *feed) subscribe(namespace string, after uint64) *subscription {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &subscription{feed: f, namespace: namespace, after: after, wake: make(chan struct{}, 1)}
	if after == httpapi.LastIndex {
		s.after = f.last
	}
	s.at = f.find(s.after)
	s.pending = true
	if f.subs[namespace] == nil {
		f.subs[namespace] = make(map[*subscription]struct{})
	}
	f.subs[namespace][s] = struct{}{}
	return s
}

// find returns the start of the first block with an event above index.
func (f *feed) find(index uint64) cursor {
	i, _ := slices.BinarySearchFunc(f.blocks, index, func(b *feedBlock, index uint64) int {
		if b.last <= index {
			return -1
		}
		return 1
	})
	return cursor{block: f.next - uint64(len(f.blocks)-i)}
}

// close ends the subscription.
func (s *subscription) close() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	subs := s.feed.subs[s.namespace]
	delete(subs, s)
	if len(subs) == 0 {
		delete(s.feed.subs, s.namespace)
	}
}

// next returns the events that came since the last call, some of them if they
// are many, nil if there are none: then wake tells of the next. lost tells
// that older ones, which the subscription had not seen, are gone.
func (s *subscription) next() (events []*leasepb.Event, lost bool) {
	for {
		data, more, gone := s.take()
		lost = lost || gone
		for len(data) > 0 {
			rest, e := readEvent(data, s.namespace)
			data = rest
			if e != nil && e.Index > s.after {
				s.after = e.Index
				events = append(events, e)
			}
		}
		if !more || lost || len(events) > 0 {
			return events, lost
		}
	}
}

// take returns what is unread of one block. more is true while there may be
// something behind it.
func (s *subscription) take() (data []byte, more, lost bool) {
	f := s.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if !s.pending {
		return nil, false, false
	}
	oldest := f.next - uint64(len(f.blocks))
	if s.after < f.floor {
		lost = true
		s.after = f.floor
	}
	if s.at.block < oldest {
		s.at = cursor{block: oldest}
	}
	if s.at.block >= f.next {
		s.pending = false
		return nil, false, lost
	}
	b := f.blocks[s.at.block-oldest]
	data = b.data[s.at.offset:len(b.data):len(b.data)]
	if s.at.block+1 < f.next {
		s.at = cursor{block: s.at.block + 1}
		return data, true, lost
	}
	s.at.offset = len(b.data)
	s.pending = false
	return data, false, lost
}

// Events in a block: the length of what follows, the namespace, and then the
// rest, so that those of other namespaces are skipped without decoding them.

func eventSize(e *lease.Event) int {
	return len(e.Namespace) + len(e.Lock) + len(e.Lease) + len(e.Owner) + len(e.Reason) + 11*binary.MaxVarintLen64
}

func appendEvent(b []byte, e *lease.Event) []byte {
	// Four bytes of length, filled in at the end.
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = appendText(b, e.Namespace)
	b = binary.AppendUvarint(b, e.Index)
	b = append(b, byte(e.Type), byte(e.Mode))
	b = binary.AppendUvarint(b, e.Token)
	b = binary.AppendVarint(b, e.AtUnixMs)
	b = appendText(b, e.Lock)
	b = append(b, e.Lease[:]...)
	b = appendText(b, e.Owner)
	b = appendText(b, e.Reason)
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// readEvent reads the first event of b, nil if it is of another namespace, and
// returns what is behind it.
func readEvent(b []byte, namespace string) (rest []byte, e *leasepb.Event) {
	end := 4 + binary.LittleEndian.Uint32(b)
	r := eventReader(b[4:end])
	rest = b[end:]
	if string(r.text()) != namespace {
		return rest, nil
	}
	e = &leasepb.Event{Namespace: namespace, Index: r.uvarint()}
	e.Type, e.Mode = leasepb.EventType(r[0]), leasepb.Mode(r[1])
	r = r[2:]
	e.Token, e.AtUnixMs = r.uvarint(), r.varint()
	e.Lock = string(r.text())
	e.Lease = slices.Clone(r[:len(lease.ID{})])
	r = r[len(lease.ID{}):]
	e.Owner, e.Reason = string(r.text()), string(r.text())
	return rest, e
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// eventReader reads what appendEvent of this process wrote; it has no errors.
type eventReader []byte

func (r *eventReader) uvarint() uint64 {
	v, n := binary.Uvarint(*r)
	*r = (*r)[n:]
	return v
}

func (r *eventReader) varint() int64 {
	v, n := binary.Varint(*r)
	*r = (*r)[n:]
	return v
}

func (r *eventReader) text() []byte {
	n := r.uvarint()
	text := (*r)[:n]
	*r = (*r)[n:]
	return text
}
