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
	"github.com/rs/zerolog"
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
// checksum in it: so a file that is referred to is never written over by a
// different one, not even by another snapshot at the same index.
type snapshotDir struct {
	fs  vfs.FS
	dir string
	log zerolog.Logger

	mu    sync.Mutex
	temps uint64 // numbers the temporary files
	// files are the complete ones by path.
	files map[string]*snapshotFile
}

// snapshotFile is a complete file. It goes when another file of its group has
// been named by a Write, unless a younger snapshot is in it.
type snapshotFile struct {
	group, index uint64
	named        bool
	// writers counts those who have written this very file and may still abort.
	writers int
}

func (d *snapshotDir) path(group, index, checksum uint64) string {
	return d.fs.PathJoin(d.dir, fmt.Sprintf("%016x-%016x-%016x%s", group, index, checksum, snapshotSuffix))
}

// openSnapshotDir makes the directory if need be, checks that the files which
// groups name are there, and removes all others.
func openSnapshotDir(cfg PebbleConfig, fs vfs.FS, groups map[uint64]*group) (*snapshotDir, error) {
	d := &snapshotDir{
		fs: fs, dir: fs.PathJoin(cfg.Dir, snapshotsDir), log: cfg.Logger, files: make(map[string]*snapshotFile),
	}
	if err := makeDir(fs, d.dir); err != nil {
		return nil, fmt.Errorf("make snapshot directory: %w", err)
	}
	for id, g := range groups {
		meta := g.state.Snapshot
		if meta.Index == 0 {
			continue
		}
		if err := d.have(id, meta); err != nil {
			return nil, fmt.Errorf("%w: %w", err, ErrCorrupt)
		}
		d.files[d.path(id, meta.Index, meta.Checksum)] = &snapshotFile{group: id, index: meta.Index, named: true}
	}
	names, err := fs.List(d.dir)
	if err != nil {
		return nil, fmt.Errorf("list snapshot directory: %w", err)
	}
	for _, name := range names {
		path := fs.PathJoin(d.dir, name)
		if d.files[path] == nil && isSnapshotFile(name) {
			d.remove(path)
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
	return &snapshotWriter{dir: d, group: group, index: index, temp: temp, file: f, hash: xxhash.New()}, nil
}

// have tells whether the file of meta is there.
func (d *snapshotDir) have(group uint64, meta SnapshotMeta) error {
	path := d.path(group, meta.Index, meta.Checksum)
	info, err := d.fs.Stat(path)
	switch {
	case oserror.IsNotExist(err):
		return fmt.Errorf("snapshot %s is missing", path)
	case err != nil:
		return fmt.Errorf("snapshot: %w", err)
	case uint64(info.Size()) != meta.Size:
		return fmt.Errorf("snapshot %s has %d bytes instead of %d", path, info.Size(), meta.Size)
	}
	return nil
}

// named follows a Write that has made meta the snapshot of its group: the
// group's other files go, but for younger ones that have yet to be named. Who
// has one open can read it to its end.
func (d *snapshotDir) named(group uint64, meta SnapshotMeta) {
	present := d.path(group, meta.Index, meta.Checksum)
	d.forget(func(path string, f *snapshotFile) bool {
		if path == present {
			f.named = true
			return false
		}
		return f.group == group && (f.named || f.index <= meta.Index)
	})
}

// drop removes all files of a group.
func (d *snapshotDir) drop(group uint64) {
	d.forget(func(_ string, f *snapshotFile) bool { return f.group == group })
}

// forget removes the files that are gone.
func (d *snapshotDir) forget(gone func(path string, f *snapshotFile) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path, f := range d.files {
		if gone(path, f) {
			delete(d.files, path)
			d.remove(path)
		}
	}
}

// remove removes a file that nothing refers to. If it cannot, the file goes
// when the store is opened the next time.
func (d *snapshotDir) remove(path string) {
	if err := d.fs.Remove(path); err != nil && !oserror.IsNotExist(err) {
		d.log.Warn().Err(err).Str("file", path).Msg("unused snapshot not removed")
	}
}

// snapshotWriter writes one snapshot file.
type snapshotWriter struct {
	dir          *snapshotDir
	group, index uint64
	temp         string
	file         vfs.File // nil once closed
	path         string   // once it is complete
	hash         hash.Hash64
	size         uint64
	buf          []byte
}

func (w *snapshotWriter) Write(p []byte) (int, error) {
	_, _ = w.hash.Write(p) // never fails
	w.size += uint64(len(p))
	// A copy, as a vfs.File may change what it is given to write.
	w.buf = append(w.buf[:0], p...)
	n, err := w.file.Write(w.buf)
	if err != nil {
		return n, fmt.Errorf("write snapshot %s: %w", w.temp, err)
	}
	return n, nil
}

func (w *snapshotWriter) Close() (size, checksum uint64, err error) {
	f := w.file
	w.file = nil
	if err := f.Sync(); err != nil {
		return 0, 0, errors.Join(fmt.Errorf("sync snapshot %s: %w", w.temp, err), f.Close())
	}
	if err := f.Close(); err != nil {
		return 0, 0, fmt.Errorf("close snapshot %s: %w", w.temp, err)
	}
	checksum = w.hash.Sum64()
	path := w.dir.path(w.group, w.index, checksum)
	if err := w.dir.complete(w, path); err != nil {
		return 0, 0, err
	}
	w.path = path
	return w.size, checksum, nil
}

// complete gives the file of w its name. The same file may be there already:
// two streams can bring one snapshot.
func (d *snapshotDir) complete(w *snapshotWriter, path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fs.Rename(w.temp, path); err != nil {
		return fmt.Errorf("rename snapshot: %w", err)
	}
	if err := syncDir(d.fs, d.dir); err != nil {
		return err
	}
	f := d.files[path]
	if f == nil {
		f = &snapshotFile{group: w.group, index: w.index}
		d.files[path] = f
	}
	f.writers++
	return nil
}

func (w *snapshotWriter) Abort() {
	if w.file != nil {
		_ = w.file.Close() // what it says does not matter any more
		w.file = nil
		w.dir.remove(w.temp)
		return
	}
	if w.path == "" {
		return // Close has failed, and so has the store
	}
	w.dir.forget(func(path string, f *snapshotFile) bool {
		if path != w.path {
			return false
		}
		f.writers--
		return f.writers == 0 && !f.named
	})
	w.path = ""
}

// open opens the file of meta.
func (d *snapshotDir) open(group uint64, meta SnapshotMeta) (io.ReadCloser, error) {
	path := d.path(group, meta.Index, meta.Checksum)
	f, err := d.fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return nil, err
	}
	damaged := inDir(d.fs.PathDir(d.dir), fmt.Errorf("snapshot %s is not what was written: %w", path, ErrCorrupt))
	return newCheckedReader(f, meta, damaged), nil
}

// checkedReader reads a snapshot and says at its end whether it was whole.
type checkedReader struct {
	file    io.ReadCloser
	meta    SnapshotMeta
	damaged error // what it says if it was not
	hash    hash.Hash64
	size    uint64
}

func newCheckedReader(file io.ReadCloser, meta SnapshotMeta, damaged error) *checkedReader {
	return &checkedReader{file: file, meta: meta, damaged: damaged, hash: xxhash.New()}
}

func (r *checkedReader) Read(p []byte) (int, error) {
	n, err := r.file.Read(p)
	_, _ = r.hash.Write(p[:n]) // never fails
	r.size += uint64(n)
	if r.size > r.meta.Size || err == io.EOF && (r.size != r.meta.Size || r.hash.Sum64() != r.meta.Checksum) {
		return n, r.damaged
	}
	return n, err
}

func (r *checkedReader) Close() error { return r.file.Close() }
