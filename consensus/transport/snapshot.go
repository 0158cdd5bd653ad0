package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	errStalled = errors.New("transfer stalled")
	errUnread  = errors.New("snapshot was not read to its end")
)

// sendSnapshot sends a snapshot on a connection of its own and waits until the
// receiver has it on disk.
func (p *peer) sendSnapshot(h SnapshotHeader, r io.Reader) error {
	err := p.trySnapshot(h, r)
	if err != nil {
		return fmt.Errorf("snapshot of group %d to node %d: %w", h.Group, p.node, err)
	}
	return nil
}

func (p *peer) trySnapshot(h SnapshotHeader, r io.Reader) error {
	cc, err := p.t.connect(p.addr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(p.ctx)
	stop := context.AfterFunc(ctx, cc.close)
	defer func() {
		cancel(nil)
		if stop() {
			cc.close()
		}
	}()
	stream, err := p.open(ctx, cc, methodSnapshots)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	stall := time.AfterFunc(stallTimeout, func() { cancel(errStalled) })
	defer stall.Stop()
	err = sendChunks(stream, h, r, func() { stall.Reset(stallTimeout) })
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// sendChunks sends header and content and returns what the receiver makes of
// them. progress is called whenever something has moved.
func sendChunks(stream grpc.ClientStream, h SnapshotHeader, r io.Reader, progress func()) error {
	head, err := appendSnapshotHeader(nil, h)
	if err != nil {
		return err
	}
	f := &outFrame{buf: &head}
	for {
		err := stream.SendMsg(f)
		if err == io.EOF {
			break // the receiver has ended it, and RecvMsg tells why
		}
		if err != nil {
			return plainError(err)
		}
		progress()
		chunk := framePool.Get(chunkBytes)
		n, err := io.ReadFull(r, (*chunk)[:chunkBytes])
		if n == 0 && err == io.EOF {
			if err := stream.CloseSend(); err != nil {
				return plainError(err)
			}
			break
		}
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		*chunk = (*chunk)[:n]
		f.buf = chunk
	}
	err = stream.RecvMsg(&inFrame{})
	if err == io.EOF {
		return nil
	}
	if err == nil {
		return errBadFrame
	}
	return plainError(err)
}

// serveSnapshot has the handler read a snapshot.
func (t *Transport) serveSnapshot(stream grpc.ServerStream, from Hello) error {
	var in inFrame
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	h, err := decodeSnapshotHeader(in.data)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	r := &snapshotReader{stream: stream, left: h.Size, want: h.Checksum, digest: xxhash.New()}
	err = t.handler.ReceiveSnapshot(from.Node, h, r)
	if err == nil && r.err != io.EOF {
		err = errUnread
	}
	if err != nil {
		return status.Error(codes.Aborted, err.Error())
	}
	return nil
}

// snapshotReader reads the chunks of a snapshot as one stream, and checks its
// size and checksum before it says io.EOF.
type snapshotReader struct {
	stream grpc.ServerStream
	in     inFrame
	unread []byte // of in
	left   uint64 // bytes to come
	want   uint64
	digest *xxhash.Digest
	err    error // final
}

func (r *snapshotReader) Read(b []byte) (int, error) {
	for len(r.unread) == 0 && r.err == nil {
		r.err = r.next()
	}
	if len(r.unread) == 0 {
		return 0, r.err
	}
	n := copy(b, r.unread)
	r.unread = r.unread[n:]
	return n, nil
}

// next receives a chunk.
func (r *snapshotReader) next() error {
	err := r.stream.RecvMsg(&r.in)
	switch {
	case err == io.EOF && r.left > 0:
		return fmt.Errorf("snapshot ends %d bytes early: %w", r.left, io.ErrUnexpectedEOF)
	case err == io.EOF && r.digest.Sum64() != r.want:
		return fmt.Errorf("snapshot has checksum %x, not %x as its header says", r.digest.Sum64(), r.want)
	case err == io.EOF:
		return io.EOF
	case err != nil:
		return plainError(err)
	case uint64(len(r.in.data)) > r.left:
		return errors.New("snapshot is longer than its header says")
	}
	r.left -= uint64(len(r.in.data))
	r.unread = r.in.data
	r.digest.Write(r.unread)
	return nil
}
