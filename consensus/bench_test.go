package consensus

import (
	"fmt"
	"testing"
)

// BenchmarkPropose measures propose-to-apply through real sockets and disks:
// with one proposer the latency, with 256 the cost of one proposal in a batch.
func BenchmarkPropose(b *testing.B) {
	for _, nodes := range []int{1, 3} {
		for _, proposers := range []int{1, 256} {
			b.Run(fmt.Sprintf("nodes=%d/proposers=%d", nodes, proposers), func(b *testing.B) {
				c := newLiveCluster(b, nodes)
				c.mustPropose(1, "first")
				g := c.leader(1)
				data := make([]byte, 128)
				done := make(chan error, proposers)
				answer := func(_ any, err error) { done <- err }
				b.ReportAllocs()
				b.ResetTimer()
				open := 0
				for range b.N {
					if open == proposers {
						if err := <-done; err != nil {
							b.Fatal(err)
						}
						open--
					}
					g.Propose(Proposal{Data: data, Done: answer})
					open++
				}
				for ; open > 0; open-- {
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
