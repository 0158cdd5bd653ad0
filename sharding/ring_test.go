package sharding

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"lockd/consensus"
	"lockd/lease"
)

const ringNamespaces = 100_000

func evenRing(groups int) *Ring {
	var weights []Weight
	for g := 1; g <= groups; g++ {
		weights = append(weights, Weight{Group: consensus.GroupID(g), Weight: 1})
	}
	return NewRing(weights)
}

func namespaceHashes() []uint64 {
	hashes := make([]uint64, ringNamespaces)
	for i := range hashes {
		hashes[i] = lease.HashNamespace(fmt.Sprintf("team-%d", i))
	}
	return hashes
}

func TestRingSpreadsNamespacesEvenly(t *testing.T) {
	ring, count := evenRing(16), map[consensus.GroupID]int{}
	for _, h := range namespaceHashes() {
		count[ring.Group(h)]++
	}
	mean := float64(ringNamespaces) / 16
	for g, n := range count {
		if f := float64(n) / mean; f > 1.35 || f < 0.65 {
			t.Errorf("group %d has %.2f times the mean", g, f)
		}
	}
	if len(count) != 16 {
		t.Errorf("%d groups have namespaces, want 16", len(count))
	}
}

func TestRingFollowsWeights(t *testing.T) {
	ring, heavy := NewRing([]Weight{{1, 1}, {2, 3}, {3, 0}}), 0
	for _, h := range namespaceHashes() {
		switch ring.Group(h) {
		case 2:
			heavy++
		case 3:
			t.Fatal("a group of weight 0 has a namespace")
		}
	}
	if share := float64(heavy) / ringNamespaces; math.Abs(share-0.75) > 0.08 {
		t.Errorf("weight 3 of 4 has %.2f of the namespaces", share)
	}
}

func TestAddedGroupTakesItsShareAndNothingElseMoves(t *testing.T) {
	for _, n := range []int{2, 4, 8, 16} {
		before, after, moved := evenRing(n-1), evenRing(n), 0
		for _, h := range namespaceHashes() {
			if before.Group(h) == after.Group(h) {
				continue
			}
			moved++
			if after.Group(h) != consensus.GroupID(n) {
				t.Fatalf("a namespace moved from group %d to %d, not to the new one", before.Group(h), after.Group(h))
			}
		}
		if limit := 1.3 / float64(n) * ringNamespaces; float64(moved) > limit {
			t.Errorf("%d namespaces moved to group %d of %d, want at most %.0f", moved, n, n, limit)
		}
	}
}

func TestRemovedGroupMovesOnlyItsOwn(t *testing.T) {
	before := evenRing(8)
	after := NewRing(slices.DeleteFunc(slices.Clone(before.weights), func(w Weight) bool { return w.Group == 3 }))
	for _, h := range namespaceHashes() {
		if g := before.Group(h); g != 3 && after.Group(h) != g {
			t.Fatalf("a namespace of group %d moved to %d", g, after.Group(h))
		}
	}
}

// What groups own by their logs must be what the router asks them for.
func TestRangesCoverTheRingOnce(t *testing.T) {
	ring := evenRing(5)
	owners := func(hash uint64) (groups []consensus.GroupID) {
		for _, g := range ring.Groups() {
			for _, r := range ring.Ranges(g) {
				if r.First <= hash && hash <= r.Last {
					groups = append(groups, g)
				}
			}
		}
		return groups
	}
	hashes := append(namespaceHashes()[:2000], 0, math.MaxUint64)
	for _, h := range ring.hashes {
		hashes = append(hashes, h-1, h, h+1)
	}
	for _, h := range hashes {
		if got := owners(h); len(got) != 1 || got[0] != ring.Group(h) {
			t.Fatalf("hash %x is owned by %v, routed to %d", h, got, ring.Group(h))
		}
	}
}

func TestEmptyRingHasNoGroup(t *testing.T) {
	if g := NewRing(nil).Group(1); g != 0 {
		t.Errorf("group %d", g)
	}
}

func BenchmarkRingGroup(b *testing.B) {
	ring, h := evenRing(16), uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		h = h*6364136223846793005 + 1442695040888963407
		if ring.Group(h) == 0 {
			b.Fatal("no group")
		}
	}
}
