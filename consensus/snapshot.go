package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"go.etcd.io/etcd/raft/v3"
	"go.etcd.io/etcd/raft/v3/raftpb"

	"lockd/consensus/storage"
)

// snapshotting follows when the next snapshot is due.
type snapshotting struct {
	bytes  uint64 // of entries applied since the last one
	taking bool
}

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

// snapshot takes one when the log has outgrown the last one and the bound.
func (r *replica) snapshot() {
	if r.snapshots.taking || r.held != nil || r.snapshots.bytes < max(r.opts.snapshotBytes, r.log.snapshot.Size) {
		return
	}
	r.snapshots = snapshotting{taking: true}
	r.out.take = &takeSnapshot{
		meta:  storage.SnapshotMeta{Index: r.applied, Term: r.appliedTerm, ConfState: r.conf},
		state: r.sm.Snapshot(),
	}
}

// snapshotWritten tells that the file of a snapshot is durable.
func (r *replica) snapshotWritten(now time.Duration, meta storage.SnapshotMeta) {
	if meta.Index <= r.log.snapshot.Index || r.installing {
		r.snapshots.taking = false // a newer one came from the leader
		return
	}
	compact := meta.Index - min(meta.Index, keptEntries)
	part := storage.GroupWrite{HardState: r.hard, Snapshot: &meta}
	var term uint64
	if compact >= r.log.first {
		t, err := r.log.Term(compact)
		if err != nil {
			panic(fmt.Sprintf("group %d: term of %d behind the snapshot at %d: %v", r.group, compact, meta.Index, err))
		}
		part.CompactTo, part.CompactToTerm, term = compact, t, t
	}
	r.write(now, part, false, func() {
		r.log.snapshot = meta
		r.log.compact(compact, term)
		r.snapshots.taking = false
	})
}

// restored gives the state of a snapshot that effects.install asked for.
func (r *replica) restored(now time.Duration, meta storage.SnapshotMeta, install func()) {
	rd := r.held
	r.write(now, storage.GroupWrite{HardState: r.hard, Snapshot: &meta, Install: true, Entries: rd.Entries}, true, func() {
		install()
		r.log.install(meta)
		r.log.append(rd.Entries)
		r.disk.durable = r.log.last
		r.installing = false
		r.committed = rd.CommittedEntries // raft may have some behind the snapshot already
		r.applied, r.appliedTerm, r.conf = meta.Index, meta.Term, meta.ConfState
		r.snapshots.bytes = 0
		r.proposals.jumped(meta.Index)
		for _, m := range rd.Messages {
			r.sendOrHold(m)
		}
		if !hasConfChange(r.committed) {
			r.advance()
		}
	})
}

// beginInstall stops the pipeline until the snapshot of rd is installed.
func (r *replica) beginInstall(now time.Duration, rd raft.Ready) {
	meta, err := snapshotMeta(rd.Snapshot)
	if err != nil {
		panic(fmt.Sprintf("group %d: %v", r.group, err))
	}
	r.held, r.installing = &rd, true
	r.out.install = &meta
	r.heard = now
}

// initialState makes what a new group begins with: a snapshot of the empty
// state at index 1 whose configuration names the voters, the same on each of
// them. It takes the place of raft's Bootstrap entries.
func initialState(group GroupID, voters []NodeID, sm StateMachine, store storage.Store) (storage.GroupState, error) {
	meta := storage.SnapshotMeta{Index: 1, Term: 1}
	for _, v := range voters {
		meta.ConfState.Voters = append(meta.ConfState.Voters, uint64(v))
	}
	if err := writeSnapshot(store, group, &meta, sm.Snapshot()); err != nil {
		return storage.GroupState{}, err
	}
	hard := raftpb.HardState{Term: 1, Commit: 1}
	part := storage.GroupWrite{Group: uint64(group), HardState: hard, Snapshot: &meta, Install: true}
	if err := store.Write([]storage.GroupWrite{part}, true); err != nil {
		return storage.GroupState{}, fmt.Errorf("group %d: %w", group, err)
	}
	return storage.GroupState{Group: uint64(group), HardState: hard, Snapshot: meta, First: 2, Last: 1, FirstTerm: 1}, nil
}

// writeSnapshot writes a state to its file and completes meta.
func writeSnapshot(store storage.Store, group GroupID, meta *storage.SnapshotMeta, state Snapshot) error {
	w, err := store.CreateSnapshot(uint64(group), meta.Index)
	if err != nil {
		return fmt.Errorf("group %d: snapshot at %d: %w", group, meta.Index, err)
	}
	if err := state.Encode(w); err != nil {
		w.Abort()
		return fmt.Errorf("group %d: snapshot at %d: %w", group, meta.Index, err)
	}
	if meta.Size, meta.Checksum, err = w.Close(); err != nil {
		return fmt.Errorf("group %d: snapshot at %d: %w", group, meta.Index, err)
	}
	return nil
}

// readSnapshot restores a machine from a snapshot's file.
func readSnapshot(store storage.Store, group GroupID, meta storage.SnapshotMeta, sm StateMachine) (install func(), err error) {
	f, err := store.OpenSnapshot(uint64(group), meta)
	if err != nil {
		return nil, fmt.Errorf("group %d: snapshot at %d: %w", group, meta.Index, err)
	}
	install, err = sm.Restore(f)
	if err == nil {
		_, err = io.Copy(io.Discard, f) // to the end, where size and checksum are compared
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("group %d: snapshot at %d: %w", group, meta.Index, err)
	}
	return install, nil
}
