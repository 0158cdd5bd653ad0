package storage

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	snapshotSuffix = ".snap"
	tempSuffix     = ".tmp"

	// snapshotSyncBytes spreads the writing of a large snapshot over time: left
	// to its final fsync, the kernel would make the WAL's fsyncs wait for it.
	snapshotSyncBytes = 512 << 10
)

func isSnapshotFile(name string) bool {
	return strings.HasSuffix(name, snapshotSuffix) || strings.HasSuffix(name, tempSuffix)
}

// snapshotDir is the directory of snapshot files. A file is written under a
// temporary name, made durable, and then takes its name, which has its
// checksum in it: so a file that is referred to is never written over, not
// even by another snapshot at the same index.
type snapshotDir struct {
	fs  vfs.FS
	dir string

	mu sync.Mutex
	// temps numbers the temporary files.
	temps uint64
	// unnamed are the complete files that no Write has named yet, with their
	// groups.
	unnamed map[string]snapshotID
}

type snapshotID struct {
	group, index uint64
}

func (d *snapshotDir) path(group uint64, meta SnapshotMeta) string {
	return d.fs.PathJoin(d.dir, fmt.Sprintf("%016x-%016x-%016x%s", group, meta.Index, meta.Checksum, snapshotSuffix))
}

// openSnapshotDir makes dir if need be, checks that the files of metas are
// there, and removes all else.
func openSnapshotDir(fs vfs.FS, dir string, metas map[uint64]SnapshotMeta) (*snapshotDir, error) {
	d := &snapshotDir{fs: fs, dir: dir, unnamed: make(map[string]snapshotID)}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make snapshot directory %s: %w", dir, err)
	}
	if err := syncDir(fs, fs.PathDir(dir)); err != nil {
		return nil, err
	}
	named := make(map[string]bool)
	for group, meta := range metas {
		path := d.path(group, meta)
		info, err := fs.Stat(path)
		switch {
		case oserror.IsNotExist(err):
			return nil, fmt.Errorf("snapshot file %s is missing: %w", path, ErrCorrupt)
		case err != nil:
			return nil, fmt.Errorf("snapshot file: %w", err)
		case uint64(info.Size()) != meta.Size:
			return nil, fmt.Errorf("snapshot file %s has %d bytes instead of %d: %w", path, info.Size(), meta.Size, ErrCorrupt)
		}
		named[fs.PathBase(path)] = true
	}
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list snapshot directory %s: %w", dir, err)
	}
	for _, name := range names {
		if !named[name] && isSnapshotFile(name) {
			if err := fs.Remove(fs.PathJoin(dir, name)); err != nil {
				return nil, fmt.Errorf("remove unused snapshot: %w", err)
			}
		}
	}
	return d, nil
}

func syncDir(fs vfs.FS, dir string) error {
	f, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	if err := f.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync directory %s: %w", dir, err), f.Close())
	}
	return f.Close()
}

// create begins a snapshot file.
func (d *snapshotDir) create(group, index uint64) (*snapshotWriter, error) {
	d.mu.Lock()
	d.temps++
	temp := d.fs.PathJoin(d.dir, fmt.Sprintf("%016x-%016x-%d%s", group, index, d.temps, tempSuffix))
	d.mu.Unlock()
	f, err := d.fs.Create(temp, "lockd-snapshot")
	if err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: snapshotSyncBytes})
	return &snapshotWriter{dir: d, id: snapshotID{group, index}, temp: temp, file: f, hash: xxhash.New()}, nil
}

// have tells whether the file of meta is there.
func (d *snapshotDir) have(group uint64, meta SnapshotMeta) error {
	info, err := d.fs.Stat(d.path(group, meta))
	if err != nil {
		return fmt.Errorf("group %d: snapshot at %d: %w", group, meta.Index, err)
	}
	if uint64(info.Size()) != meta.Size {
		return fmt.Errorf("group %d: snapshot at %d has %d bytes instead of %d", group, meta.Index, info.Size(), meta.Size)
	}
	return nil
}

// replaced follows a Write that has named meta instead of old: it removes
// old's file and those that were never named and never will be. Who has one
// open can read it to its end.
func (d *snapshotDir) replaced(group uint64, old, meta SnapshotMeta) error {
	d.mu.Lock()
	delete(d.unnamed, d.path(group, meta))
	var gone []string
	for path, id := range d.unnamed {
		if id.group == group && id.index <= meta.Index {
			gone = append(gone, path)
			delete(d.unnamed, path)
		}
	}
	d.mu.Unlock()
	if old.Index != 0 && d.path(group, old) != d.path(group, meta) {
		gone = append(gone, d.path(group, old))
	}
	return d.remove(gone)
}

// drop removes all files of a group.
func (d *snapshotDir) drop(group uint64, meta SnapshotMeta) error {
	d.mu.Lock()
	var gone []string
	for path, id := range d.unnamed {
		if id.group == group {
			gone = append(gone, path)
			delete(d.unnamed, path)
		}
	}
	d.mu.Unlock()
	if meta.Index != 0 {
		gone = append(gone, d.path(group, meta))
	}
	return d.remove(gone)
}

func (d *snapshotDir) remove(paths []string) error {
	for _, path := range paths {
		if err := d.fs.Remove(path); err != nil && !oserror.IsNotExist(err) {
			return fmt.Errorf("remove snapshot: %w", err)
		}
	}
	return nil
}

// snapshotWriter writes one snapshot file.
type snapshotWriter struct {
	dir  *snapshotDir
	id   snapshotID
	temp string
	path string // once complete
	file vfs.File
	hash hash.Hash64
	size uint64
	done bool
}

func (w *snapshotWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	_, _ = w.hash.Write(p[:n]) // never fails
	w.size += uint64(n)
	if err != nil {
		return n, fmt.Errorf("write snapshot %s: %w", w.temp, err)
	}
	return n, nil
}

func (w *snapshotWriter) Close() (size, checksum uint64, err error) {
	if w.done {
		return 0, 0, fmt.Errorf("snapshot %s was closed before", w.temp)
	}
	w.done = true
	if err := w.file.Sync(); err != nil {
		return 0, 0, errors.Join(fmt.Errorf("sync snapshot %s: %w", w.temp, err), w.file.Close())
	}
	if err := w.file.Close(); err != nil {
		return 0, 0, fmt.Errorf("close snapshot %s: %w", w.temp, err)
	}
	d := w.dir
	checksum = w.hash.Sum64()
	path := d.path(w.id.group, SnapshotMeta{Index: w.id.index, Checksum: checksum})
	// Known as unnamed before it exists, so that no one takes it for old.
	d.mu.Lock()
	d.unnamed[path] = w.id
	d.mu.Unlock()
	if err := d.fs.Rename(w.temp, path); err != nil {
		return 0, 0, fmt.Errorf("rename snapshot: %w", err)
	}
	if err := syncDir(d.fs, d.dir); err != nil {
		return 0, 0, err
	}
	w.path = path
	return w.size, checksum, nil
}

func (w *snapshotWriter) Abort() {
	path := w.temp
	if w.done {
		w.dir.mu.Lock()
		_, unnamed := w.dir.unnamed[w.path]
		delete(w.dir.unnamed, w.path)
		w.dir.mu.Unlock()
		if !unnamed {
			return
		}
		path = w.path
	} else {
		w.done = true
		_ = w.file.Close() // it is thrown away
	}
	_ = w.dir.fs.Remove(path) // what stays is removed when the store opens
}

// open opens the file of meta.
func (d *snapshotDir) open(group uint64, meta SnapshotMeta) (io.ReadCloser, error) {
	path := d.path(group, meta)
	f, err := d.fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return nil, err
	}
	return &checkedReader{file: f, name: path, meta: meta, hash: xxhash.New()}, nil
}

// checkedReader reads a snapshot and says at its end whether it was whole.
type checkedReader struct {
	file io.ReadCloser
	name string
	meta SnapshotMeta
	hash hash.Hash64
	size uint64
}

func (r *checkedReader) Read(p []byte) (int, error) {
	n, err := r.file.Read(p)
	_, _ = r.hash.Write(p[:n]) // never fails
	r.size += uint64(n)
	if r.size > r.meta.Size || err == io.EOF && (r.size != r.meta.Size || r.hash.Sum64() != r.meta.Checksum) {
		return n, fmt.Errorf("snapshot %s is not what was written: %w", r.name, ErrCorrupt)
	}
	return n, err
}

func (r *checkedReader) Close() error { return r.file.Close() }
