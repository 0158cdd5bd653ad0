package lease

import (
	"cmp"
	"slices"
)

// queue holds the places that wait for a lock, in order of arrival.
type queue []*place

func (q *queue) push(p *place) { *q = append(*q, p) }

// find returns where the place that arrived under this number is, or would be.
func (q queue) find(arrival uint64) (int, bool) {
	// Most often it is the head that is granted.
	if len(q) > 0 && q[0].arrival == arrival {
		return 0, true
	}
	return slices.BinarySearchFunc(q, arrival, func(p *place, n uint64) int {
		return cmp.Compare(p.arrival, n)
	})
}

// remove takes out the place at i. Whichever side of it is shorter moves, so
// that taking the head costs nothing however long the queue is.
func (q *queue) remove(i int) {
	items := *q
	if i < len(items)/2 {
		copy(items[1:i+1], items[:i])
		items[0] = nil
		*q = items[1:]
		return
	}
	*q = slices.Delete(items, i, i+1)
}

// sharedBefore tells whether all places before i are shared: then a shared one
// at i delays none of them by being granted first.
func (q queue) sharedBefore(i int) bool {
	return !slices.ContainsFunc(q[:i], func(p *place) bool { return p.mode != shared })
}
