package sharding

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"

	"lockd/consensus"
	"lockd/lease/leasepb"
)

// virtualNodes is how many points of the ring a group has per unit of weight.
// With 128 the busiest of 16 groups gets about a fifth more than its share.
const virtualNodes = 128

// Weight is how large a part of the ring a group gets, next to the others.
type Weight struct {
	Group  consensus.GroupID
	Weight uint32
}

// Ring maps hashes of namespaces to groups by consistent hashing: a new group
// takes its part from all others, and a removed one leaves its part to them,
// while nothing moves between the rest. It never changes once made.
type Ring struct {
	weights []Weight
	hashes  []uint64 // of the virtual nodes, ascending
	groups  []consensus.GroupID
}

// NewRing places the virtual nodes of the groups. The order of weights does
// not matter.
func NewRing(weights []Weight) *Ring {
	type point struct {
		hash  uint64
		group consensus.GroupID
	}
	var points []point
	for _, w := range weights {
		for i := range virtualNodes * w.Weight {
			points = append(points, point{pointHash(w.Group, i), w.Group})
		}
	}
	// Two points with one hash are as likely as not in 2^32 of them; the lower
	// group wins then, on every node.
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.group, b.group))
	})
	points = slices.CompactFunc(points, func(a, b point) bool { return a.hash == b.hash })

	r := &Ring{weights: slices.Clone(weights)}
	for _, p := range points {
		r.hashes = append(r.hashes, p.hash)
		r.groups = append(r.groups, p.group)
	}
	return r
}

// pointHash is where virtual node i of a group stands. It must never change.
func pointHash(group consensus.GroupID, i uint32) uint64 {
	var b [12]byte
	binary.BigEndian.PutUint64(b[:8], uint64(group))
	binary.BigEndian.PutUint32(b[8:], i)
	return xxhash.Sum64(b[:])
}

// Group returns the group of a hash: that of the first virtual node at or
// after it, around the ring. It is 0, no data group, on an empty ring.
func (r *Ring) Group(hash uint64) consensus.GroupID {
	if len(r.groups) == 0 {
		return 0
	}
	i, _ := slices.BinarySearch(r.hashes, hash)
	return r.groups[i%len(r.groups)]
}

// Groups returns the groups with a place on the ring, in order.
func (r *Ring) Groups() []consensus.GroupID {
	groups := make([]consensus.GroupID, 0, len(r.weights))
	for _, w := range r.weights {
		if w.Weight > 0 {
			groups = append(groups, w.Group)
		}
	}
	slices.Sort(groups)
	return groups
}

// Ranges returns the hashes of a group as disjoint ranges in ascending order.
func (r *Ring) Ranges(group consensus.GroupID) []*leasepb.Range {
	var ranges []*leasepb.Range
	add := func(first, last uint64) {
		if n := len(ranges); n > 0 && ranges[n-1].Last+1 == first {
			ranges[n-1].Last = last
			return
		}
		ranges = append(ranges, &leasepb.Range{First: first, Last: last})
	}
	var first uint64
	for i, hash := range r.hashes {
		if r.groups[i] == group {
			add(first, hash)
		}
		first = hash + 1
	}
	// What lies behind the last virtual node belongs to the first one. If the
	// last one stands at the very end, first has come around to 0.
	if len(r.groups) > 0 && r.groups[0] == group && first != 0 {
		add(first, ^uint64(0))
	}
	return ranges
}
