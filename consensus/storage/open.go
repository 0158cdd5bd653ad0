package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"

	cockroacherrors "github.com/cockroachdb/errors"
	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
	"go.etcd.io/etcd/raft/v3/raftpb"
)

// Sizes of Pebble for a log: entries are written once, soon compacted away
// behind a snapshot, and rarely read.
const (
	// memTableBytes is also about the size of a WAL. It is allocated as the load
	// needs it, and once more for the one that is being flushed. Twice as much
	// would save a seventh of the CPU time of a node that writes flat out.
	memTableBytes = 32 << 20
	// maxMemTables bounds what waits to be flushed before writes are stalled.
	maxMemTables = 4
	// cacheBytes is small, as few entries are read back.
	cacheBytes = 8 << 20
	// l0Compaction and l0StopWrites let tables gather: entries lie side by side
	// in them, so that reads stay cheap, and most are deleted before it would
	// have been worth compacting them.
	l0Compaction = 8
	l0StopWrites = 1000
)

// Beside Pebble's own files there are in the data directory
const (
	// walDir has only WALs, so that errors of its fsync are known to be theirs.
	walDir       = "wal"
	snapshotsDir = "snapshots"
)

// OpenPebble opens the store in cfg.Dir, or makes it. ErrCorrupt comes when
// what is there cannot be trusted.
func OpenPebble(cfg PebbleConfig) (*Pebble, error) {
	cfg.Dir = cfg.FS.PathJoin(cfg.Dir) // cleaned, as fuse compares paths
	in := func(name string) string { return cfg.FS.PathJoin(cfg.Dir, name) }
	s := &Pebble{
		fuse:   newFuse(cfg.FS, in(walDir), in(snapshotsDir), in(markName)),
		dir:    cfg.Dir,
		groups: make(map[uint64]*group),
	}
	if err := s.lock(cfg); err != nil {
		return nil, err
	}
	// Even while it opens Pebble flushes in the background.
	if err := s.fuse.guard(func() error { return s.open(cfg) }); err != nil {
		err = errors.Join(inDir(cfg.Dir, err), s.dirLock.Close())
		if errors.Is(err, ErrCorrupt) {
			return nil, err
		}
		return nil, fmt.Errorf("open data directory %s: %w", cfg.Dir, err)
	}
	return s, nil
}

// lock makes the data directory and locks it. The lock is not Pebble's, so that
// it can be released whatever state Pebble is in.
func (s *Pebble) lock(cfg PebbleConfig) error {
	if err := makeDir(cfg.FS, cfg.Dir); err != nil {
		return fmt.Errorf("data directory %s: %w", cfg.Dir, err)
	}
	lock, err := cfg.FS.Lock(cfg.FS.PathJoin(cfg.Dir, "LOCK"))
	switch {
	case err == nil:
		s.dirLock = lock
		return nil
	// The last is how vfs.Default names a lock of the same process.
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EACCES), err.Error() == "lock held by current process":
		return fmt.Errorf("data directory %s is in use by another lockd", cfg.Dir)
	default:
		return fmt.Errorf("lock data directory %s: %w", cfg.Dir, err)
	}
}

// makeDir makes dir and its parents so that they survive a loss of power. Pebble
// syncs only what it has made itself.
func makeDir(fs vfs.FS, dir string) error {
	_, err := fs.Stat(dir)
	if !oserror.IsNotExist(err) {
		return err
	}
	parent := fs.PathDir(dir)
	if parent != dir {
		if err := makeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return syncDir(fs, parent)
}

func (s *Pebble) open(cfg PebbleConfig) (err error) {
	wal, err := newestWAL(s.fuse, s.fuse.PathJoin(cfg.Dir, walDir))
	if err != nil {
		return err
	}
	if s.db, err = openDB(cfg, s.fuse); err != nil {
		return fmt.Errorf("%w%s", err, details(err))
	}
	defer func() {
		if err == nil || s.fuse.err() != nil {
			return
		}
		err = errors.Join(err, s.db.Close())
		if s.mark != nil {
			err = errors.Join(err, s.mark.file.Close())
		}
	}()
	if err := s.load(); err != nil {
		return err
	}
	if err := s.checkMark(wal); err != nil {
		return err
	}
	s.snapshots, err = openSnapshotDir(cfg, s.fuse, s.groups)
	if err != nil {
		return err
	}
	s.batch = s.db.NewBatch()
	return s.fuse.arm(cfg.OnFatal)
}

// details are what Pebble keeps out of the text of an error, such as which WAL
// it was replaying.
func details(err error) string {
	if d := cockroacherrors.FlattenDetails(err); d != "" {
		return " (" + d + ")"
	}
	return ""
}

// newestWAL returns the path of the WAL with the highest number.
func newestWAL(fs vfs.FS, dir string) (string, error) {
	names, err := fs.List(dir)
	if err != nil && !oserror.IsNotExist(err) {
		return "", err
	}
	var newest string
	for _, name := range names {
		// Numbers have at least six digits, so a longer name is a higher one.
		if strings.HasSuffix(name, ".log") && (len(name) > len(newest) || len(name) == len(newest) && name > newest) {
			newest = name
		}
	}
	return fs.PathJoin(dir, newest), nil
}

// checkMark compares the number of the last commit that is there with that of
// the last one that was acknowledged.
func (s *Pebble) checkMark(wal string) (err error) {
	value, closer, err := s.db.Get([]byte{spaceCommit})
	switch {
	case errors.Is(err, pebble.ErrNotFound):
	case err != nil:
		return err
	case len(value) != 8:
		return errors.Join(fmt.Errorf("commit number %x: %w", value, ErrCorrupt), closer.Close())
	default:
		s.number = binary.BigEndian.Uint64(value)
		if err := closer.Close(); err != nil {
			return err
		}
	}
	var acknowledged uint64
	if s.mark, acknowledged, err = openMark(s.fuse, s.dir); err != nil {
		return err
	}
	if acknowledged > s.number {
		return fmt.Errorf("%w: %s (or the manifest): the last %d commits that were acknowledged are not there",
			ErrCorrupt, wal, acknowledged-s.number)
	}
	return s.mark.set(s.number)
}

// openDB opens Pebble, twice if its present WAL was begun in an old format: that
// of a new store is, and so is the first one of a newer Pebble.
func openDB(cfg PebbleConfig, fs *fuse) (*pebble.DB, error) {
	before, err := pebble.Peek(cfg.Dir, fs)
	if err != nil {
		return nil, err
	}
	db, err := pebble.Open(cfg.Dir, options(cfg, fs))
	if err != nil || before.Exists && before.FormatMajorVersion >= pebble.FormatNewest {
		return db, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return pebble.Open(cfg.Dir, options(cfg, fs))
}

func options(cfg PebbleConfig, fs *fuse) *pebble.Options {
	o := &pebble.Options{
		FS:                          fs,
		WALDir:                      pebble.MakeStoreRelativePath(fs, walDir), // so that the data can be moved
		Logger:                      logger{cfg.Logger, fs},
		FormatMajorVersion:          pebble.FormatNewest,
		CacheSize:                   cacheBytes,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: maxMemTables,
		L0CompactionThreshold:       l0Compaction,
		L0StopWritesThreshold:       l0StopWrites,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) {
				fs.blow(inDir(cfg.Dir, fmt.Errorf("storage: background work in %s: %w", cfg.Dir, err)))
			},
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				fs.blow(&corruption{cfg.Dir, fmt.Errorf("%s: %w", info.Path, info.Details)})
			},
		},
	}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	return o
}

// logger is Pebble's way to us.
type logger struct {
	log  zerolog.Logger
	fuse *fuse
}

func (l logger) Infof(format string, args ...any) {
	if e := l.log.Debug(); e.Enabled() {
		e.Msgf(format, args...)
	}
}

func (l logger) Errorf(format string, args ...any) {
	l.log.Error().Msgf(format, args...)
}

// Fatalf is called by Pebble when it cannot go on, and in places expects that
// the process ends. Ours ends a moment later; until then the fuse keeps the
// disk as it is.
func (l logger) Fatalf(format string, args ...any) {
	l.fuse.blow(fmt.Errorf("storage: "+format, args...))
}

// load reads the state of all groups, and verifies that their logs are whole.
func (s *Pebble) load() error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceGroup}, UpperBound: []byte{spaceGroup + 1}})
	if err != nil {
		return err
	}
	for valid := it.First(); valid; valid = it.Next() {
		if err := s.loadRecord(it); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	if err := it.Close(); err != nil {
		return err
	}
	for _, g := range s.groups {
		if err := g.state.check(); err != nil {
			return fmt.Errorf("%w: %w", err, ErrCorrupt)
		}
	}
	return nil
}

// loadRecord takes in the record at which it stands.
func (s *Pebble) loadRecord(it *pebble.Iterator) error {
	key, err := decodeGroupKey(it.Key())
	if err != nil {
		return err
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	g := s.groups[key.Group]
	if g == nil {
		g = newGroup(key.Group)
		s.groups[key.Group] = g
	}
	switch key.Kind {
	case kindHardState:
		var hs raftpb.HardState
		if err := hs.Unmarshal(value); err != nil {
			return fmt.Errorf("hard state of group %d: %w: %w", key.Group, err, ErrCorrupt)
		}
		g.state.HardState = hs
	case kindSnapshot:
		meta, err := decodeSnapshotMeta(value)
		if err != nil {
			return fmt.Errorf("group %d: %w", key.Group, err)
		}
		g.state.Snapshot = meta
	case kindCompacted:
		index, term, err := decodeCompacted(value)
		if err != nil {
			return fmt.Errorf("group %d: %w", key.Group, err)
		}
		g.state.First, g.state.Last, g.state.FirstTerm = index+1, index, term
		g.sizes.first = index + 1
	case kindEntry:
		if key.Index != g.state.Last+1 {
			return fmt.Errorf("group %d: entry %d follows entry %d: %w", key.Group, key.Index, g.state.Last, ErrCorrupt)
		}
		g.state.Last++
		g.sizes.push(len(value))
	}
	return nil
}
