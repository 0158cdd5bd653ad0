package transport

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// peer is a node that this one sends to. Its run goroutine makes one link
// after the other.
type peer struct {
	t      *Transport
	node   uint64
	addr   string
	log    zerolog.Logger
	ctx    context.Context // ends with the peer or the Transport
	cancel context.CancelFunc
	poke   chan struct{} // one token: try again at once

	link        atomic.Pointer[link] // nil while there is none
	unreachable atomic.Bool          // a report to the handler is under way
	heardAt     atomic.Int64         // unix nanoseconds; 0: never
	sent        atomic.Uint64
	dropped     atomic.Uint64

	mu    sync.Mutex
	hello Hello
}

func newPeer(t *Transport, node uint64, addr string) *peer {
	p := &peer{
		t:    t,
		node: node,
		addr: addr,
		log:  t.log.With().Uint64("peer", node).Str("addr", addr).Logger(),
		poke: make(chan struct{}, 1),
	}
	p.ctx, p.cancel = context.WithCancel(t.ctx)
	return p
}

// run keeps a link to the peer until the peer is removed.
func (p *peer) run() {
	pause := firstPause
	told := ""
	for p.ctx.Err() == nil {
		wasUp, err := p.runLink()
		if p.ctx.Err() != nil {
			return
		}
		if wasUp {
			pause, told = firstPause, ""
		}
		if reason := err.Error(); reason != told {
			told = reason
			p.log.Warn().Err(err).Msg("no link to peer")
		}
		if refused := (*refusedError)(nil); errors.As(err, &refused) {
			p.t.handler.Refused(p.node, refused.reason)
		}
		if p.wait(pause) {
			pause = min(2*pause, maxPause)
		} else {
			pause = firstPause
		}
	}
}

// wait lets a pause pass, shortened at random by up to a half. It reports
// false when it was cut short because the peer has shown that it lives.
func (p *peer) wait(pause time.Duration) (full bool) {
	timer := time.NewTimer(pause - rand.N(pause/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.poke:
		return false
	case <-p.ctx.Done():
		return true
	}
}

// alive notes that the peer has reached this node.
func (p *peer) alive() {
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

func (p *peer) send(msgs []GroupMessage) {
	dropped := len(msgs)
	if l := p.link.Load(); l != nil {
		dropped = l.messages.send(msgs)
	}
	p.sent.Add(uint64(len(msgs) - dropped))
	p.drop(dropped)
}

// drop counts messages that were dropped and has the handler told.
func (p *peer) drop(n int) {
	if n == 0 {
		return
	}
	p.dropped.Add(uint64(n))
	if p.unreachable.Swap(true) {
		return
	}
	p.t.courier.post(func() {
		p.unreachable.Store(false)
		p.t.handler.Unreachable(p.node)
	})
}

func (p *peer) call(payload []byte, done func([]byte, error)) (cancel func(), err error) {
	l := p.link.Load()
	if l == nil {
		return nil, ErrUnreachable
	}
	return l.calls.start(payload, done)
}

func (p *peer) heard() { p.heardAt.Store(time.Now().UnixNano()) }

func (p *peer) met(h Hello) {
	p.mu.Lock()
	p.hello = h
	p.mu.Unlock()
	p.heard()
}

func (p *peer) status() PeerStatus {
	s := PeerStatus{
		Node:      p.node,
		Addr:      p.addr,
		Connected: p.link.Load() != nil,
		Sent:      p.sent.Load(),
		Dropped:   p.dropped.Load(),
	}
	if at := p.heardAt.Load(); at != 0 {
		s.LastHeard = time.Unix(0, at)
	}
	p.mu.Lock()
	s.Hello = p.hello
	p.mu.Unlock()
	return s
}
