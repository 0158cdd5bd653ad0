// Package transport carries what nodes say to each other over gRPC: raft
// messages of all groups in batches on one stream per pair of nodes and
// direction, forwarded requests on a second stream, snapshots on streams of
// their own, so that neither delays a heartbeat.
//
// It delivers and decides nothing: messages may be lost, and callers live with
// that.
package transport

import (
	"io"

	"go.etcd.io/etcd/raft/v3/raftpb"
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
	CheckPeer(h Hello) error
	// ReceiveMessages gets a batch in the order sent. It may keep msgs.
	ReceiveMessages(from uint64, msgs []GroupMessage)
	// ReceiveRequest gets a forwarded request. reply is called at most once,
	// from any goroutine; cancel, if not nil, is called when the caller gives
	// up or its link breaks before the reply.
	ReceiveRequest(from Hello, payload []byte, reply func(payload []byte)) (cancel func())
	// ReceiveSnapshot reads a snapshot to its end and returns when it is
	// durable; the error goes to the sender.
	ReceiveSnapshot(from uint64, h SnapshotHeader, r io.Reader) error
	// PeerUp and PeerDown tell of processes whose links to this one open and
	// close (the last of several). Calls for one Boot are in order.
	PeerUp(h Hello)
	PeerDown(h Hello)
	// Unreachable tells that raft messages to a node were dropped.
	Unreachable(to uint64)
	// Refused tells that a peer refused this process, and why.
	Refused(by uint64, reason string)
}
