package storage

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// corruption is the ErrCorrupt of a data directory. It says what to do.
type corruption struct {
	dir   string
	cause error
}

func (c *corruption) Error() string {
	return fmt.Sprintf("data directory %s: %v; this node's data cannot be trusted: stop it, move %s aside, "+
		"and let the node join again under a new name (a new raft id)", c.dir, c.cause, c.dir)
}

func (c *corruption) Unwrap() []error { return []error{ErrCorrupt, c.cause} }

// inDir makes err a corruption of dir if that is what it is, by our own
// judgement or Pebble's.
func inDir(dir string, err error) error {
	if err == nil || !errors.Is(err, ErrCorrupt) && !pebble.IsCorruptionError(err) {
		return err
	}
	var known *corruption
	if errors.As(err, &known) {
		return known
	}
	return &corruption{dir: dir, cause: err}
}
