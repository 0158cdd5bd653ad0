package lease

import (
	"encoding/base32"
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// ID names a lease. Its first 8 bytes are the hash of the lease's home
// namespace, so that any node can route it without a look-up; the other 12 are
// random, made by the edge before it proposes. IDs never return.
type ID [20]byte

const idAlphabet = "0123456789abcdefghijklmnopqrstuv"

var lowerEncoding = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)

// NewID makes the id of a lease whose home is namespace.
func NewID(namespace string, random [12]byte) ID {
	var id ID
	binary.BigEndian.PutUint64(id[:8], HashNamespace(namespace))
	copy(id[8:], random[:])
	return id
}

// ParseID reads what String wrote: 32 characters.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != lowerEncoding.EncodedLen(len(id)) {
		return ID{}, fmt.Errorf("lease id %q: not 32 characters long", s)
	}
	n, err := lowerEncoding.Decode(id[:], []byte(s))
	if err != nil {
		return ID{}, fmt.Errorf("lease id %q: %w", s, err)
	}
	if n != len(id) { // the decoder skips line breaks
		return ID{}, fmt.Errorf("lease id %q: not 32 characters of the alphabet", s)
	}
	return id, nil
}

// String is the id as clients see it.
func (id ID) String() string { return lowerEncoding.EncodeToString(id[:]) }

// Hash is the hash of the lease's home namespace.
func (id ID) Hash() uint64 { return binary.BigEndian.Uint64(id[:8]) }

// HashNamespace is the place of a namespace in the hash space of the ring.
func HashNamespace(namespace string) uint64 { return xxhash.Sum64String(namespace) }
