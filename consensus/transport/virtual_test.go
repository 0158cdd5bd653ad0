package transport

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// In these tests time is virtual: it passes when everything waits.

// F3: a link on which nothing comes any more, without being broken, is noticed
// by both sides within about an election timeout.
func TestSilentLinkIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := newPipes()
		server, requests, cancels := silentServer()
		down := make(chan Hello, 1)
		server.peerDown = func(h Hello) { down <- h }
		nodes := startNodes(t, pipes, &fakeHandler{}, server)
		ended := make(chan error, 1)
		nodes[0].Call(2, []byte("wait"), func(_ []byte, err error) { ended <- err })
		<-requests
		time.Sleep(time.Minute)
		if len(ended) > 0 || len(down) > 0 {
			t.Fatal("an idle link was given up")
		}

		pipes.silence(true)
		cut := time.Now()
		if err := <-ended; !errors.Is(err, ErrLinkLost) {
			t.Error(err)
		}
		<-cancels
		if h := <-down; h.Boot != 1 {
			t.Errorf("down is %+v", h)
		}
		if took := time.Since(cut); took > 1500*time.Millisecond {
			t.Errorf("noticed after %v", took)
		}

		pipes.silence(false)
		healed := time.Now()
		waitLinks(t, nodes[0])
		if took := time.Since(healed); took > handshakeTimeout+maxPause {
			t.Errorf("healed after %v", took)
		}
	})
}

// A peer that comes back is not waited for: it dials, and is dialled at once.
func TestReturningPeerIsReachedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := newPipes()
		cfgs := configs(t, pipes, 2)
		one := startNode(t, cfgs[0], &fakeHandler{})
		time.Sleep(time.Hour)
		startNode(t, cfgs[1], &fakeHandler{})
		started := time.Now()
		waitLinks(t, one)
		if took := time.Since(started); took > 10*time.Millisecond {
			t.Errorf("reached after %v", took)
		}
	})
}

// R21: a snapshot of which nothing moves ends too.
func TestStalledSnapshotEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		nodes := startNodes(t, newPipes(), &fakeHandler{}, &fakeHandler{receiveSnapshot: func(_ uint64, _ SnapshotHeader, r io.Reader) error {
			<-gate
			_, err := io.Copy(io.Discard, r)
			if err == nil {
				t.Error("the receiver was not told")
			}
			return err
		}})
		h, data := content(connWindowBytes + 4<<20)
		done := make(chan error, 1)
		began := time.Now()
		nodes[0].SendSnapshot(2, h, bytes.NewReader(data), func(err error) { done <- err })
		if err := <-done; !errors.Is(err, errStalled) {
			t.Error(err)
		}
		if took := time.Since(began); took > stallTimeout+time.Second {
			t.Errorf("ended after %v", took)
		}
		close(gate)
	})
}
