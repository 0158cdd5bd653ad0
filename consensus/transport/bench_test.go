package transport

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/raft/v3/raftpb"
)

// cpuTime is what the process has used, user and system.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCall measures forwarded requests, both ends in this process. With
// one caller ns/op is the latency, with many it is the throughput.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			nodes := startNodes(b, loopback{}, &fakeHandler{}, &fakeHandler{})
			payload := make([]byte, 128)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpuTime(b)
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() {
					done := make(chan error, 1)
					for range (b.N - i + callers - 1) / callers {
						nodes[0].Call(2, payload, func(_ []byte, err error) { done <- err })
						if err := <-done; err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkMessages measures raft messages one way, each with an entry of 256
// bytes, sent in batches of one as a group's loop does.
func BenchmarkMessages(b *testing.B) {
	const window = 1024 // how far the sender may be ahead, as with raft's inflights
	tokens := make(chan struct{}, window)
	receiver := &fakeHandler{receiveMessages: func(_ uint64, msgs []GroupMessage) {
		for range msgs {
			<-tokens
		}
	}}
	nodes := startNodes(b, loopback{}, &fakeHandler{}, receiver)
	msgs := []GroupMessage{{Group: 3, Message: raftpb.Message{
		Type: raftpb.MsgApp, To: 2, From: 1, Term: 5, LogTerm: 5, Index: 1000, Commit: 990,
		Entries: []raftpb.Entry{{Term: 5, Index: 1001, Data: make([]byte, 256)}},
	}}}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for range b.N {
		tokens <- struct{}{}
		nodes[0].Send(2, msgs)
	}
	for range window {
		tokens <- struct{}{}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}
