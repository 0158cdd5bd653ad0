package transport

import (
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// The streams. Each begins with a hello of the process that opens it, which is
// answered with a hello, or refused with codes.FailedPrecondition. The name
// carries the version of what follows.
const (
	serviceName     = "lockd.transport.v1.Peer"
	methodMessages  = "/" + serviceName + "/Messages"
	methodRequests  = "/" + serviceName + "/Requests"
	methodSnapshots = "/" + serviceName + "/Snapshot"
)

var streamDesc = grpc.StreamDesc{ClientStreams: true, ServerStreams: true}

func newServer(t *Transport) *grpc.Server {
	s := grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.MaxRecvMsgSize(maxFrameBytes),
		grpc.MaxSendMsgSize(maxFrameBytes),
		grpc.StaticStreamWindowSize(streamWindowBytes),
		grpc.StaticConnWindowSize(connWindowBytes),
		grpc.ReadBufferSize(socketBufferBytes),
		grpc.WriteBufferSize(socketBufferBytes),
		grpc.ConnectionTimeout(handshakeTimeout),
		// Our own pings end a dead link; these end what else a dead peer has
		// left, such as half a snapshot.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: maxMissed * pingEvery, Timeout: maxMissed * pingEvery}),
		grpc.WaitForHandlers(true))
	stream := func(name string, serve func(grpc.ServerStream, Hello) error) grpc.StreamDesc {
		d := streamDesc
		d.StreamName = name
		d.Handler = func(_ any, stream grpc.ServerStream) error {
			h, err := t.accept(stream)
			if err != nil {
				return err
			}
			return serve(stream, h)
		}
		return d
	}
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{
			stream("Messages", t.serveMessages),
			stream("Requests", t.serveRequests),
			stream("Snapshot", t.serveSnapshot),
		},
	}, t)
	return s
}

// accept exchanges hellos with a process that has opened a stream.
func (t *Transport) accept(stream grpc.ServerStream) (Hello, error) {
	h, err := receiveHello(stream)
	if err != nil {
		return Hello{}, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := t.handler.CheckPeer(h); err != nil {
		return Hello{}, status.Error(codes.FailedPrecondition, err.Error())
	}
	if err := sendHello(stream, t.hello()); err != nil {
		return Hello{}, err
	}
	if p := t.peer(h.Node); p != nil {
		p.met(h)
	}
	return h, nil
}

// serveMessages hands on raft messages until the stream ends.
func (t *Transport) serveMessages(stream grpc.ServerStream, from Hello) error {
	var in inFrame
	for {
		if err := stream.RecvMsg(&in); err != nil {
			return nil
		}
		msgs, err := decodeMessages(in.data)
		if err != nil {
			t.log.Error().Uint64("peer", from.Node).Err(err).Msg("malformed messages from peer")
			return status.Error(codes.InvalidArgument, err.Error())
		}
		t.handler.ReceiveMessages(from.Node, msgs)
	}
}

func sendHello(stream interface{ SendMsg(any) error }, h Hello) error {
	f := &outFrame{buf: framePool.Get(newFrameBytes)}
	*f.buf = appendHello(*f.buf, h)
	return stream.SendMsg(f)
}

func receiveHello(stream interface{ RecvMsg(any) error }) (Hello, error) {
	var in inFrame
	if err := stream.RecvMsg(&in); err != nil {
		return Hello{}, err
	}
	h, err := decodeHello(in.data)
	if err == nil && (h.Node == 0 || h.Boot == 0) {
		err = errors.New("transport: hello without ids")
	}
	return h, err
}
