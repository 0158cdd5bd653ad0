package storage

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fuse is a file system that blows at the first error of a write, and lets
// nothing through after that.
//
// Pebble itself would go on: it retries a failed flush for ever, and after a
// failed fsync of its manifest it would trust the next one that succeeds,
// although the kernel has dropped the first one's pages, and delete the WAL;
// after that of a directory it panics. A node that cannot write must stop, and
// what it had acknowledged must stay as it is on the disk; that is certain when
// no operation reaches the disk any more. It also makes the error name the file.
//
// Who is told the error depends on the file. The WALs, the mark and the
// snapshots are written for callers of the store, who get it. All else is
// written by Pebble's own goroutines (and by OpenPebble, which does not wait
// for them), and these stop at the disk for good, where they hold no lock that
// others need.
type fuse struct {
	vfs.FS
	answered []string // the files and directories whose writers are told

	blown   atomic.Pointer[error]
	onBlown atomic.Pointer[func(error)]
	once    sync.Once
	done    chan struct{} // closed once it has blown
}

func newFuse(fs vfs.FS, answered ...string) *fuse {
	return &fuse{FS: fs, answered: answered, done: make(chan struct{})}
}

// arm makes the fuse report its error to f; an error from before is returned.
func (s *fuse) arm(f func(error)) error {
	s.onBlown.Store(&f)
	return s.err()
}

// err returns why the fuse has blown, or nil.
func (s *fuse) err() error {
	if p := s.blown.Load(); p != nil {
		return *p
	}
	return nil
}

// blow lets no operation pass from now on. The first error counts.
func (s *fuse) blow(err error) {
	s.once.Do(func() {
		s.blown.Store(&err)
		close(s.done)
		if f := s.onBlown.Load(); f != nil && *f != nil {
			(*f)(err)
		}
	})
}

// do runs an operation that changes the disk.
func (s *fuse) do(what, name string, op func() error) error {
	if err := s.pass(name); err != nil {
		return err
	}
	return s.checked(what, name, op())
}

// pass refuses an operation if the fuse has blown.
func (s *fuse) pass(name string) error {
	err := s.err()
	if err != nil {
		s.stop(name)
	}
	return err
}

// checked blows the fuse if err is an error.
func (s *fuse) checked(what, name string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("storage: %s %s: %w", what, name, err)
	s.blow(err)
	s.stop(name)
	return err
}

// guard runs f, which may never return once the fuse has blown: then it does
// not wait for it.
func (s *fuse) guard(f func() error) error {
	returned := make(chan error, 1)
	go func() { returned <- f() }()
	select {
	case err := <-returned:
		if s.err() != nil {
			return s.err()
		}
		return err
	case <-s.done:
		return s.err()
	}
}

// stop does not return if no one is told what became of an operation on name.
func (s *fuse) stop(name string) {
	for _, path := range s.answered {
		if name == path || s.FS.PathDir(name) == path {
			return
		}
	}
	select {}
}

func (s *fuse) file(name string, f vfs.File, err error, what string) (vfs.File, error) {
	if err := s.checked(what, name, err); err != nil {
		return nil, err
	}
	return &fusedFile{File: f, fuse: s, name: name}, nil
}

func (s *fuse) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := s.pass(name); err != nil {
		return nil, err
	}
	if strings.HasPrefix(s.PathBase(name), "marker.") {
		// Pebble syncs the directory after a marker, but not before it: on a
		// file system that keeps no order the marker could survive a loss of
		// power, and the manifest that it names not.
		if err := syncDir(s, s.PathDir(name)); err != nil {
			return nil, err
		}
	}
	f, err := s.FS.Create(name, category)
	return s.file(name, f, err, "create")
}

func (s *fuse) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := s.pass(name); err != nil {
		return nil, err
	}
	f, err := s.FS.OpenReadWrite(name, category, opts...)
	return s.file(name, f, err, "open for writing")
}

func (s *fuse) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := s.pass(newname); err != nil {
		return nil, err
	}
	f, err := s.FS.ReuseForWrite(oldname, newname, category)
	return s.file(newname, f, err, "reuse")
}

// OpenDir is for syncing the directory.
func (s *fuse) OpenDir(name string) (vfs.File, error) {
	f, err := s.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &fusedFile{File: f, fuse: s, name: name}, nil
}

func (s *fuse) Link(oldname, newname string) error {
	return s.do("link", newname, func() error { return s.FS.Link(oldname, newname) })
}

func (s *fuse) Rename(oldname, newname string) error {
	return s.do("rename", newname, func() error { return s.FS.Rename(oldname, newname) })
}

func (s *fuse) MkdirAll(dir string, perm os.FileMode) error {
	return s.do("make directory", dir, func() error { return s.FS.MkdirAll(dir, perm) })
}

// Remove does not blow the fuse: what is left over does no harm, and Pebble
// removes files that may be gone.
func (s *fuse) Remove(name string) error {
	if err := s.pass(name); err != nil {
		return err
	}
	return s.FS.Remove(name)
}

func (s *fuse) RemoveAll(name string) error {
	if err := s.pass(name); err != nil {
		return err
	}
	return s.FS.RemoveAll(name)
}

// GetDiskUsage only serves Pebble's pacing of deletions, but its error would
// be reported like one of a flush.
func (s *fuse) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	usage, err := s.FS.GetDiskUsage(path)
	if err != nil {
		return vfs.DiskUsage{}, vfs.ErrUnsupported
	}
	return usage, nil
}

// Lock does nothing: the store has locked the directory.
func (s *fuse) Lock(string) (io.Closer, error) {
	return io.NopCloser(nil), nil
}

// Unwrap gives Pebble the file system below.
func (s *fuse) Unwrap() vfs.FS { return s.FS }

var _ vfs.FS = (*fuse)(nil)

// fusedFile is a file (or a directory, to be synced) behind a fuse.
type fusedFile struct {
	vfs.File
	fuse *fuse
	name string
}

func (f *fusedFile) Write(p []byte) (int, error) {
	if err := f.fuse.pass(f.name); err != nil {
		return 0, err
	}
	n, err := f.File.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, f.fuse.checked("write", f.name, err)
}

func (f *fusedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fuse.pass(f.name); err != nil {
		return 0, err
	}
	n, err := f.File.WriteAt(p, off)
	return n, f.fuse.checked("write", f.name, err)
}

func (f *fusedFile) Sync() error {
	return f.fuse.do("fsync", f.name, f.File.Sync)
}

func (f *fusedFile) SyncData() error {
	return f.fuse.do("fsync", f.name, f.File.SyncData)
}

func (f *fusedFile) SyncTo(length int64) (fullSync bool, err error) {
	if err := f.fuse.pass(f.name); err != nil {
		return false, err
	}
	fullSync, err = f.File.SyncTo(length)
	return fullSync, f.fuse.checked("fsync", f.name, err)
}
