package consensus

import (
	"time"

	"go.etcd.io/etcd/raft/v3/raftpb"

	"lockd/consensus/storage"
)

// write is what a replica wants made durable. Writes of a group are carried
// out in the order of their numbers.
type write struct {
	seq  uint64
	part storage.GroupWrite
	sync bool
}

// openWrite is a write that has not returned.
type openWrite struct {
	seq         uint64
	since       time.Duration
	first, last uint64 // of its entries; 0 without any
	vote        bool   // it changes Term or Vote
	then        func() // called when it has returned
}

// disk follows which part of a replica's log is durable, and holds back what
// must not be said before it is (R2). raft itself is told that everything is
// durable at once, so that ticks, steps and further writes go on while the
// disk works.
type disk struct {
	seq     uint64
	durable uint64 // the last index up to which the log is durable
	open    []openWrite
	held    []heldMessages
}

type heldMessages struct {
	seq      uint64 // of the write that must return first
	messages []raftpb.Message
}

// submit numbers a write.
func (d *disk) submit(now time.Duration, part storage.GroupWrite, vote bool, then func()) write {
	d.seq++
	o := openWrite{seq: d.seq, since: now, vote: vote, then: then}
	if n := len(part.Entries); n > 0 {
		o.first, o.last = part.Entries[0].Index, part.Entries[n-1].Index
		d.durable = min(d.durable, o.first-1) // what stood there is being replaced
	}
	d.open = append(d.open, o)
	return write{seq: d.seq, part: part, sync: vote || o.last > 0 || part.Snapshot != nil}
}

// wrote tells that all writes up to seq have returned, and gives back the
// messages that waited for them.
func (d *disk) wrote(seq uint64) []raftpb.Message {
	n := 0
	for ; n < len(d.open) && d.open[n].seq <= seq; n++ {
		o := d.open[n]
		if o.last > 0 {
			d.durable = o.last
		}
		if o.then != nil {
			o.then()
		}
	}
	d.open = append(d.open[:0], d.open[n:]...)
	for _, o := range d.open {
		if o.last > 0 {
			d.durable = min(d.durable, o.first-1)
		}
	}
	var free []raftpb.Message
	for len(d.held) > 0 && d.held[0].seq <= seq {
		free = append(free, d.held[0].messages...)
		d.held = d.held[1:]
	}
	return free
}

// voteOpen tells whether an unfinished write changes Term or Vote.
func (d *disk) voteOpen() bool {
	for _, o := range d.open {
		if o.vote {
			return true
		}
	}
	return false
}

// hold keeps messages until every write submitted so far has returned. It
// tells whether there is anything to wait for.
func (d *disk) hold(m raftpb.Message) bool {
	if len(d.open) == 0 {
		return false
	}
	if n := len(d.held); n > 0 && d.held[n-1].seq == d.seq {
		d.held[n-1].messages = append(d.held[n-1].messages, m)
	} else {
		d.held = append(d.held, heldMessages{seq: d.seq, messages: []raftpb.Message{m}})
	}
	return true
}

// hangs tells for how long the oldest unfinished write has been out.
func (d *disk) hangs(now time.Duration) time.Duration {
	if len(d.open) == 0 {
		return 0
	}
	return now - d.open[0].since
}
