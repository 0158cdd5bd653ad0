package transport

import (
	"io"

	"go.etcd.io/etcd/raft/v3/raftpb"
)

// GroupMessage is a raft message of one group.
type GroupMessage struct {
	Group   uint64
	Message raftpb.Message
}

// SnapshotHeader precedes the bytes of a snapshot.
type SnapshotHeader struct {
	Group    uint64
	Message  raftpb.Message // the MsgSnap that it belongs to
	Size     uint64
	Checksum uint64 // xxhash64
}

// Handler takes what arrives. Its methods are called from many goroutines and,
// but for ReceiveSnapshot, must not block.
type Handler interface {
	// CheckPeer refuses a process that must not talk to this one (another
	// cluster's, another name's data); the error's text reaches the refused.
	// It is asked for every stream, those that this process opens included.
	CheckPeer(h Hello) error
	// ReceiveMessages gets a batch in the order sent. It may keep msgs.
	ReceiveMessages(from uint64, msgs []GroupMessage)
	// ReceiveRequest gets a forwarded request; those of one link come one
	// after another, in the order sent. payload is the callee's, but shares
	// memory with the requests of its batch: copy what lives long. reply is
	// called at most once, from any goroutine, and copies what it gets;
	// cancel, if not nil, is called when the caller gives up or its link
	// breaks before the reply.
	ReceiveRequest(from Hello, payload []byte, reply func(payload []byte)) (cancel func())
	// ReceiveSnapshot reads a snapshot to its end and returns when it is
	// durable; the error goes to the sender. Instead of io.EOF, r ends with an
	// error if size or checksum are not those of h.
	ReceiveSnapshot(from uint64, h SnapshotHeader, r io.Reader) error
	// PeerUp and PeerDown tell of processes whose request streams to this one
	// open and close (the first and the last of several). Calls for one Boot
	// are in order.
	PeerUp(h Hello)
	PeerDown(h Hello)
	// Unreachable tells that raft messages to a node were dropped. Many drops
	// in a row may be told once.
	Unreachable(to uint64)
	// Refused tells that a peer refused this process, and why. It is called at
	// each attempt; they go on.
	Refused(by uint64, reason string)
}
