package load

import (
	"testing"
	"time"
)

func TestQuantilesAreWithinOnePercent(t *testing.T) {
	var h histogram
	const n = 100_000
	for i := range n {
		h.record(time.Duration(i+1) * time.Microsecond)
	}
	for _, q := range []float64{.001, .5, .9, .99, .999, 1} {
		exact := time.Duration(q*n) * time.Microsecond
		got := h.quantile(q)
		if got < exact || got > exact+exact/100 {
			t.Errorf("quantile %v = %v, want %v", q, got, exact)
		}
	}
}

func TestEveryDurationIsInItsBucket(t *testing.T) {
	for _, d := range []time.Duration{-1, 0, 1, 127, 128, 255, 256, 257, 1000, 1 << 20, 1<<20 + 1, longest - 1, longest, 1 << 50} {
		i := bucket(d)
		if i < 0 || i >= buckets {
			t.Fatalf("%d is in bucket %d of %d", d, i, buckets)
		}
		in := min(max(d, 0), longest)
		if bucketEnd(i) < in || (i > 0 && bucketEnd(i-1) >= in) {
			t.Errorf("%d is in bucket %d, which ends at %d", d, i, bucketEnd(i))
		}
	}
}

func TestSumOfHistograms(t *testing.T) {
	var a, b histogram
	a.record(time.Millisecond)
	b.record(3 * time.Millisecond)
	b.record(3 * time.Millisecond)
	a.add(&b)
	if a.total != 3 || a.max != 3*time.Millisecond || a.quantile(.5) != 3*time.Millisecond {
		t.Errorf("total %d, max %v, median %v", a.total, a.max, a.quantile(.5))
	}
}

func TestEmptyHistogram(t *testing.T) {
	if q := new(histogram).quantile(.99); q != 0 {
		t.Errorf("quantile of nothing is %v", q)
	}
}
