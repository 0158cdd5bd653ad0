package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	errSilent     = errors.New("nothing heard for too long")
	errPeerClosed = errors.New("closed by the peer")
)

// refusedError comes when the peer does not want to talk to this process.
type refusedError struct{ reason string }

func (e *refusedError) Error() string { return "refused by the peer: " + e.reason }

// link is one connection to a peer with the two streams on it: messages, and
// requests with their answers. It lives until either fails.
type link struct {
	peer     *peer
	messages messageQueue
	calls    *calls
	watchdog watchdog
}

// runLink connects and carries until the link breaks, and tells why. wasUp
// tells whether it ever carried anything.
func (p *peer) runLink() (wasUp bool, err error) {
	cc, err := p.t.connect(p.addr)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancelCause(p.ctx)
	stop := context.AfterFunc(ctx, cc.close)
	defer func() {
		cancel(nil)
		if stop() {
			cc.close()
		}
	}()
	handshake := time.AfterFunc(handshakeTimeout, func() { cancel(errSilent) })
	requests, err := p.open(ctx, cc, methodRequests)
	if err != nil {
		return false, err
	}
	messages, err := p.open(ctx, cc, methodMessages)
	if err != nil {
		return false, err
	}
	handshake.Stop()

	l := &link{peer: p, messages: messageQueue{newOutbox(maxMessageBytes)}, calls: newCalls()}
	p.link.Store(l)
	p.log.Info().Msg("link to peer is up")
	var wg sync.WaitGroup
	for _, carry := range []func() error{
		func() error { return sendFrames(ctx, messages, l.messages.outbox) },
		func() error { return sendFrames(ctx, requests, l.calls.outbox) },
		func() error { return l.receiveNothing(messages) },
		func() error { return l.receiveReplies(requests) },
	} {
		wg.Go(func() { cancel(carry()) })
	}
	l.watch(ctx, cancel)
	p.link.Store(nil)
	cc.close()
	wg.Wait()
	p.drop(l.messages.close())
	l.calls.close()
	return true, context.Cause(ctx)
}

// open opens a stream and exchanges hellos.
func (p *peer) open(ctx context.Context, cc *clientConn, method string) (grpc.ClientStream, error) {
	stream, err := cc.NewStream(ctx, &streamDesc, method)
	if err == nil {
		err = p.greet(stream)
	}
	if err == nil {
		return stream, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	return nil, plainError(err)
}

// greet sends this process's hello and checks that of the other.
func (p *peer) greet(stream grpc.ClientStream) error {
	// What the server has ended, only receiving tells why.
	if err := sendHello(stream, p.t.hello()); err != nil && err != io.EOF {
		return err
	}
	h, err := receiveHello(stream)
	if status.Code(err) == codes.FailedPrecondition {
		return &refusedError{reason: status.Convert(err).Message()}
	}
	if err != nil {
		return err
	}
	if h.Node != p.node {
		err = fmt.Errorf("node %d was expected here, this is node %d, %q", p.node, h.Node, h.Name)
	} else {
		err = p.t.handler.CheckPeer(h)
	}
	if err != nil {
		refuse(stream, err)
		return fmt.Errorf("refused the peer: %w", err)
	}
	p.met(h)
	return nil
}

// refuse tells the other side why this one hangs up, and waits until it does.
func refuse(stream grpc.ClientStream, reason error) {
	f := &outFrame{buf: framePool.Get(newFrameBytes)}
	*f.buf = appendRecord(*f.buf, record{kind: kindRefuse, payload: []byte(reason.Error())})
	err := stream.SendMsg(f)
	for err == nil {
		err = stream.RecvMsg(&inFrame{})
	}
}

// watch pings the peer until the link breaks or falls silent.
func (l *link) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	l.calls.ping()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if l.watchdog.tick() {
				cancel(errSilent)
				return
			}
			l.calls.ping()
		}
	}
}

// receiveNothing waits for the end of the message stream.
func (l *link) receiveNothing(stream grpc.ClientStream) error {
	if err := stream.RecvMsg(&inFrame{}); err != nil {
		return plainError(err)
	}
	return errBadFrame
}

// receiveReplies hands out answers until the request stream ends.
func (l *link) receiveReplies(stream grpc.ClientStream) error {
	var in inFrame
	for {
		in.data = nil // the answers are the callers'
		if err := stream.RecvMsg(&in); err != nil {
			return plainError(err)
		}
		l.watchdog.heard()
		l.peer.heard()
		if err := l.calls.answer(in.data); err != nil {
			return err
		}
	}
}

// sendFrames sends what comes into the box until the stream breaks.
func sendFrames(ctx context.Context, stream interface{ SendMsg(any) error }, box *outbox) error {
	var f outFrame
	for {
		for box.take(&f) {
			if err := stream.SendMsg(&f); err != nil {
				return plainError(err)
			}
		}
		select {
		case <-box.wake:
			// Who else is about to add something gets the chance to: gRPC's cost
			// is by the frame. With nobody else to run this returns at once.
			runtime.Gosched()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// plainError strips what gRPC wraps around an error for the sake of its codes.
func plainError(err error) error {
	if err == io.EOF {
		return errPeerClosed
	}
	if s, ok := status.FromError(err); ok {
		return errors.New(s.Message())
	}
	return err
}

// watchdog counts looks at a stream that saw nothing come.
type watchdog struct {
	alive  atomic.Bool
	missed int
}

func (w *watchdog) heard() { w.alive.Store(true) }

// tick is called every pingEvery and reports whether the other side is dead.
func (w *watchdog) tick() (dead bool) {
	if w.alive.Swap(false) {
		w.missed = 0
		return false
	}
	w.missed++
	return w.missed >= maxMissed
}
