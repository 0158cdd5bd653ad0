package transport

import (
	"encoding/binary"
	"errors"
)

// Hello is how a process introduces itself on every stream.
type Hello struct {
	Cluster string // id of its cluster; empty before it knows one
	Name    string // --name
	Node    uint64 // raft id
	Store   string // random id of its data directory, made when that was new
	Boot    uint64 // random id of this process
	// Listen and PeerListen are the addresses under which others reach it.
	Listen     string
	PeerListen string
	Version    string
}

// maxHelloBytes bounds what is read of a process before it is known.
const maxHelloBytes = 16 << 10

var errBadHello = errors.New("transport: malformed hello")

// appendHello writes the ids, then each string behind its length. A later
// version may add fields at the end; decodeHello ignores what it does not know.
func appendHello(b []byte, h Hello) []byte {
	b = binary.AppendUvarint(b, h.Node)
	b = binary.AppendUvarint(b, h.Boot)
	for _, s := range [...]string{h.Cluster, h.Name, h.Store, h.Listen, h.PeerListen, h.Version} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func decodeHello(b []byte) (Hello, error) {
	var h Hello
	if len(b) > maxHelloBytes {
		return h, errBadHello
	}
	var ok bool
	for _, id := range [...]*uint64{&h.Node, &h.Boot} {
		if *id, b, ok = cutUvarint(b); !ok {
			return Hello{}, errBadHello
		}
	}
	for _, s := range [...]*string{&h.Cluster, &h.Name, &h.Store, &h.Listen, &h.PeerListen, &h.Version} {
		var field []byte
		if field, b, ok = cutBytes(b); !ok {
			return Hello{}, errBadHello
		}
		*s = string(field)
	}
	return h, nil
}
