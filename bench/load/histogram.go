package load

import (
	"math/bits"
	"time"
)

const (
	// Each power of two is cut into 128 buckets: a value read back is less
	// than 1 % off.
	subBits = 7
	// longest is the last that is told apart, 18 minutes: above every wait.
	longest = 1 << 40
	buckets = (40-subBits)<<subBits + 2<<subBits
)

// histogram counts durations in log-linear buckets. The zero value is empty.
type histogram struct {
	counts [buckets]uint32
	total  uint64
	max    time.Duration
}

func (h *histogram) record(d time.Duration) {
	h.counts[bucket(d)]++
	h.total++
	h.max = max(h.max, d)
}

func (h *histogram) add(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.max = max(h.max, other.max)
}

// quantile returns the least duration that a share q of all do not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	rank := max(uint64(q*float64(h.total)+0.5), 1)
	var seen uint64
	for i, n := range h.counts {
		if seen += uint64(n); seen >= rank {
			return min(bucketEnd(i), h.max)
		}
	}
	return h.max
}

func bucket(d time.Duration) int {
	v := uint64(min(max(d, 0), longest))
	if v < 1<<(subBits+1) {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift<<subBits + int(v>>shift)
}

// bucketEnd is the greatest duration of a bucket.
func bucketEnd(i int) time.Duration {
	if i < 2<<subBits {
		return time.Duration(i)
	}
	shift := i>>subBits - 1
	mantissa := i - shift<<subBits
	return time.Duration((mantissa+1)<<shift - 1)
}
