package transport

// calls are the requests that were sent over a link, or wait to be, and have
// no answer yet.
type calls struct {
	*outbox // its mu guards the rest too

	waiting map[uint64]call
	last    uint64 // id of the latest call
}

type call struct {
	frame uint64 // the number of the frame that it is in
	done  func([]byte, error)
}

func newCalls() *calls {
	return &calls{outbox: newOutbox(maxRequestBytes), waiting: make(map[uint64]call)}
}

// start queues a request. An error means that done will never be called.
func (c *calls) start(payload []byte, done func([]byte, error)) (cancel func(), err error) {
	need := maxRecordHead + len(payload)
	if need > maxRecordBytes {
		return nil, ErrTooLarge
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrUnreachable
	}
	if len(c.waiting) >= maxCalls || !c.fits(need) {
		c.mu.Unlock()
		return nil, ErrOverloaded
	}
	c.last++
	id := c.last
	c.putLocked(record{kind: kindRequest, id: id, payload: payload})
	c.waiting[id] = call{frame: c.number, done: done}
	c.mu.Unlock()
	c.ring()
	return func() { c.forget(id) }, nil
}

// forget gives up a call that has no answer yet. Its cancel record goes even
// into a full box, or the other side would work on for nobody; there are no
// more of them than calls.
func (c *calls) forget(id uint64) {
	c.mu.Lock()
	_, ok := c.waiting[id]
	if ok {
		delete(c.waiting, id)
		c.putLocked(record{kind: kindCancel, id: id})
	}
	c.mu.Unlock()
	if ok {
		c.ring()
	}
}

// ping asks for a sign of life.
func (c *calls) ping() {
	c.put(record{kind: kindPing})
}

// answer ends the calls whose answers are in a frame. Answers to calls that
// were given up meanwhile are dropped.
func (c *calls) answer(frame []byte) error {
	for len(frame) > 0 {
		r, rest, err := cutRecord(frame)
		if err != nil {
			return err
		}
		frame = rest
		switch r.kind {
		case kindReply:
			if done := c.end(r.id); done != nil {
				done(r.payload, nil)
			}
		case kindLost:
			if done := c.end(r.id); done != nil {
				done(nil, ErrLinkLost)
			}
		case kindPong:
		default:
			return errBadKind
		}
	}
	return nil
}

// end takes a call out of those that wait.
func (c *calls) end(id uint64) (done func([]byte, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	done = c.waiting[id].done
	delete(c.waiting, id)
	return done
}

// close fails all that wait: what was in a frame that was taken may have
// arrived, the rest has certainly not.
func (c *calls) close() {
	c.mu.Lock()
	c.closeLocked()
	taken, waiting := c.taken, c.waiting
	c.waiting = nil
	c.mu.Unlock()
	for _, call := range waiting {
		if call.frame <= taken {
			call.done(nil, ErrLinkLost)
		} else {
			call.done(nil, ErrUnreachable)
		}
	}
}
