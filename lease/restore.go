package lease

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cespare/xxhash/v2"

	"lockd/lease/leasepb"
)

// ErrCorrupt is what is wrong with a snapshot that Decode refuses: it was not
// written by Encode, or damaged since.
var ErrCorrupt = errors.New("corrupt snapshot")

// Decode reads a snapshot. It trusts nothing: what it returns keeps the rules
// of the package comment. It may read further than the snapshot's end.
func Decode(r io.Reader) (*State, error) {
	d := &decoder{in: bufio.NewReaderSize(r, 64<<10), hash: xxhash.New(), state: New()}
	if err := d.decode(); err != nil {
		return nil, fmt.Errorf("decode snapshot: %w", err)
	}
	return d.state, nil
}

// decoder rebuilds a state record by record.
type decoder struct {
	in    *bufio.Reader
	hash  *xxhash.Digest
	buf   []byte
	count uint64

	state  *State
	lock   *lock // the last one, to which holds belong
	key    *key  // the last one, to which places belong
	places []*place
}

func (d *decoder) decode() error {
	if err := d.open(); err != nil {
		return err
	}
	for {
		record, err := d.next()
		if err != nil {
			return err
		}
		if record == nil {
			break
		}
		if err := d.add(record); err != nil {
			return fmt.Errorf("record %d: %w", d.count, err)
		}
	}
	if err := d.close(); err != nil {
		return err
	}
	if err := d.loadPlaces(); err != nil {
		return err
	}
	if err := d.state.Check(); err != nil {
		return corrupt("%w", err)
	}
	return nil
}

// open reads what a stream begins with.
func (d *decoder) open() error {
	head := make([]byte, len(snapshotMagic)+1)
	if err := d.read(head); err != nil {
		return err
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return corrupt("not a snapshot")
	}
	if v := head[len(snapshotMagic)]; v != snapshotVersion {
		return fmt.Errorf("version %d, this program reads %d", v, snapshotVersion)
	}
	return nil
}

// next returns the next record, valid until the call after it, nil at the end.
func (d *decoder) next() ([]byte, error) {
	length, err := binary.ReadUvarint(d)
	switch {
	case err != nil:
		return nil, corrupt("length: %w", noEOF(err))
	case length == 0:
		return nil, nil
	case length > maxRecord:
		return nil, corrupt("a record of %d bytes", length)
	}
	d.count++
	d.buf = slices.Grow(d.buf[:0], int(length))[:length]
	return d.buf, d.read(d.buf)
}

// close reads what a stream ends with.
func (d *decoder) close() error {
	var number [8]byte
	if err := d.read(number[:]); err != nil {
		return err
	}
	if n := binary.BigEndian.Uint64(number[:]); n != d.count {
		return corrupt("%d records, not %d", d.count, n)
	}
	sum := d.hash.Sum64()
	if err := d.read(number[:]); err != nil {
		return err
	}
	if binary.BigEndian.Uint64(number[:]) != sum {
		return corrupt("wrong checksum")
	}
	return nil
}

// read fills b and adds it to the checksum.
func (d *decoder) read(b []byte) error {
	if _, err := io.ReadFull(d.in, b); err != nil {
		return corrupt("%w", noEOF(err))
	}
	_, err := d.hash.Write(b)
	return err
}

// ReadByte is read for binary.ReadUvarint.
func (d *decoder) ReadByte() (byte, error) {
	b, err := d.in.ReadByte()
	if err != nil {
		return 0, err
	}
	_, err = d.hash.Write([]byte{b})
	return b, err
}

func (d *decoder) add(record []byte) error {
	f := &fields{data: record[1:]}
	var err error
	switch record[0] {
	case recordHead:
		d.head(f)
	case recordLease:
		err = d.lease(f)
	case recordLock:
		err = d.addLock(f)
	case recordHold:
		err = d.hold(f)
	case recordRequest:
		err = d.request(f)
	case recordKey:
		err = d.addKey(f)
	case recordKeyPlace:
		err = d.keyPlace(f)
	default:
		err = corrupt("unknown kind %d", record[0])
	}
	switch {
	case f.short:
		return corrupt("ends too early")
	case err == nil && len(f.data) > 0:
		return corrupt("%d bytes too long", len(f.data))
	}
	return err
}

func (d *decoder) head(f *fields) {
	c := &d.state.content
	c.counter = f.number()
	c.arrivals = f.number()
	c.ranges = make(ranges, f.count(2))
	for i := range c.ranges {
		c.ranges[i] = Range{First: f.number(), Last: f.number()}
	}
}

func (d *decoder) lease(f *fields) error {
	s := d.state
	l := &lease{id: f.id(), generation: s.generation}
	l.namespace = d.namespace(f, func(n *namespace) { n.leases++ })
	l.owner = f.text()
	l.ttl = int64(f.number())
	l.lockDelay = int64(f.number())
	l.oneShot, l.running = f.flags()
	l.metadata = f.pairs()
	if _, twice := s.leases.Load(l); twice {
		return corrupt("lease %v comes twice", l.id)
	}
	return nil
}

// namespace reads the namespace of a record and counts the record there.
func (d *decoder) namespace(f *fields, count func(*namespace)) string {
	raw := f.bytes(f.number())
	if f.short {
		return ""
	}
	n := d.state.ownNamespace(string(raw))
	count(n)
	return n.name
}

func (d *decoder) addLock(f *fields) error {
	s := d.state
	l := &lock{generation: s.generation}
	l.name.namespace = d.namespace(f, func(n *namespace) { n.locks++ })
	l.name.lock = f.text()
	l.last = f.number()
	if closed, _ := f.flags(); closed {
		l.closed = &closing{index: f.number(), name: l.name, delay: int64(f.number())}
		s.closings.Set(l.closed)
	}
	if _, twice := s.locks.Load(l); twice {
		return corrupt("lock %v comes twice", l.name)
	}
	d.lock = l
	return nil
}

func (d *decoder) hold(f *fields) error {
	if d.lock == nil {
		return corrupt("a hold before any lock")
	}
	p := f.hold(d.state)
	p.lock = d.lock.name
	if f.short {
		return nil
	}
	l := d.state.lease(p.lease)
	if l == nil {
		return corrupt("lease %v of a hold is not there", p.lease)
	}
	l.holds++
	if len(d.lock.holders) == 0 {
		d.state.held++
	}
	d.lock.holders = append(d.lock.holders, p)
	d.lock.used += p.permits
	d.lock.enter(p)
	d.places = append(d.places, p)
	return nil
}

func (d *decoder) request(f *fields) error {
	s := d.state
	r := f.request()
	if f.short {
		return nil
	}
	l := s.lease(r.lease)
	if l == nil {
		return corrupt("lease %v of a request is not there", r.lease)
	}
	if _, twice := s.requests.Load(r); twice {
		return corrupt("request %d comes twice", r.arrival)
	}
	if r.partial() {
		l.partial++
	}
	for i := range r.locks {
		w := &r.locks[i]
		k := s.lock(w.lock)
		if k == nil {
			return corrupt("request %d is for %v, which is free", r.arrival, w.lock)
		}
		w.lock = k.name
		if !w.waits {
			continue
		}
		p := r.place(w)
		k.queue.push(p)
		k.enter(p)
		l.waiting++
		s.waiters++
		d.places = append(d.places, p)
	}
	return nil
}

func (d *decoder) addKey(f *fields) error {
	k := &key{hash: f.hash(), body: f.hash(), home: f.number(), kind: keyKind(f.number()), lease: f.id()}
	k.pending, k.cancelled = f.flags()
	k.index = f.number()
	k.notHeld = make([]lockName, f.count(2))
	for i := range k.notHeld {
		k.notHeld[i] = f.name()
	}
	if _, twice := d.state.keys.Load(k); twice {
		return corrupt("key %x comes twice", k.hash)
	}
	d.key = k
	return nil
}

func (d *decoder) keyPlace(f *fields) error {
	if d.key == nil {
		return corrupt("a key's place before any key")
	}
	name := f.name()
	p := f.hold(d.state)
	p.lock = name
	d.key.places = append(d.key.places, p)
	return nil
}

// loadPlaces makes the index of places, which is derived from all others.
func (d *decoder) loadPlaces() error {
	slices.SortFunc(d.places, comparePlaces)
	for _, p := range d.places {
		if _, twice := d.state.places.Load(p); twice {
			return corrupt("lease %v has two places in %v", p.lease, p.lock)
		}
	}
	return nil
}

// fields reads the fields of a record. After one that does not fit, short is
// set and all that follow are zero.
type fields struct {
	data  []byte
	short bool
}

func (f *fields) number() uint64 {
	n, size := binary.Uvarint(f.data)
	if size <= 0 {
		f.fail()
		return 0
	}
	f.data = f.data[size:]
	return n
}

func (f *fields) signed() int64 {
	n, size := binary.Varint(f.data)
	if size <= 0 {
		f.fail()
		return 0
	}
	f.data = f.data[size:]
	return n
}

// bytes returns the next n bytes, which are only lent.
func (f *fields) bytes(n uint64) []byte {
	if n > uint64(len(f.data)) {
		f.fail()
		return nil
	}
	b := f.data[:n]
	f.data = f.data[n:]
	return b
}

// count reads how many items follow, each at least of this size.
func (f *fields) count(size int) int {
	n := f.number()
	if n > uint64(len(f.data)/size) {
		f.fail()
		return 0
	}
	return int(n)
}

func (f *fields) fail() {
	f.short = true
	f.data = nil
}

func (f *fields) text() string { return string(f.bytes(f.number())) }

func (f *fields) name() lockName { return lockName{namespace: f.text(), lock: f.text()} }

func (f *fields) id() (id ID) {
	copy(id[:], f.bytes(uint64(len(id))))
	return id
}

func (f *fields) hash() (h KeyHash) {
	copy(h[:], f.bytes(uint64(len(h))))
	return h
}

func (f *fields) flags() (first, second bool) {
	b := f.bytes(1)
	if f.short {
		return false, false
	}
	return b[0]&1 != 0, b[0]&2 != 0
}

func (f *fields) small() int32 {
	n := f.number()
	if n > maxPermits {
		f.fail()
		return 0
	}
	return int32(n)
}

func (f *fields) pairs() []pair {
	n := f.count(2)
	if n == 0 {
		return nil
	}
	pairs := make([]pair, n)
	for i := range pairs {
		pairs[i] = pair{key: f.text(), value: f.text()}
	}
	return pairs
}

// hold reads a hold but for its lock's name.
func (f *fields) hold(s *State) *place {
	p := &place{
		lease:   f.id(),
		mode:    leasepb.Mode(f.small()),
		permits: f.small(),
		limit:   f.small(),
		token:   f.number(),
	}
	// Most holders are shown under their lease's owner: one copy is enough.
	owner := f.bytes(f.number())
	if l := s.lease(p.lease); l != nil && l.owner == string(owner) {
		p.owner = l.owner
	} else {
		p.owner = string(owner)
	}
	p.at = f.signed()
	p.metadata = f.pairs()
	return p
}

func (f *fields) request() *request {
	r := &request{
		arrival: f.number(),
		lease:   f.id(),
		attempt: Attempt{Boot: f.number(), Number: f.number()},
		wait:    int64(f.number()),
		owner:   f.text(),
	}
	if keyed, _ := f.flags(); keyed {
		hash := f.hash()
		r.key = &hash
	}
	r.metadata = f.pairs()
	r.locks = make([]want, f.count(6))
	for i := range r.locks {
		w := &r.locks[i]
		w.lock = f.name()
		w.mode = leasepb.Mode(f.small())
		w.permits = f.small()
		w.limit = f.small()
		w.waits, _ = f.flags()
	}
	return r
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
