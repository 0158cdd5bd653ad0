package transport

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

// ourGoroutines are those of gRPC and of this package, the test's own left
// out.
func ourGoroutines() (list []string) {
	buf := make([]byte, 1<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "testing.tRunner") {
			continue
		}
		if strings.Contains(g, "google.golang.org/grpc") || strings.Contains(g, "lockd/consensus/transport.") {
			list = append(list, g)
		}
	}
	return list
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	server, requests, _ := silentServer()
	server.receiveSnapshot = func(_ uint64, _ SnapshotHeader, r io.Reader) error {
		requests <- "snapshot"
		_, err := io.Copy(io.Discard, r)
		return err
	}
	nodes := startNodes(t, loopback{}, &fakeHandler{}, server, &fakeHandler{})
	nodes[0].SetPeer(9, "127.0.0.1:1") // one that is always being tried
	ended := make(chan error, 2)
	nodes[0].Call(2, []byte("wait"), func(_ []byte, err error) { ended <- err })
	source, feed := io.Pipe()
	h, data := content(1 << 20)
	nodes[0].SendSnapshot(2, h, source, func(err error) { ended <- err })
	go feed.Write(data[:10])
	receive(t, "the request", requests)
	receive(t, "the snapshot", requests)
	go func() {
		<-nodes[0].ctx.Done()
		feed.CloseWithError(errors.New("source closed"))
	}()
	for _, node := range nodes {
		node.Close()
	}
	for range 2 {
		if err := receive(t, "an end", ended); err == nil {
			t.Error("ended well")
		}
	}
	var left []string
	waitFor(t, "goroutines to end", func() bool {
		left = ourGoroutines()
		return len(left) == 0
	})
	if len(left) > 0 {
		t.Error(strings.Join(left, "\n\n"))
	}

	// Nothing is forgotten after Close.
	nodes[0].Send(2, numbered(1, 1))
	nodes[0].Call(2, nil, func(_ []byte, err error) { ended <- err })
	nodes[0].SendSnapshot(2, h, bytes.NewReader(data), func(err error) { ended <- err })
	for range 2 {
		if err := receive(t, "an end", ended); !errors.Is(err, ErrUnreachable) {
			t.Error(err)
		}
	}
	nodes[0].Close()
}

func TestCloseWithoutStart(t *testing.T) {
	node, err := New(configs(t, loopback{}, 2)[0], &fakeHandler{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	node.Call(2, nil, func(_ []byte, err error) { ended <- err })
	node.Close()
	if err := receive(t, "an end", ended); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
}
