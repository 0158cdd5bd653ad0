package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// markName is the file in the data directory that mark keeps.
const markName = "acknowledged"

// mark keeps the number of the last commit that was synced in a file beside
// Pebble's. Every commit carries its number, so a store that opens at a lower
// one has lost writes that were acknowledged.
//
// Pebble alone would often take that for a torn tail and open as if nothing
// had been: its WAL counts only part of what it has synced, so with v2.1.7 one
// flipped bit could take away up to the last two thirds of a WAL of large
// batches, and any bit of the last 32 KiB does. It also does not miss a WAL
// that is gone.
//
// The file itself is never synced while the store runs, so that it costs a
// write into the page cache and no wait. It survives the end of the process;
// after a loss of power it may be some seconds old, and proves that much less.
type mark struct {
	file vfs.File
	buf  [markLen]byte
}

// markLen is that of the number and of its checksum.
const markLen = 16

// openMark returns the mark of dir, and the number in it, which is 0 if it is
// new or unreadable. An unreadable mark proves nothing either way.
func openMark(fs vfs.FS, dir string) (*mark, uint64, error) {
	f, err := fs.OpenReadWrite(fs.PathJoin(dir, markName), "lockd-mark")
	if err != nil {
		return nil, 0, fmt.Errorf("open mark: %w", err)
	}
	m := &mark{file: f}
	n, err := f.ReadAt(m.buf[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, errors.Join(fmt.Errorf("read mark: %w", err), f.Close())
	}
	number := binary.BigEndian.Uint64(m.buf[:])
	if n < markLen || binary.BigEndian.Uint64(m.buf[8:]) != xxhash.Sum64(m.buf[:8]) {
		number = 0
	}
	return m, number, nil
}

// set notes that the commit of this number was synced.
func (m *mark) set(number uint64) error {
	binary.BigEndian.PutUint64(m.buf[:], number)
	binary.BigEndian.PutUint64(m.buf[8:], xxhash.Sum64(m.buf[:8]))
	if _, err := m.file.WriteAt(m.buf[:], 0); err != nil {
		return fmt.Errorf("write mark: %w", err)
	}
	return nil
}

// close makes the mark durable.
func (m *mark) close() error {
	return errors.Join(m.file.Sync(), m.file.Close())
}
