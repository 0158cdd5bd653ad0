package transport

// messageQueue are the raft messages that wait for a link.
type messageQueue struct{ *outbox }

// send queues what fits and returns how many messages were dropped.
func (q messageQueue) send(msgs []GroupMessage) (dropped int) {
	q.mu.Lock()
	for i := range msgs {
		m := &msgs[i]
		size := m.Message.Size()
		need := maxRecordHead + size
		if need > maxRecordBytes || !q.fits(need) {
			dropped++
			continue
		}
		b, err := appendMessage(*q.room(need), m.Group, &m.Message, size)
		if err != nil {
			dropped++
			continue
		}
		q.stored(b)
	}
	q.mu.Unlock()
	q.ring()
	return dropped
}
