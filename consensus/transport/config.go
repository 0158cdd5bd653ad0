package transport

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/rs/zerolog"
)

// Bounds of the queues. Each is per peer, and what does not fit is an error to
// who sends, or counted and told to Handler.Unreachable.
const (
	// frameBytes is the size from which on a frame takes no more records.
	frameBytes = 1 << 20
	// maxRecordBytes is what one message, request or answer may take: raft's
	// appends of one oversized entry, a page of a listing.
	maxRecordBytes = 16 << 20
	// maxFrameBytes is what is accepted of a peer in one piece.
	maxFrameBytes = frameBytes + maxRecordBytes
	// maxMessageBytes of raft messages may wait for a link. Raft sends again
	// what is dropped, and more would only delay the heartbeats behind it.
	maxMessageBytes = 2 * maxRecordBytes
	// maxRequestBytes of requests may wait for a link.
	maxRequestBytes = 2 * maxRecordBytes
	// maxReplyBytes of answers may wait for a link. A peer that lets more
	// gather does not read, and is cut off.
	maxReplyBytes = 4 * maxRecordBytes
	// maxCalls may wait for their answers: each waiting acquire is one.
	maxCalls = 1 << 18
	// chunkBytes is the size of the pieces of a snapshot.
	chunkBytes = 256 << 10
)

const (
	// pingEvery is how often each side of a link looks whether it lives. A
	// link without a sign of life for maxMissed such looks in a row is dead,
	// about an election timeout in all. Looks are counted instead of time, so
	// that a process that was stopped does not blame its peers for that.
	pingEvery = 250 * time.Millisecond
	maxMissed = 4
	// handshakeTimeout bounds connecting, and the exchange of hellos.
	handshakeTimeout = time.Second
	// Between two attempts to reach a peer, the first and the longest pause. A
	// peer that reaches us is tried at once.
	firstPause = 20 * time.Millisecond
	maxPause   = 500 * time.Millisecond
	// stallTimeout ends a snapshot of which nothing moves, its writing to the
	// receiver's disk at the end included.
	stallTimeout = 30 * time.Second
)

// The receiver's windows let a frame leave without waiting for it, while a
// stream that is not read cannot hold up the others of its connection.
const (
	streamWindowBytes = 4 << 20
	connWindowBytes   = 16 << 20
	socketBufferBytes = 64 << 10
)

// Config is what a Transport is made from.
type Config struct {
	// Self introduces this process.
	Self Hello
	// Listener is where peers connect; it already listens. The Transport
	// closes it.
	Listener net.Listener
	// Peers are the addresses of the others by raft id. An entry for Self is
	// ignored.
	Peers map[uint64]string
	// Dialer connects to an address; nil dials TCP.
	Dialer func(ctx context.Context, addr string) (net.Conn, error)
	Logger zerolog.Logger
}

// Validate reports all that is wrong with c.
func (c *Config) Validate() error {
	var errs []error
	if c.Self.Node == 0 {
		errs = append(errs, errors.New("transport: Self.Node is 0"))
	}
	if c.Self.Boot == 0 {
		errs = append(errs, errors.New("transport: Self.Boot is 0"))
	}
	if c.Listener == nil {
		errs = append(errs, errors.New("transport: no Listener"))
	}
	if _, ok := c.Peers[0]; ok {
		errs = append(errs, errors.New("transport: a peer has raft id 0"))
	}
	return errors.Join(errs...)
}
