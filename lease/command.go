package lease

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"lockd/lease/leasepb"
)

// MaxCommand bounds an encoded command, in bytes.
const MaxCommand = 1 << 20

// Bounds of what a command may hold. The edge has its own, which are narrower
// and can change; these keep the state sound whatever was proposed.
const (
	maxNamespace = 128
	maxLockName  = 512
	maxLocks     = 64 // of an acquire
	maxPermits   = 1_000_000
	maxDuration  = 366 * 24 * 60 * 60 * 1000 // milliseconds
)

// DecodeCommand reads an entry. An error means that the log is corrupt, or
// written by a newer version that knows operations which this one does not:
// the replica must stop.
func DecodeCommand(data []byte) (*leasepb.Command, error) {
	if len(data) > MaxCommand {
		return nil, fmt.Errorf("decode command: %d bytes, more than %d", len(data), MaxCommand)
	}
	cmd := new(leasepb.Command)
	if err := proto.Unmarshal(data, cmd); err != nil {
		return nil, fmt.Errorf("decode command: %w", err)
	}
	if cmd.Op == nil {
		return nil, fmt.Errorf("decode command: no operation that this version knows")
	}
	return cmd, nil
}

// leaderOnly tells which commands may come only from the leader of the term in
// which they are applied (R-time).
func leaderOnly(cmd *leasepb.Command) bool {
	switch op := cmd.Op.(type) {
	case *leasepb.Command_Expire, *leasepb.Command_Open, *leasepb.Command_Forget:
		return true
	case *leasepb.Command_Cancel:
		return op.Cancel.GetReason() != leasepb.CancelReason_CANCEL_CLIENT_GONE
	}
	return false
}

// refuseElsewhere refuses a command whose locks or lease are not this group's
// (R1). Commands of the leader that name many things skip, one by one, what is
// not.
func (s *State) refuseElsewhere(cmd *leasepb.Command) *leasepb.Result {
	var here, elsewhere int
	see := func(hash uint64) {
		if s.Owns(hash) {
			here++
		} else {
			elsewhere++
		}
	}
	seeName := func(namespace, before string) {
		if namespace != before {
			see(HashNamespace(namespace))
		}
	}
	switch op := cmd.Op.(type) {
	case *leasepb.Command_CreateLease:
		see(idOf(op.CreateLease.Lease).Hash())
	case *leasepb.Command_EndLease:
		see(idOf(op.EndLease.Lease).Hash())
	case *leasepb.Command_ForceRelease:
		seeName(op.ForceRelease.Lock.Namespace, "")
	case *leasepb.Command_Cancel:
		see(idOf(op.Cancel.Lease).Hash())
		seeName(op.Cancel.Lock.Namespace, "")
	case *leasepb.Command_Acquire:
		see(idOf(op.Acquire.Lease).Hash())
		before := ""
		for _, r := range op.Acquire.Locks {
			seeName(r.Namespace, before)
			before = r.Namespace
		}
	case *leasepb.Command_Release:
		see(idOf(op.Release.Lease).Hash())
		seeName(op.Release.Namespace, "")
		before := op.Release.Namespace
		for _, r := range op.Release.Locks {
			seeName(r.Namespace, before)
			before = r.Namespace
		}
	}
	switch {
	case elsewhere == 0:
		return nil
	case here == 0:
		return refuse(leasepb.Code_WRONG_GROUP, "the group does not own the namespace")
	}
	return refuse(leasepb.Code_OTHER_GROUP, "the locks and the lease are in different groups")
}

// homeOf is the hash of the namespace in which a command's key lives (R8).
func homeOf(cmd *leasepb.Command) uint64 {
	switch op := cmd.Op.(type) {
	case *leasepb.Command_Acquire:
		if op.Acquire.OneShot != nil || len(op.Acquire.Locks) == 1 {
			return HashNamespace(op.Acquire.Locks[0].Namespace)
		}
	case *leasepb.Command_Release:
		if !op.Release.Multi {
			return HashNamespace(op.Release.Locks[0].Namespace)
		}
	case *leasepb.Command_ForceRelease:
		return HashNamespace(op.ForceRelease.Lock.Namespace)
	}
	return leaseOf(cmd).Hash()
}

// leaseOf is the lease that a client's command names.
func leaseOf(cmd *leasepb.Command) ID {
	switch op := cmd.Op.(type) {
	case *leasepb.Command_CreateLease:
		return idOf(op.CreateLease.Lease)
	case *leasepb.Command_Acquire:
		return idOf(op.Acquire.Lease)
	case *leasepb.Command_Release:
		return idOf(op.Release.Lease)
	case *leasepb.Command_EndLease:
		return idOf(op.EndLease.Lease)
	}
	return ID{}
}

// validate says what is wrong with a command that no edge should have
// proposed; "" if nothing is.
func validate(cmd *leasepb.Command) string {
	if k := cmd.GetKey(); k != nil {
		if len(k.Hash) != len(KeyHash{}) || len(k.Body) != len(KeyHash{}) || kindOf(cmd) == 0 {
			return "malformed idempotency key"
		}
	}
	switch op := cmd.GetOp().(type) {
	case nil:
		return "a command without an operation"
	case *leasepb.Command_Own:
		return validateOwn(op.Own)
	case *leasepb.Command_CreateLease:
		return validateCreate(op.CreateLease)
	case *leasepb.Command_Acquire:
		return validateAcquire(op.Acquire)
	case *leasepb.Command_Release:
		return validateRelease(op.Release)
	case *leasepb.Command_Cancel:
		if op.Cancel == nil || !validLease(op.Cancel.Lease) || !validName(op.Cancel.Lock.GetNamespace(), op.Cancel.Lock.GetLock()) {
			return "malformed cancel"
		}
	case *leasepb.Command_EndLease:
		if op.EndLease == nil || !validLease(op.EndLease.Lease) {
			return "malformed lease id"
		}
	case *leasepb.Command_ForceRelease:
		if op.ForceRelease == nil || !validName(op.ForceRelease.Lock.GetNamespace(), op.ForceRelease.Lock.GetLock()) {
			return "malformed lock"
		}
	case *leasepb.Command_Expire:
		for _, id := range op.Expire.GetLeases() {
			if !validLease(id) {
				return "malformed lease id"
			}
		}
	case *leasepb.Command_Open:
		for _, c := range op.Open.GetLocks() {
			if !validName(c.GetLock().GetNamespace(), c.GetLock().GetLock()) {
				return "malformed lock"
			}
		}
	case *leasepb.Command_Forget:
		for _, f := range op.Forget.GetKeys() {
			if len(f.GetHash()) != len(KeyHash{}) {
				return "malformed idempotency key"
			}
		}
	}
	return ""
}

func validateOwn(cmd *leasepb.Own) string {
	for _, r := range cmd.GetRanges() {
		if r.GetFirst() > r.GetLast() {
			return "a range ends before it begins"
		}
	}
	return ""
}

func validateCreate(cmd *leasepb.CreateLease) string {
	switch {
	case cmd == nil || !validLease(cmd.Lease):
		return "malformed lease id"
	case !validNamespace(cmd.Namespace) || idOf(cmd.Lease).Hash() != HashNamespace(cmd.Namespace):
		return "the lease id is not of the namespace"
	}
	return validateNewLease(cmd.New)
}

func validateNewLease(of *leasepb.NewLease) string {
	switch {
	case of.GetTtlMs() < 1 || of.GetTtlMs() > maxDuration:
		return "the TTL is out of range"
	case of.GetLockDelayMs() < 0 || of.GetLockDelayMs() > maxDuration:
		return "the lock-delay is out of range"
	}
	return ""
}

func validateAcquire(cmd *leasepb.Acquire) string {
	switch {
	case cmd == nil || !validLease(cmd.Lease):
		return "malformed lease id"
	case len(cmd.Locks) == 0 || len(cmd.Locks) > maxLocks:
		return "no locks, or too many"
	case cmd.WaitMs < 0 || cmd.WaitMs > maxDuration:
		return "the wait is out of range"
	}
	for i, r := range cmd.Locks {
		switch {
		case !validName(r.GetNamespace(), r.GetLock()):
			return "malformed lock"
		case r.Mode == permit && (r.Permits < 1 || r.Permits > r.Limit || r.Limit > maxPermits):
			return "permits out of range"
		case r.Mode != permit && (r.Permits != 1 || r.Limit != 0 || (r.Mode != exclusive && r.Mode != shared)):
			return "malformed mode"
		}
		for _, before := range cmd.Locks[:i] {
			if before.Lock == r.Lock && before.Namespace == r.Namespace {
				return "a lock is named twice"
			}
		}
	}
	if cmd.OneShot == nil {
		return ""
	}
	if idOf(cmd.Lease).Hash() != HashNamespace(cmd.Locks[0].Namespace) {
		return "the lease id is not of the first lock's namespace"
	}
	return validateNewLease(cmd.OneShot)
}

func validateRelease(cmd *leasepb.Release) string {
	switch {
	case cmd == nil || !validLease(cmd.Lease):
		return "malformed lease id"
	case !cmd.Multi && len(cmd.Locks) != 1:
		return "not just one lock"
	}
	for _, r := range cmd.Locks {
		if !validName(r.GetNamespace(), r.GetLock()) {
			return "malformed lock"
		}
	}
	return ""
}

func validLease(id []byte) bool { return len(id) == len(ID{}) }

func validNamespace(name string) bool { return name != "" && len(name) <= maxNamespace }

func validName(namespace, lock string) bool {
	return validNamespace(namespace) && lock != "" && len(lock) <= maxLockName
}
