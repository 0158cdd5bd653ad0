package lease

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestQueue removes places in random order and compares with a plain list.
func TestQueue(t *testing.T) {
	const seed = 7
	random := rand.New(rand.NewPCG(seed, seed))
	var q queue
	var want []uint64
	next := uint64(1)
	for step := range 5000 {
		if len(want) == 0 || random.IntN(100) < 51 {
			q.push(&place{arrival: next})
			want = append(want, next)
			next += 1 + random.Uint64N(3)
		} else {
			i := random.IntN(len(want))
			at, found := q.find(want[i])
			if !found || at != i {
				t.Fatalf("seed %d, step %d: find = %d, %v, want %d", seed, step, at, found, i)
			}
			q.remove(at)
			want = slices.Delete(want, i, i+1)
		}
		if len(q) != len(want) || slices.ContainsFunc(q, func(p *place) bool { return p == nil }) {
			t.Fatalf("seed %d, step %d: queue is not what it should be", seed, step)
		}
		for i, p := range q {
			if p.arrival != want[i] {
				t.Fatalf("seed %d, step %d: %d at %d, want %d", seed, step, p.arrival, i, want[i])
			}
		}
	}
	if _, found := q.find(next); found {
		t.Error("found what never arrived")
	}
}
