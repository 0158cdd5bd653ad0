package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/raft/v3/raftpb"
)

// What goes over a stream is a sequence of frames, one gRPC message each. A
// frame is a sequence of records:
//
//	on the message stream:   uvarint group, uvarint length, raftpb.Message
//	on the request stream:   kind byte, uvarint id, uvarint length, payload
//
// Other numbers or another order need another service name.

var (
	errBadFrame = errors.New("transport: malformed frame")
	errBadKind  = errors.New("transport: record of an unknown kind")
)

// kind says what a record of a request stream is.
type kind byte

const (
	kindRequest kind = 1 // caller: serve this, answer under its id
	kindCancel  kind = 2 // caller: the answer to id is no longer wanted
	kindReply   kind = 3 // server: the answer to id
	kindLost    kind = 4 // server: there is an answer to id, but it cannot be sent
	kindPing    kind = 5 // caller: answer with kindPong of this id
	kindPong    kind = 6
	kindRefuse  kind = 7 // caller: the first and last record, the payload says why
)

// maxRecordHead is what a record needs at most beside its payload.
const maxRecordHead = 1 + 2*binary.MaxVarintLen64

// record is one entry of a request stream's frame. payload shares memory with
// the frame.
type record struct {
	kind    kind
	id      uint64
	payload []byte
}

func appendRecord(b []byte, r record) []byte {
	b = append(b, byte(r.kind))
	b = binary.AppendUvarint(b, r.id)
	b = binary.AppendUvarint(b, uint64(len(r.payload)))
	return append(b, r.payload...)
}

// cutRecord takes the first record off a frame.
func cutRecord(b []byte) (r record, rest []byte, err error) {
	if len(b) == 0 {
		return record{}, nil, errBadFrame
	}
	r.kind = kind(b[0])
	if r.kind < kindRequest || r.kind > kindRefuse {
		return record{}, nil, fmt.Errorf("%w: %d", errBadKind, r.kind)
	}
	var ok bool
	if r.id, b, ok = cutUvarint(b[1:]); !ok {
		return record{}, nil, errBadFrame
	}
	if r.payload, b, ok = cutBytes(b); !ok {
		return record{}, nil, errBadFrame
	}
	return r, b, nil
}

// appendMessage writes a raft message whose encoded size is known.
func appendMessage(b []byte, group uint64, m *raftpb.Message, size int) ([]byte, error) {
	b = binary.AppendUvarint(b, group)
	b = binary.AppendUvarint(b, uint64(size))
	n := len(b)
	b = slices.Grow(b, size)[:n+size]
	if _, err := m.MarshalToSizedBuffer(b[n:]); err != nil {
		return nil, fmt.Errorf("encode %s of group %d: %w", m.Type, group, err)
	}
	return b, nil
}

// decodeMessages reads a whole frame. The messages share no memory with it.
func decodeMessages(b []byte) ([]GroupMessage, error) {
	count := 0
	for rest, ok := b, true; len(rest) > 0; count++ {
		if _, rest, ok = cutUvarint(rest); !ok {
			return nil, errBadFrame
		}
		if _, rest, ok = cutBytes(rest); !ok {
			return nil, errBadFrame
		}
	}
	msgs := make([]GroupMessage, count)
	for i := range msgs {
		var body []byte
		msgs[i].Group, b, _ = cutUvarint(b)
		body, b, _ = cutBytes(b)
		if err := msgs[i].Message.Unmarshal(body); err != nil {
			return nil, fmt.Errorf("decode message of group %d: %w", msgs[i].Group, err)
		}
	}
	return msgs, nil
}

func appendSnapshotHeader(b []byte, h SnapshotHeader) ([]byte, error) {
	b = binary.AppendUvarint(b, h.Size)
	b = binary.AppendUvarint(b, h.Checksum)
	return appendMessage(b, h.Group, &h.Message, h.Message.Size())
}

func decodeSnapshotHeader(b []byte) (SnapshotHeader, error) {
	var h SnapshotHeader
	var body []byte
	var ok bool
	for _, n := range [...]*uint64{&h.Size, &h.Checksum, &h.Group} {
		if *n, b, ok = cutUvarint(b); !ok {
			return SnapshotHeader{}, errBadFrame
		}
	}
	if body, _, ok = cutBytes(b); !ok {
		return SnapshotHeader{}, errBadFrame
	}
	if err := h.Message.Unmarshal(body); err != nil {
		return SnapshotHeader{}, fmt.Errorf("decode snapshot of group %d: %w", h.Group, err)
	}
	return h, nil
}

// cutUvarint takes a number off the front of b.
func cutUvarint(b []byte) (n uint64, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, nil, false
	}
	return n, b[size:], true
}

// cutBytes takes a length and as many bytes off the front of b. What it
// returns cannot be appended to in place.
func cutBytes(b []byte) (field, rest []byte, ok bool) {
	n, b, ok := cutUvarint(b)
	if !ok || n > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}
