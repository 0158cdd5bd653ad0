package httpapi

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"sync"

	"lockd/lease"
)

// What a holder gets is id "." proof: the proof, 128 bits of an HMAC-SHA-256
// over the id, can be made only with the cluster's key. So an id may be shown
// to anybody, and knowing one gives no power over the lease.
const (
	idLength    = 32
	proofBytes  = 16
	proofLength = 22 // in base64url
	leaseLength = idLength + 1 + proofLength
)

// errNoLease comes for every secret that does not prove anything.
var errNoLease = fmt.Errorf("%w: it never existed, has ended, or its secret is not as it was given out; make a new one", lease.ErrLeaseNotFound)

// proofs makes and checks proofs with one key. It may be used by many
// goroutines.
type proofs struct{ macs sync.Pool }

func newProofs(key []byte) *proofs {
	p := new(proofs)
	// A reset MAC keeps the hashed key: keying anew would double the work.
	p.macs.New = func() any { return &mac{Hash: hmac.New(sha256.New, key)} }
	return p
}

type mac struct {
	hash.Hash
	id  lease.ID
	sum [sha256.Size]byte
}

// appendProof appends the proof for a lease.
func (p *proofs) appendProof(dst []byte, id lease.ID) []byte {
	m := p.macs.Get().(*mac)
	m.Reset()
	m.id = id
	m.Write(m.id[:])
	sum := m.Sum(m.sum[:0])
	dst = base64.RawURLEncoding.AppendEncode(dst, sum[:proofBytes])
	p.macs.Put(m)
	return dst
}

// lease is the secret of the lease called id.
func (p *proofs) lease(id lease.ID) string {
	var buf [leaseLength]byte
	secret := append(buf[:0], id.String()...)
	secret = append(secret, '.')
	return string(p.appendProof(secret, id))
}

// check finds the id in a secret. Proofs are compared as text, so that each
// lease has exactly one.
func (p *proofs) check(secret string) (lease.ID, error) {
	if len(secret) != leaseLength || secret[idLength] != '.' {
		return lease.ID{}, errNoLease
	}
	id, err := lease.ParseID(secret[:idLength])
	if err != nil {
		return lease.ID{}, errNoLease
	}
	var given, want [proofLength]byte
	copy(given[:], secret[idLength+1:])
	if subtle.ConstantTimeCompare(given[:], p.appendProof(want[:0], id)) != 1 {
		return lease.ID{}, errNoLease
	}
	return id, nil
}

// secrets is what makes and checks proofs, once the cluster has its key.
func (s *Server) secrets(ctx context.Context) (*proofs, error) {
	if p := s.proofs.Load(); p != nil {
		return p, nil
	}
	key, err := s.svc.Secret(ctx)
	if err != nil {
		return nil, err
	}
	p := newProofs(key)
	s.proofs.Store(p) // twice at once stores equal ones
	return p, nil
}
