package lease

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"lockd/lease/leasepb"
)

func TestDecodeCommand(t *testing.T) {
	encoded, err := proto.Marshal(acquireCommand(numberedLease(1), "nightly", 0))
	if err != nil {
		t.Fatal(err)
	}
	if cmd, err := DecodeCommand(encoded); err != nil || cmd.GetAcquire().GetLocks()[0].GetLock() != "nightly" {
		t.Errorf("decoded %v, %v", cmd, err)
	}
	for name, data := range map[string][]byte{
		"cut off":             encoded[:len(encoded)-1],
		"empty":               nil,
		"no operation":        protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7),
		"of a newer version":  protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), nil),
		"larger than allowed": append(encoded, protowire.AppendBytes(protowire.AppendTag(nil, 98, protowire.BytesType), make([]byte, MaxCommand))...),
	} {
		if cmd, err := DecodeCommand(data); err == nil {
			t.Errorf("%s: decoded as %v", name, cmd)
		}
	}
}

// TestInvalid: what no edge should propose is refused, and changes nothing.
func TestInvalid(t *testing.T) {
	acquire := func(change func(*leasepb.Acquire)) *leasepb.Command {
		cmd := acquireCommand(numberedLease(1), "x", 0)
		cmd.GetAcquire().OneShot = &leasepb.NewLease{TtlMs: 1000}
		change(cmd.GetAcquire())
		return cmd
	}
	lock := func(change func(*leasepb.LockRequest)) *leasepb.Command {
		return acquire(func(a *leasepb.Acquire) { change(a.Locks[0]) })
	}
	create := func(change func(*leasepb.CreateLease)) *leasepb.Command {
		cmd := createCommand(numberedLease(1))
		change(cmd.GetCreateLease())
		return cmd
	}
	release := func(change func(*leasepb.Release)) *leasepb.Command {
		cmd := releaseCommand(numberedLease(1), "x")
		change(cmd.GetRelease())
		return cmd
	}
	keyed := func(cmd *leasepb.Command, key *leasepb.Key) *leasepb.Command {
		cmd.Key = key
		return cmd
	}
	goodKey := &leasepb.Key{Hash: make([]byte, 16), Body: make([]byte, 16)}
	long := strings.Repeat("x", 1000)
	for name, cmd := range map[string]*leasepb.Command{
		"nothing":             {},
		"nil":                 nil,
		"empty acquire":       {Op: &leasepb.Command_Acquire{}},
		"empty create":        {Op: &leasepb.Command_CreateLease{}},
		"empty release":       {Op: &leasepb.Command_Release{}},
		"empty cancel":        {Op: &leasepb.Command_Cancel{}},
		"empty end":           {Op: &leasepb.Command_EndLease{}},
		"empty force-release": {Op: &leasepb.Command_ForceRelease{}},
		"short lease id":      acquire(func(a *leasepb.Acquire) { a.Lease = a.Lease[1:] }),
		"no locks":            acquire(func(a *leasepb.Acquire) { a.Locks = nil }),
		"nil lock":            acquire(func(a *leasepb.Acquire) { a.Locks[0] = nil }),
		"too many locks":      acquire(func(a *leasepb.Acquire) { a.Locks = make([]*leasepb.LockRequest, maxLocks+1) }),
		"a lock twice":        acquire(func(a *leasepb.Acquire) { a.Locks = append(a.Locks, a.Locks[0]) }),
		"negative wait":       acquire(func(a *leasepb.Acquire) { a.WaitMs = -1 }),
		"endless wait":        acquire(func(a *leasepb.Acquire) { a.WaitMs = math.MaxInt64 }),
		"one-shot without TTL": acquire(func(a *leasepb.Acquire) {
			a.OneShot.TtlMs = 0
		}),
		"one-shot homed elsewhere": lock(func(r *leasepb.LockRequest) { r.Namespace = "other" }),
		"no namespace":             lock(func(r *leasepb.LockRequest) { r.Namespace = "" }),
		"long namespace":           lock(func(r *leasepb.LockRequest) { r.Namespace = long }),
		"no lock name":             lock(func(r *leasepb.LockRequest) { r.Lock = "" }),
		"long lock name":           lock(func(r *leasepb.LockRequest) { r.Lock = long }),
		"unknown mode":             lock(func(r *leasepb.LockRequest) { r.Mode = 3 }),
		"no permits":               lock(func(r *leasepb.LockRequest) { r.Mode, r.Permits, r.Limit = permit, 0, 1 }),
		"more permits than limit":  lock(func(r *leasepb.LockRequest) { r.Mode, r.Permits, r.Limit = permit, 2, 1 }),
		"limit too high":           lock(func(r *leasepb.LockRequest) { r.Mode, r.Limit = permit, 1_000_001 }),
		"permits of a shared one":  lock(func(r *leasepb.LockRequest) { r.Mode, r.Permits = shared, 2 }),
		"limit of an exclusive":    lock(func(r *leasepb.LockRequest) { r.Limit = 1 }),
		"lease homed elsewhere":    create(func(c *leasepb.CreateLease) { c.Namespace = "other" }),
		"lease without TTL":        create(func(c *leasepb.CreateLease) { c.New = nil }),
		"endless TTL":              create(func(c *leasepb.CreateLease) { c.New.TtlMs = math.MaxInt64 }),
		"negative lock-delay":      create(func(c *leasepb.CreateLease) { c.New.LockDelayMs = -1 }),
		"release of two":           release(func(r *leasepb.Release) { r.Locks = append(r.Locks, r.Locks[0]) }),
		"release of none":          release(func(r *leasepb.Release) { r.Locks = nil }),
		"release of nil":           release(func(r *leasepb.Release) { r.Locks[0] = nil }),
		"short key":                keyed(createCommand(numberedLease(1)), &leasepb.Key{Hash: []byte{1}, Body: make([]byte, 16)}),
		"key without body":         keyed(createCommand(numberedLease(1)), &leasepb.Key{Hash: make([]byte, 16)}),
		"key of a leader's command": keyed(&leasepb.Command{
			Term: 1, Op: &leasepb.Command_Expire{Expire: &leasepb.Expire{}},
		}, goodKey),
		"expiry of nonsense": {Term: 1, Op: &leasepb.Command_Expire{Expire: &leasepb.Expire{Leases: [][]byte{{1}}}}},
		"opening of nil":     {Term: 1, Op: &leasepb.Command_Open{Open: &leasepb.Open{Locks: []*leasepb.Closed{nil}}}},
		"forgetting of nil":  {Term: 1, Op: &leasepb.Command_Forget{Forget: &leasepb.Forget{Keys: []*leasepb.ForgetKey{nil}}}},
		"range that ends before it begins": {Op: &leasepb.Command_Own{Own: &leasepb.Own{
			Ranges: []*leasepb.Range{{First: 2, Last: 1}},
		}}},
	} {
		s := loaded(0, 0)
		before := encode(t, s.Snapshot())
		o := s.Apply(1, 1, cmd)
		if o.Result.Code != leasepb.Code_INVALID || o.Result.Detail == "" {
			t.Errorf("%s: %v", name, o.Result)
		}
		if string(encode(t, s.Snapshot())) != string(before) || len(o.Events)+len(o.Timers) > 0 {
			t.Errorf("%s: changed something", name)
		}
	}
}
