package transport

import "sync"

// courier tells handlers and callers what went wrong, on a goroutine of its
// own: Send and Call are made under the locks of those who are to be told.
type courier struct {
	mu      sync.Mutex
	letters []func()
	stopped bool
	wake    chan struct{} // one token; closed by stop
	done    chan struct{} // closed when run has returned
}

func newCourier() *courier {
	return &courier{wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// post has f called soon. After stop it is called at once. What waits is
// bounded by the calls that callers have open.
func (c *courier) post(f func()) {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		f()
		return
	}
	c.letters = append(c.letters, f)
	select {
	case c.wake <- struct{}{}:
	default:
	}
	c.mu.Unlock()
}

// run delivers until stop, and then what is left.
func (c *courier) run() {
	defer close(c.done)
	for range c.wake {
		c.deliver()
	}
	c.deliver()
}

func (c *courier) deliver() {
	c.mu.Lock()
	letters := c.letters
	c.letters = nil
	c.mu.Unlock()
	for _, f := range letters {
		f()
	}
}

func (c *courier) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.stopped = true
		close(c.wake)
	}
}
