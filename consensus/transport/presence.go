package transport

import "sync"

// presence counts the request streams by which each process reaches this one,
// and tells the handler of the first and the last.
type presence struct {
	handler Handler

	// mu is held while the handler is told, so that the calls for one boot
	// come in the order of what happened.
	mu    sync.Mutex
	count map[uint64]int // by boot
}

func (p *presence) up(h Hello) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count[h.Boot]++
	if p.count[h.Boot] == 1 {
		p.handler.PeerUp(h)
	}
}

func (p *presence) down(h Hello) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count[h.Boot]--
	if p.count[h.Boot] == 0 {
		delete(p.count, h.Boot)
		p.handler.PeerDown(h)
	}
}
