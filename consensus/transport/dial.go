package transport

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// clientConn is a gRPC connection that is used until it first fails: who owns
// it makes the next one, so that only one place knows of back-off.
type clientConn struct {
	*grpc.ClientConn
	sockets sockets
}

func (t *Transport) connect(addr string) (*clientConn, error) {
	c := &clientConn{}
	cc, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := t.cfg.Dialer(ctx, addr)
			if err != nil {
				return nil, err
			}
			return c.sockets.add(conn)
		}),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(), // it would keep copies of what is sent
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: handshakeTimeout}),
		grpc.WithStaticStreamWindowSize(streamWindowBytes),
		grpc.WithStaticConnWindowSize(connWindowBytes),
		grpc.WithReadBufferSize(socketBufferBytes),
		grpc.WithWriteBufferSize(socketBufferBytes),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(rawCodec{}),
			grpc.MaxCallRecvMsgSize(maxFrameBytes),
			grpc.MaxCallSendMsgSize(maxFrameBytes)))
	if err != nil {
		return nil, err
	}
	c.ClientConn = cc
	return c, nil
}

// close closes the sockets first: gRPC alone would wait for seconds for a dead
// one to take its farewell.
func (c *clientConn) close() {
	c.sockets.close()
	c.ClientConn.Close()
}

// sockets are the network connections that gRPC has made for a clientConn.
type sockets struct {
	mu     sync.Mutex
	open   []net.Conn
	closed bool
}

func (s *sockets) add(c net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return nil, net.ErrClosed
	}
	s.open = append(s.open, c)
	return c, nil
}

func (s *sockets) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.open {
		c.Close()
	}
	s.open = nil
}
