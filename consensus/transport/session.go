package transport

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var errSlowReader = errors.New("answers are not read")

// session serves the requests that a process sends over one stream.
type session struct {
	t        *Transport
	from     Hello
	answers  *outbox
	watchdog watchdog
	end      context.CancelCauseFunc

	mu      sync.Mutex
	pending map[uint64]*request // by id; nil after close
}

// request is one that has no answer yet.
type request struct {
	session *session
	id      uint64
	cancel  func() // may be nil; guarded by session.mu
}

// serveRequests returns when the stream is broken or dead. gRPC ends what
// still uses the stream when the handler has returned, not before; therefore
// sending and receiving have goroutines of their own.
func (t *Transport) serveRequests(stream grpc.ServerStream, from Hello) error {
	ctx, end := context.WithCancelCause(stream.Context())
	s := &session{t: t, from: from, answers: newOutbox(maxReplyBytes), end: end, pending: make(map[uint64]*request)}
	t.wg.Go(func() { end(sendFrames(ctx, stream, s.answers)) })
	t.wg.Go(func() {
		up, err := s.receive(stream)
		end(err)
		s.close()
		if up {
			t.presence.down(from)
		}
	})
	s.watch(ctx)
	return status.Error(codes.Aborted, context.Cause(ctx).Error())
}

// watch returns when the session is over or the other side is dead.
func (s *session) watch(ctx context.Context) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if s.watchdog.tick() {
				s.end(errSilent)
				return
			}
		}
	}
}

// receive serves what comes until the stream ends. up tells whether the
// process was taken note of.
func (s *session) receive(stream grpc.ServerStream) (up bool, err error) {
	p := s.t.peer(s.from.Node)
	var in inFrame
	for {
		in.data = nil // the requests are the handler's
		if err := stream.RecvMsg(&in); err != nil {
			return up, plainError(err)
		}
		s.watchdog.heard()
		if p != nil {
			p.heard()
		}
		for frame := in.data; len(frame) > 0; {
			var r record
			if r, frame, err = cutRecord(frame); err != nil {
				return up, err
			}
			if r.kind == kindRefuse {
				s.t.handler.Refused(s.from.Node, string(r.payload))
				return up, errPeerClosed
			}
			if !up {
				up = true
				s.t.presence.up(s.from)
				if p != nil {
					p.alive()
				}
			}
			if err := s.handle(r); err != nil {
				return up, err
			}
		}
	}
}

func (s *session) handle(r record) error {
	switch r.kind {
	case kindRequest:
		return s.serve(r)
	case kindCancel:
		if req := s.take(r.id); req != nil && req.cancel != nil {
			req.cancel()
		}
		return nil
	case kindPing:
		s.put(record{kind: kindPong, id: r.id})
		return nil
	default:
		return errBadKind
	}
}

func (s *session) serve(r record) error {
	req := &request{session: s, id: r.id}
	s.mu.Lock()
	_, twice := s.pending[r.id]
	if !twice {
		s.pending[r.id] = req
	}
	s.mu.Unlock()
	if twice {
		return errBadFrame
	}
	cancel := s.t.handler.ReceiveRequest(s.from, r.payload, req.reply)
	s.mu.Lock()
	req.cancel = cancel
	s.mu.Unlock()
	return nil
}

// reply sends the answer, unless nobody waits for it any more.
func (r *request) reply(payload []byte) {
	s := r.session
	if s.take(r.id) == nil {
		return
	}
	if maxRecordHead+len(payload) > maxRecordBytes {
		s.t.log.Error().Uint64("peer", s.from.Node).Int("bytes", len(payload)).Msg("answer too large to send")
		s.put(record{kind: kindLost, id: r.id})
		return
	}
	s.put(record{kind: kindReply, id: r.id, payload: payload})
}

// put queues an answer; a process that lets too many wait is cut off.
func (s *session) put(r record) {
	if !s.answers.put(r) {
		s.end(errSlowReader)
	}
}

// take returns a request and forgets it, nil if it has had its answer or was
// given up.
func (s *session) take(id uint64) *request {
	s.mu.Lock()
	defer s.mu.Unlock()
	req := s.pending[id]
	delete(s.pending, id)
	return req
}

// close gives up all requests that have no answer. It is called by the
// goroutine that received them.
func (s *session) close() {
	s.answers.close()
	s.mu.Lock()
	pending := s.pending
	s.pending = nil
	s.mu.Unlock()
	for _, req := range pending {
		if req.cancel != nil {
			req.cancel()
		}
	}
}
