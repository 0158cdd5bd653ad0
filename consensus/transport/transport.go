// Package transport carries what nodes say to each other over gRPC: raft
// messages of all groups in batches on one stream per pair of nodes and
// direction, forwarded requests on a second stream, snapshots on connections
// of their own, so that neither delays a heartbeat.
//
// It delivers and decides nothing: messages may be lost, and callers live with
// that.
//
// Rules kept by a Transport:
//  1. messages that arrive over one link do so in the order sent;
//  2. each Call ends once: by its answer, an error, or its cancel;
//  3. each snapshot ends once, by its done;
//  4. nothing is called from within Send, Call or SendSnapshot before Close;
//  5. after Close no goroutine of it is left, and nothing more arrives.
//
// All methods may be called from any goroutine.
package transport

import (
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/grpc"
)

// Transport is one node's end of all links to its peers.
type Transport struct {
	cfg      Config
	handler  Handler
	log      zerolog.Logger
	server   *grpc.Server
	courier  *courier
	presence *presence

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // all goroutines but gRPC's and the courier

	mu      sync.RWMutex
	self    Hello
	peers   map[uint64]*peer
	started bool
	closed  bool
}

// New returns a Transport that does nothing before Start.
func New(cfg Config, h Handler) (*Transport, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Dialer == nil {
		cfg.Dialer = dialTCP
	}
	t := &Transport{
		cfg:      cfg,
		handler:  h,
		log:      cfg.Logger,
		courier:  newCourier(),
		presence: &presence{handler: h, count: make(map[uint64]int)},
		self:     cfg.Self,
		peers:    make(map[uint64]*peer),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.server = newServer(t)
	for node, addr := range cfg.Peers {
		t.SetPeer(node, addr)
	}
	return t, nil
}

// Start accepts peers and connects to them. It may be called once.
func (t *Transport) Start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started || t.closed {
		return
	}
	t.started = true
	go t.courier.run()
	t.wg.Go(t.serve)
	for _, p := range t.peers {
		t.wg.Go(p.run)
	}
}

// serve accepts connections until Close.
func (t *Transport) serve() {
	if err := t.server.Serve(t.cfg.Listener); err != nil && t.ctx.Err() == nil {
		t.log.Error().Err(err).Msg("peer listener failed")
	}
}

// Close breaks all links, ends all calls and snapshots and waits until nothing
// of the Transport runs any more. It must not be called by a Handler.
func (t *Transport) Close() {
	t.mu.Lock()
	closed := t.closed
	t.closed = true
	started := t.started
	t.mu.Unlock()
	if closed {
		return
	}
	t.cancel()
	t.server.Stop()
	if !started {
		t.cfg.Listener.Close()
	}
	t.wg.Wait()
	t.courier.stop()
	if !started {
		t.courier.run()
	}
	<-t.courier.done
}

// SetSelf changes how this process introduces itself from now on. Streams that
// are open are left alone.
func (t *Transport) SetSelf(change func(*Hello)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.self)
}

func (t *Transport) hello() Hello {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.self
}

// SetPeer adds a peer, or changes its address, which breaks the link that
// there was.
func (t *Transport) SetPeer(node uint64, addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || node == t.self.Node {
		return
	}
	if old := t.peers[node]; old != nil {
		if old.addr == addr {
			return
		}
		old.cancel()
	}
	p := newPeer(t, node, addr)
	t.peers[node] = p
	if t.started {
		t.wg.Go(p.run)
	}
}

// RemovePeer breaks the link to a node and forgets it. The node's own links to
// this one go on while Handler.CheckPeer lets it.
func (t *Transport) RemovePeer(node uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.peers[node]; p != nil {
		p.cancel()
		delete(t.peers, node)
	}
}

// peer returns nil for a node that is not known.
func (t *Transport) peer(node uint64) *peer {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.peers[node]
}

// Send sends raft messages to a node, or drops them. It does not block, and
// keeps nothing of msgs.
func (t *Transport) Send(to uint64, msgs []GroupMessage) {
	if p := t.peer(to); p != nil {
		p.send(msgs)
		return
	}
	t.courier.post(func() { t.handler.Unreachable(to) })
}

// Call has another node serve a request. done gets the answer, or ErrUnreachable,
// ErrOverloaded or ErrTooLarge, which mean that the node has not got the
// request, or ErrLinkLost, which leaves that open. done must not block; the
// answer shares memory with others of its batch. payload is copied.
//
// cancel gives up: unless it has begun already, done is not called any more.
func (t *Transport) Call(to uint64, payload []byte, done func([]byte, error)) (cancel func()) {
	err := ErrUnreachable
	if p := t.peer(to); p != nil {
		if cancel, err = p.call(payload, done); err == nil {
			return cancel
		}
	}
	var once sync.Once
	t.courier.post(func() { once.Do(func() { done(nil, err) }) })
	return func() { once.Do(func() {}) }
}

// SendSnapshot sends a snapshot on a connection of its own. r is read until
// done is called, which it is in every case: with nil when the receiver has
// made the snapshot durable. done may block, and may close what r reads.
func (t *Transport) SendSnapshot(to uint64, h SnapshotHeader, r io.Reader, done func(error)) {
	t.mu.RLock()
	p := t.peers[to]
	ok := p != nil && t.started && !t.closed
	if ok {
		t.wg.Go(func() { done(p.sendSnapshot(h, r)) })
	}
	t.mu.RUnlock()
	if !ok {
		t.courier.post(func() { done(ErrUnreachable) })
	}
}

// PeerStatus is what is known of a peer.
type PeerStatus struct {
	Node uint64
	Addr string
	// Connected tells whether there is a link to it.
	Connected bool
	// Hello is how it last introduced itself; zero if it never did.
	Hello Hello
	// LastHeard is when anything last came from it; zero if nothing ever did.
	LastHeard time.Time
	// Sent counts the raft messages given to the link, Dropped those that were
	// not.
	Sent, Dropped uint64
}

// Peers returns all peers, in the order of their ids.
func (t *Transport) Peers() []PeerStatus {
	t.mu.RLock()
	defer t.mu.RUnlock()
	list := make([]PeerStatus, 0, len(t.peers))
	for _, node := range slices.Sorted(maps.Keys(t.peers)) {
		list = append(list, t.peers[node].status())
	}
	return list
}
