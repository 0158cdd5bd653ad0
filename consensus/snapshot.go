package consensus

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/etcd/raft/v3/raftpb"

	"lockd/consensus/storage"
)

// snapshotMessage is a snapshot as raft carries it: the metadata, and in Data
// the size and checksum of the file that follows on a stream of its own.
func snapshotMessage(meta storage.SnapshotMeta) raftpb.Snapshot {
	data := make([]byte, 0, 16)
	data = binary.BigEndian.AppendUint64(data, meta.Size)
	data = binary.BigEndian.AppendUint64(data, meta.Checksum)
	return raftpb.Snapshot{
		Data:     data,
		Metadata: raftpb.SnapshotMetadata{Index: meta.Index, Term: meta.Term, ConfState: meta.ConfState},
	}
}

// snapshotMeta reads what snapshotMessage wrote.
func snapshotMeta(s raftpb.Snapshot) (storage.SnapshotMeta, error) {
	if len(s.Data) != 16 {
		return storage.SnapshotMeta{}, fmt.Errorf("snapshot message with %d bytes of data, not 16", len(s.Data))
	}
	return storage.SnapshotMeta{
		Index: s.Metadata.Index, Term: s.Metadata.Term, ConfState: s.Metadata.ConfState,
		Size: binary.BigEndian.Uint64(s.Data), Checksum: binary.BigEndian.Uint64(s.Data[8:]),
	}, nil
}
