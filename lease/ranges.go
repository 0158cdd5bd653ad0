package lease

import (
	"cmp"
	"slices"

	"lockd/lease/leasepb"
)

// Range is a part of the hash space, both ends included.
type Range struct {
	First, Last uint64
}

// ranges are the parts of the hash space that a group owns, ascending and
// apart from each other. The slice is never changed in place.
type ranges []Range

// newRanges sorts what a command gave and joins what touches.
func newRanges(from []*leasepb.Range) ranges {
	var sorted ranges
	for _, r := range from {
		sorted = append(sorted, Range{First: r.First, Last: r.Last})
	}
	slices.SortFunc(sorted, func(a, b Range) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	var joined ranges
	for _, r := range sorted {
		last := len(joined) - 1
		switch {
		case last < 0 || (joined[last].Last < r.First && joined[last].Last+1 < r.First):
			joined = append(joined, r)
		case joined[last].Last < r.Last:
			joined[last].Last = r.Last
		}
	}
	return joined
}

func (rs ranges) contain(hash uint64) bool {
	i, found := slices.BinarySearchFunc(rs, hash, func(r Range, h uint64) int {
		return cmp.Compare(r.First, h)
	})
	return found || (i > 0 && hash <= rs[i-1].Last)
}

// Owns tells whether the group owns the namespaces of this hash.
func (s *State) Owns(hash uint64) bool { return s.ranges.contain(hash) }

// Ranges returns what the group owns, in ascending order. The caller must not
// change it.
func (s *State) Ranges() []Range { return s.ranges }

// applyOwn gives a new group its ranges. A repeat, even with other ranges,
// changes nothing: after the first time only a move changes what is owned.
func (s *State) applyOwn(cmd *leasepb.Own) *leasepb.Result {
	if len(s.ranges) == 0 {
		s.ranges = newRanges(cmd.GetRanges())
	}
	return &leasepb.Result{}
}
