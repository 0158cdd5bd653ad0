package lease

import (
	"bytes"
	"slices"

	"lockd/lease/leasepb"
)

// maxKeys bounds the keys that a group remembers. A full table refuses new
// ones: it never forgets early (R8).
const maxKeys = 1_000_000

// KeyHash stands for an Idempotency-Key, or for the body that came with it.
type KeyHash [16]byte

// keyKind says how a repeat is decided.
type keyKind uint8

const (
	keyGranted keyKind = iota + 1 // an acquire: while all that it granted stands
	keyCreated                    // a new lease: while it is alive
	keyEnded                      // a release of any kind: it stays done
)

// key is a remembered success, or one that is still waited for. It holds what a
// repeat is decided from again, never an answer. It is never changed in place.
type key struct {
	hash  KeyHash
	body  KeyHash
	home  uint64 // hash of the request's home namespace, with which it moves
	kind  keyKind
	lease ID
	// pending: its request waits. Else index names this memory of it.
	pending bool
	index   uint64
	// places are what was granted, in the order asked for, or ended.
	places    []*place
	notHeld   []lockName
	cancelled bool
}

func lessKey(a, b *key) bool { return bytes.Compare(a.hash[:], b.hash[:]) < 0 }

func (k *key) timer() TimerChange {
	return TimerChange{ID: TimerID{Kind: TimerKey, Number: k.index, Key: k.hash}, After: KeyRemembered}
}

func (s *State) key(hash KeyHash) *key {
	s.probe.key.hash = hash
	k, _ := s.keys.Get(&s.probe.key)
	return k
}

// applyKeyed applies a command with a key at most once (R8).
func (s *State) applyKeyed(cmd *leasepb.Command) *leasepb.Result {
	hash, body := KeyHash(cmd.Key.Hash), KeyHash(cmd.Key.Body)
	acquire := cmd.GetAcquire()
	k := s.key(hash)
	switch {
	case k == nil && s.keys.Len() >= maxKeys:
		return refuse(leasepb.Code_QUOTA_EXCEEDED, "too many idempotency keys are remembered; try again in two minutes")
	case k == nil:
		return s.remember(cmd, &key{hash: hash, body: body})
	case k.body != body || k.kind != kindOf(cmd):
		return refuse(leasepb.Code_IDEMPOTENCY_MISMATCH, "the idempotency key was used with another body; use a new one")
	case k.pending:
		result := s.applyAcquire(acquire, k.lease, &hash)
		result.Keyed = true
		return result
	}
	return s.replay(k)
}

// remember applies a command that comes for the first time, and keeps a
// success. Refusals are not kept.
func (s *State) remember(cmd *leasepb.Command, k *key) *leasepb.Result {
	var result *leasepb.Result
	if acquire := cmd.GetAcquire(); acquire != nil {
		result = s.applyAcquire(acquire, idOf(acquire.Lease), &k.hash)
	} else {
		result = s.dispatch(cmd)
	}
	k.kind, k.home, k.lease = kindOf(cmd), homeOf(cmd), leaseOf(cmd)
	switch result.Code {
	case leasepb.Code_QUEUED:
		k.pending = true
		s.keys.Set(k)
	case leasepb.Code_OK:
		k.cancelled = result.Cancelled
		for _, ref := range result.NotHeld {
			k.notHeld = append(k.notHeld, nameOf(ref))
		}
		if k.kind == keyGranted {
			k.places = slices.Clone(s.turn.granted)
		} else {
			k.places = slices.Clone(s.turn.freed)
		}
		s.keep(k)
	default:
		return result
	}
	result.Keyed = true
	return result
}

// keep remembers a success from now on.
func (s *State) keep(k *key) {
	k.index = s.next()
	s.keys.Set(k)
	s.start(k.timer())
}

// finishKey turns a pending key into a remembered one: its request was granted.
func (s *State) finishKey(hash KeyHash, granted []*place) {
	k := s.key(hash)
	if k == nil || !k.pending {
		s.broken("key %x does not wait", hash)
	}
	done := *k
	done.pending = false
	done.places = granted
	s.keep(&done)
}

// dropKey forgets a pending key: its request was not granted.
func (s *State) dropKey(hash KeyHash) {
	if _, deleted := s.keys.Delete(&key{hash: hash}); !deleted {
		s.broken("key %x does not wait", hash)
	}
}

// replay decides a remembered success again: it is repeated only while what it
// gave still stands.
func (s *State) replay(k *key) *leasepb.Result {
	if k.kind == keyEnded {
		result := resultReleased(k.places)
		result.NotHeld = refs(k.notHeld)
		result.Cancelled = k.cancelled
		result.Keyed = true
		return result
	}
	l := s.lease(k.lease)
	if l == nil {
		return refuseLeaseNotFound()
	}
	if k.kind == keyCreated {
		result := resultAbout(l)
		result.Keyed = true
		return result
	}
	for _, granted := range k.places {
		if p := s.place(k.lease, granted.lock); p == nil || p.token != granted.token {
			return refuse(leasepb.Code_NOT_HOLDER, "what the first request was granted has been released since; use a new idempotency key")
		}
	}
	result := resultGranted(l, k.places)
	result.Keyed = true
	return result
}

// applyForget drops keys whose time is over on the leader's clock.
func (s *State) applyForget(cmd *leasepb.Forget) *leasepb.Result {
	for _, f := range cmd.GetKeys() {
		k := s.key(KeyHash(f.Hash))
		if k == nil || k.pending || k.index != f.Index || !s.Owns(k.home) {
			continue
		}
		s.keys.Delete(k)
		s.stop(k.timer())
	}
	return &leasepb.Result{}
}

func kindOf(cmd *leasepb.Command) keyKind {
	switch cmd.Op.(type) {
	case *leasepb.Command_Acquire:
		return keyGranted
	case *leasepb.Command_CreateLease:
		return keyCreated
	case *leasepb.Command_Release, *leasepb.Command_EndLease, *leasepb.Command_ForceRelease:
		return keyEnded
	}
	return 0
}
