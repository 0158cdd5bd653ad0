package lease

import (
	"bytes"
	"fmt"
	"maps"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"lockd/lease/leasepb"
)

// TestProperties gives random commands to two states and to the naive model.
// After every one of them the rules hold, what the outcomes told about timers,
// tokens and waiting attempts is what the state says, and the model agrees.
// One of the states is at times replaced by what its snapshot restores; in the
// end both have the same bytes, and so have the snapshots taken on the way.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory()
		var taken []takenSnapshot
		steps := rapid.IntRange(1, 120).Draw(t, "steps")
		for range steps {
			cmd := drawCommand(t, h)
			h.apply(t, cmd)
			switch rapid.IntRange(0, 15).Draw(t, "snapshot") {
			case 0:
				taken = append(taken, takenSnapshot{snapshot: h.state.Snapshot(), want: encode(t, h.state.Snapshot())})
			case 1:
				restored, err := Decode(bytes.NewReader(encode(t, h.twin.Snapshot())))
				if err != nil {
					t.Fatal(err)
				}
				h.twin = restored
			}
		}
		if !bytes.Equal(encode(t, h.state.Snapshot()), encode(t, h.twin.Snapshot())) {
			t.Fatal("one log, two states")
		}
		for _, s := range taken {
			if !bytes.Equal(encode(t, s.snapshot), s.want) {
				t.Fatal("a snapshot has changed since it was taken")
			}
		}
	})
}

type takenSnapshot struct {
	snapshot *Snapshot
	want     []byte
}

type failer interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func encode(t failer, s *Snapshot) []byte {
	var b bytes.Buffer
	if err := s.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// history is two states under one log, and what their outcomes have told.
type history struct {
	state, twin *State
	model       *model
	index       uint64
	timers      map[TimerID]TimerChange
	waiting     map[Attempt]bool
	tokens      map[lockName]uint64
	events      uint64 // index of the last one
	attempts    uint64
	keyed       map[KeyHash]*leasepb.Command // as they were first sent
}

func newHistory() *history {
	h := &history{
		state:   New(),
		twin:    New(),
		model:   newModel(),
		timers:  make(map[TimerID]TimerChange),
		waiting: make(map[Attempt]bool),
		tokens:  make(map[lockName]uint64),
		keyed:   make(map[KeyHash]*leasepb.Command),
	}
	h.state.Apply(1, 1, ownAll())
	h.twin.Apply(1, 1, ownAll())
	return h
}

func (h *history) apply(t *rapid.T, cmd *leasepb.Command) {
	h.index++
	data, err := proto.Marshal(cmd)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := DecodeCommand(data)
	if err != nil {
		t.Fatal(err)
	}
	known := cmd.Key != nil && h.state.key(KeyHash(cmd.Key.Hash)) != nil
	before := h.state.describe()

	o := h.state.Apply(h.index, 1, cmd)
	twin := h.twin.Apply(h.index+1000, 1, decoded)
	if !proto.Equal(o.Result, twin.Result) {
		t.Fatalf("%v:\n%v on one state\n%v on the other", cmd, o.Result, twin.Result)
	}
	if err := h.state.Check(); err != nil {
		t.Fatalf("after %v: %v", cmd, err)
	}
	h.follow(t, cmd, o)
	switch {
	case o.Result.Code == leasepb.Code_INVALID:
		t.Fatalf("%v: %s", cmd, o.Result.Detail)
	case known && h.state.key(KeyHash(cmd.Key.Hash)) != nil && o.Result.Code != leasepb.Code_QUEUED:
		// I8: a repeat under a key does nothing.
		if h.state.describe() != before {
			t.Fatalf("the repeat %v did something", cmd)
		}
		return
	}
	applied := proto.CloneOf(cmd)
	if a := applied.GetAcquire(); a != nil && o.Result.Code == leasepb.Code_QUEUED {
		a.Lease = o.Result.Lease // a repeat under a key has that of the first time
	}
	code := h.model.apply(applied)
	if code != o.Result.Code {
		t.Fatalf("%v: %v, by the model %v, in\n%s", cmd, o.Result.Code, code, before)
	}
	if got, want := h.state.describe(), h.model.describe(); got != want {
		t.Fatalf("after %v:\n%sby the model\n%s", cmd, got, want)
	}
}

// follow holds the outcome against what was told before and what is there now.
func (h *history) follow(t *rapid.T, cmd *leasepb.Command, o Outcome) {
	for _, e := range o.Events {
		if e.Index <= h.events {
			t.Fatalf("event %d after %d", e.Index, h.events)
		}
		h.events = e.Index
		name := lockName{namespace: e.Namespace, lock: e.Lock}
		if e.Type == leasepb.EventType_EVENT_ACQUIRED {
			if e.Token <= h.tokens[name] || e.Token != e.Index {
				t.Fatalf("lock %v: token %d after %d", name, e.Token, h.tokens[name]) // I2
			}
			h.tokens[name] = e.Token
		}
	}
	for name, token := range h.tokens {
		if last := h.state.LastToken(name.namespace, name.lock); last < token {
			t.Fatalf("lock %v: last token %d, but %d was granted", name, last, token)
		}
	}
	for _, c := range o.Timers {
		if _, runs := h.timers[c.ID]; c.Stop && !runs {
			t.Fatalf("timer %v is stopped, and does not run", c.ID)
		}
		if c.Stop {
			delete(h.timers, c.ID)
		} else {
			h.timers[c.ID] = c
		}
	}
	full := make(map[TimerID]TimerChange)
	h.state.Timers(func(c TimerChange) bool {
		full[c.ID] = c
		return true
	})
	if !maps.Equal(h.timers, full) { // I17
		t.Fatalf("after %v: timers %v, as told %v", cmd, full, h.timers)
	}
	// Every attempt that was queued hears of its end once.
	for _, a := range o.Answers {
		if !h.waiting[a.Attempt] {
			t.Fatalf("attempt %v is answered, and does not wait", a.Attempt)
		}
		delete(h.waiting, a.Attempt)
		if !a.Joined && a.Result().Code == leasepb.Code_QUEUED {
			t.Fatal("QUEUED is no answer")
		}
	}
	if o.Result.Code == leasepb.Code_QUEUED {
		h.waiting[attemptOf(o.Result.Attempt)] = true
	}
	waits := make(map[Attempt]bool)
	h.state.Waits(func(w Wait) bool {
		waits[w.Attempt] = true
		return true
	})
	if !maps.Equal(h.waiting, waits) {
		t.Fatalf("after %v: %v wait, as told %v", cmd, waits, h.waiting)
	}
}

func drawCommand(t *rapid.T, h *history) *leasepb.Command {
	kind := rapid.SampledFrom([]string{
		"create", "acquire", "acquire", "acquire", "acquire", "acquire", "acquire", "release", "release", "release",
		"cancel", "end", "expire", "open", "force", "forget", "again",
	}).Draw(t, "kind")
	id := drawLease(t)
	cmd := &leasepb.Command{AtUnixMs: int64(h.index)}
	switch kind {
	case "again":
		hash := drawKey(t)
		if first := h.keyed[hash]; first != nil {
			again := proto.CloneOf(first)
			if a := again.GetAcquire(); a != nil {
				a.Attempt = h.attempt()
			}
			return again
		}
		return &leasepb.Command{Op: &leasepb.Command_EndLease{EndLease: &leasepb.EndLease{Lease: id[:]}}}
	case "create":
		cmd.Op = &leasepb.Command_CreateLease{CreateLease: &leasepb.CreateLease{
			Lease: id[:], Namespace: "jobs", New: drawNewLease(t),
		}}
	case "acquire":
		a := &leasepb.Acquire{Lease: id[:], Attempt: h.attempt()}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(lockNames), 1, 3, rapid.ID[lockName]).Draw(t, "locks") {
			a.Locks = append(a.Locks, drawLockRequest(t, name))
		}
		if rapid.Bool().Draw(t, "waits") {
			a.WaitMs = 5000
		}
		if a.Locks[0].Namespace == "jobs" && rapid.IntRange(0, 2).Draw(t, "one-shot") == 0 {
			a.OneShot = drawNewLease(t)
		}
		cmd.Op = &leasepb.Command_Acquire{Acquire: a}
	case "release":
		r := &leasepb.Release{Lease: id[:], Multi: rapid.Bool().Draw(t, "multi"), Namespace: "jobs"}
		if !r.Multi || rapid.Bool().Draw(t, "named") {
			name := rapid.SampledFrom(lockNames).Draw(t, "lock")
			r.Locks = []*leasepb.ReleaseRef{{Namespace: name.namespace, Lock: name.lock}}
		}
		cmd.Op = &leasepb.Command_Release{Release: r}
	case "cancel":
		var waits []Wait
		h.state.Waits(func(w Wait) bool {
			waits = append(waits, w)
			return true
		})
		w := Wait{Lease: id, Namespace: "jobs", Lock: "x"}
		if len(waits) > 0 {
			w = rapid.SampledFrom(waits).Draw(t, "wait")
		}
		cmd.Term = 1
		cmd.Op = &leasepb.Command_Cancel{Cancel: &leasepb.Cancel{
			Lease: w.Lease[:], Lock: lockName{namespace: w.Namespace, lock: w.Lock}.ref(), Attempt: w.Attempt.message(),
		}}
	case "end":
		cmd.Op = &leasepb.Command_EndLease{EndLease: &leasepb.EndLease{Lease: id[:]}}
	case "expire":
		second := drawLease(t)
		cmd.Term = 1
		cmd.Op = &leasepb.Command_Expire{Expire: &leasepb.Expire{Leases: [][]byte{id[:], second[:]}}}
	case "open":
		cmd.Term = 1
		open := new(leasepb.Open)
		h.state.closings.Scan(func(c *closing) bool {
			open.Locks = append(open.Locks, &leasepb.Closed{Lock: c.name.ref(), Index: c.index})
			return false
		})
		cmd.Op = &leasepb.Command_Open{Open: open}
	case "force":
		cmd.Op = &leasepb.Command_ForceRelease{ForceRelease: &leasepb.ForceRelease{
			Lock: rapid.SampledFrom(lockNames).Draw(t, "lock").ref(), Reason: "test",
		}}
	case "forget":
		cmd.Term = 1
		forget := new(leasepb.Forget)
		h.state.keys.Scan(func(k *key) bool {
			forget.Keys = append(forget.Keys, &leasepb.ForgetKey{Hash: k.hash[:], Index: k.index})
			return len(forget.Keys) < 2
		})
		cmd.Op = &leasepb.Command_Forget{Forget: forget}
	}
	if kindOf(cmd) != 0 && rapid.IntRange(0, 3).Draw(t, "keyed") == 0 {
		h.withKey(t, cmd)
	}
	return cmd
}

// withKey sends a command under a key, unless that is in use for another.
func (h *history) withKey(t *rapid.T, cmd *leasepb.Command) {
	hash := drawKey(t)
	if h.state.key(hash) != nil {
		return
	}
	cmd.Key = &leasepb.Key{Hash: hash[:], Body: hash[:]}
	h.keyed[hash] = proto.CloneOf(cmd)
}

func (h *history) attempt() *leasepb.Attempt {
	h.attempts++
	return &leasepb.Attempt{Boot: 1 + h.attempts%3, Id: h.attempts}
}

var lockNames = []lockName{{"jobs", "x"}, {"jobs", "y"}, {"jobs", "z"}, {"other", "x"}}

func drawKey(t *rapid.T) KeyHash {
	return hashText(fmt.Sprintf("key %d", rapid.IntRange(1, 4).Draw(t, "key")))
}

func drawLease(t *rapid.T) ID {
	var random [12]byte
	copy(random[:], rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "lease"))
	return NewID("jobs", random)
}

func drawNewLease(t *rapid.T) *leasepb.NewLease {
	return &leasepb.NewLease{
		Owner:       rapid.SampledFrom([]string{"", "ann", "bob"}).Draw(t, "owner"),
		TtlMs:       rapid.Int64Range(1000, 9000).Draw(t, "ttl"),
		LockDelayMs: rapid.SampledFrom([]int64{0, 0, 0, 2000}).Draw(t, "delay"),
		Metadata:    []*leasepb.Pair{{Key: "k", Value: "v"}},
	}
}

func drawLockRequest(t *rapid.T, name lockName) *leasepb.LockRequest {
	r := &leasepb.LockRequest{Namespace: name.namespace, Lock: name.lock, Permits: 1}
	switch rapid.SampledFrom([]leasepb.Mode{exclusive, exclusive, shared, shared, permit}).Draw(t, "mode") {
	case shared:
		r.Mode = shared
	case permit:
		r.Mode = permit
		r.Limit = rapid.SampledFrom([]int64{3, 3, 3, 4}).Draw(t, "limit")
		r.Permits = rapid.Int64Range(1, 3).Draw(t, "permits")
	}
	return r
}
