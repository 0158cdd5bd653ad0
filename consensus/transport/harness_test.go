package transport

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/rs/zerolog"
)

// fakeHandler takes what a Transport brings; nil funcs accept and forget.
type fakeHandler struct {
	checkPeer       func(Hello) error
	receiveMessages func(from uint64, msgs []GroupMessage)
	receiveRequest  func(from Hello, payload []byte, reply func([]byte)) func()
	receiveSnapshot func(from uint64, h SnapshotHeader, r io.Reader) error
	peerUp          func(Hello)
	peerDown        func(Hello)
	unreachable     func(to uint64)
	refused         func(by uint64, reason string)
}

func (f *fakeHandler) CheckPeer(h Hello) error {
	if f.checkPeer == nil {
		return nil
	}
	return f.checkPeer(h)
}

func (f *fakeHandler) ReceiveMessages(from uint64, msgs []GroupMessage) {
	if f.receiveMessages != nil {
		f.receiveMessages(from, msgs)
	}
}

// ReceiveRequest without a func is an echo.
func (f *fakeHandler) ReceiveRequest(from Hello, payload []byte, reply func([]byte)) func() {
	if f.receiveRequest == nil {
		reply(payload)
		return nil
	}
	return f.receiveRequest(from, payload, reply)
}

func (f *fakeHandler) ReceiveSnapshot(from uint64, h SnapshotHeader, r io.Reader) error {
	if f.receiveSnapshot == nil {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	return f.receiveSnapshot(from, h, r)
}

func (f *fakeHandler) PeerUp(h Hello) {
	if f.peerUp != nil {
		f.peerUp(h)
	}
}

func (f *fakeHandler) PeerDown(h Hello) {
	if f.peerDown != nil {
		f.peerDown(h)
	}
}

func (f *fakeHandler) Unreachable(to uint64) {
	if f.unreachable != nil {
		f.unreachable(to)
	}
}

func (f *fakeHandler) Refused(by uint64, reason string) {
	if f.refused != nil {
		f.refused(by, reason)
	}
}

// onEachNetwork runs a test over real sockets and over pipes.
func onEachNetwork(t *testing.T, test func(t *testing.T, n network)) {
	t.Run("loopback", func(t *testing.T) { test(t, loopback{}) })
	t.Run("pipes", func(t *testing.T) { test(t, newPipes()) })
}

// network is what nodes of a test listen on and dial.
type network interface {
	listen(t testing.TB, node uint64) net.Listener
	dial(ctx context.Context, addr string) (net.Conn, error)
}

// loopback is real TCP. Its nodes are bound to ports of their own choice.
type loopback struct{}

func (loopback) listen(t testing.TB, _ uint64) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (loopback) dial(ctx context.Context, addr string) (net.Conn, error) {
	return dialTCP(ctx, addr)
}

// pipes is a network in memory, of which a test can cut the cables.
type pipes struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener
	cables    []net.Conn
	silent    bool // cables carry nothing more, without being broken
}

func newPipes() *pipes { return &pipes{listeners: make(map[string]*pipeListener)} }

func (p *pipes) listen(_ testing.TB, node uint64) net.Listener {
	l := &pipeListener{
		addr:  pipeAddr("node-" + string(rune('0'+node))),
		conns: make(chan net.Conn),
		done:  make(chan struct{}),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners[l.addr.String()] = l
	return l
}

func (p *pipes) dial(ctx context.Context, addr string) (net.Conn, error) {
	p.mu.Lock()
	l := p.listeners[addr]
	p.mu.Unlock()
	if l == nil {
		return nil, &net.AddrError{Err: "nobody listens", Addr: addr}
	}
	near, far := net.Pipe()
	near, far = &cable{Conn: near, net: p}, &cable{Conn: far, net: p}
	select {
	case l.conns <- far:
	case <-l.done:
		return nil, &net.AddrError{Err: "nobody listens", Addr: addr}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cables = append(p.cables, near, far)
	return near, nil
}

// cut breaks all connections that there are.
func (p *pipes) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.cables {
		c.Close()
	}
	p.cables = nil
}

// silence has all connections take what is written and deliver nothing, or
// ends that for new ones.
func (p *pipes) silence(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = on
}

type cable struct {
	net.Conn
	net *pipes
}

func (c *cable) Write(b []byte) (int, error) {
	c.net.mu.Lock()
	silent := c.net.silent
	c.net.mu.Unlock()
	if silent {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

type pipeListener struct {
	addr  pipeAddr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return l.addr }

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

// startNodes starts nodes 1, 2, … that know each other, and waits until all
// links are up.
func startNodes(t testing.TB, n network, handlers ...Handler) []*Transport {
	t.Helper()
	nodes := make([]*Transport, len(handlers))
	for i, cfg := range configs(t, n, len(handlers)) {
		nodes[i] = startNode(t, cfg, handlers[i])
	}
	for _, node := range nodes {
		waitLinks(t, node)
	}
	return nodes
}

// configs makes those of nodes 1 to count, which know each other. Their boot
// ids are their node ids.
func configs(t testing.TB, n network, count int) []Config {
	t.Helper()
	cfgs := make([]Config, count)
	peers := make(map[uint64]string)
	for i := range cfgs {
		node := uint64(i + 1)
		l := n.listen(t, node)
		cfgs[i] = Config{
			Self:     Hello{Cluster: "c", Name: "n" + string(rune('0'+node)), Node: node, Boot: node},
			Listener: l,
			Peers:    peers,
			Dialer:   n.dial,
			Logger:   zerolog.Nop(),
		}
		peers[node] = l.Addr().String()
	}
	return cfgs
}

// startNode starts one node, which is closed with the test.
func startNode(t testing.TB, cfg Config, h Handler) *Transport {
	t.Helper()
	node, err := New(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	node.Start()
	t.Cleanup(node.Close)
	return node
}
