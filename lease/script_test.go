package lease

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lockd/lease/leasepb"
)

var update = flag.Bool("update", false, "rewrite the expected parts of testdata/*.txt")

// TestScripts runs testdata/*.txt. A script is blocks of commands, each followed
// by ---- and what they did: the result of each, its events (by index), timers
// (+ started, - stopped) and answers to attempts that waited, then all locks.
//
//	create LEASE [ns=jobs] [ttl=30s] [delay=0s]
//	acquire LOCK,... LEASE [oneshot] [ttl=30s] [wait=0s] [attempt=BOOT/NUMBER] [owner=TEXT]
//	release LOCK LEASE [token=N]          release-all [LOCK,...] LEASE
//	cancel LOCK LEASE attempt=BOOT/NUMBER [reason=wait|client|node]
//	end LEASE                             force LOCK [token=N] [reason=TEXT]
//	expire LEASE,...                      open LOCK index=N      forget KEY index=N
//	own all|none|NAMESPACE,...            lock LOCK              lease LEASE
//	snapshot                              timers
//
// A LOCK is namespace/name, with :shared or :permit:2/5 behind it where that is
// asked for. Every command takes term= (that of the command, the entry's is 1;
// the leader's commands have it anyway), key= and body=. The first time that a
// lease is named in a file, with ns=, fixes its home.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newScript(t).run(string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s differs; run with -update and review the diff. Got:\n%s", file, got)
			}
		})
	}
}

// script is a state with the names that a script gives to things in it.
type script struct {
	t      *testing.T
	state  *State
	index  uint64
	leases map[string]ID
	names  map[ID]string
	keys   map[KeyHash]string
	tokens map[lockName]uint64 // the greatest so far
	out    strings.Builder
}

func newScript(t *testing.T) *script {
	s := &script{
		t:      t,
		state:  New(),
		leases: make(map[string]ID),
		names:  make(map[ID]string),
		keys:   make(map[KeyHash]string),
		tokens: make(map[lockName]uint64),
	}
	s.state.Apply(0, 1, ownAll())
	return s
}

func ownAll() *leasepb.Command {
	return &leasepb.Command{Op: &leasepb.Command_Own{Own: &leasepb.Own{
		Ranges: []*leasepb.Range{{First: 0, Last: ^uint64(0)}},
	}}}
}

// run returns the script with its expected parts as they turn out.
func (s *script) run(text string) string {
	var block []string
	expected := false // in the part below a ----
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "----":
			s.out.WriteString("----\n")
			for _, command := range block {
				s.command(command)
			}
			s.locks()
			block, expected = nil, true
		case expected && trimmed == "":
			expected = false
			s.out.WriteString("\n")
		case expected:
		default:
			s.out.WriteString(line)
			if trimmed != "" && !strings.HasPrefix(trimmed, "#") {
				block = append(block, trimmed)
			}
		}
	}
	if len(block) > 0 {
		s.t.Errorf("commands without a ---- behind them: %q", block)
	}
	return s.out.String()
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(&s.out, format, args...) }

func (s *script) command(line string) {
	c := parseCall(s.t, line)
	switch c.verb {
	case "own":
		s.own(c.arg(0))
	case "snapshot":
		s.snapshot()
	case "timers":
		s.printf("timers:")
		s.state.Timers(func(change TimerChange) bool {
			s.printf(" %s", s.timer(change))
			return true
		})
		s.printf("\n")
	case "lock":
		name := parseLock(s.t, c.arg(0)).lock
		v := s.state.Lock(name.namespace, name.lock)
		s.printf("lock %v: mode=%s limit=%d held=%d queue=%d last=%d index=%d closed=%v\n", name,
			mode(v.Mode), v.Limit, len(v.Holders), v.QueueLength, v.LastToken, v.Index, v.Closed)
	case "lease":
		v, ok := s.state.Lease(s.lease(c))
		if !ok {
			s.printf("lease %s: gone\n", c.arg(0))
			break
		}
		s.printf("lease %s: locks=(%s) waiting=(%s)\n", c.arg(0), s.grants(v.Locks), s.grants(v.Waiting))
	default:
		s.apply(line, c)
	}
	if err := s.state.Check(); err != nil {
		s.t.Errorf("after %q: %v", line, err)
	}
}

func (s *script) own(what string) {
	s.state = New()
	if what == "none" {
		return
	}
	cmd := ownAll()
	if what != "all" {
		own := cmd.GetOwn()
		own.Ranges = nil
		for name := range strings.SplitSeq(what, ",") {
			own.Ranges = append(own.Ranges, &leasepb.Range{First: HashNamespace(name), Last: HashNamespace(name)})
		}
	}
	s.state.Apply(0, 1, cmd)
}

// snapshot goes on with what a snapshot of the state restores.
func (s *script) snapshot() {
	var b bytes.Buffer
	if err := s.state.Snapshot().Encode(&b); err != nil {
		s.t.Fatal(err)
	}
	restored, err := Decode(&b)
	if err != nil {
		s.t.Fatal(err)
	}
	s.state = restored
}

func (s *script) apply(line string, c call) {
	s.index += 7 // numbers that clients see have nothing to do with it (R16)
	o := s.state.Apply(s.index, 1, s.build(c))
	s.printf("%s: %s\n", line, s.result(o.Result))
	for _, e := range o.Events {
		s.printf("  %d %s %s/%s %s", e.Index, kindName(e.Type), e.Namespace, e.Lock, s.names[e.Lease])
		if e.Token != 0 {
			s.printf(":%d", e.Token)
		}
		if e.Reason != "" {
			s.printf(" (%s)", e.Reason)
		}
		s.printf("\n")
		s.watchTokens(e)
	}
	for _, change := range o.Timers {
		s.printf("  timer %s\n", s.timer(change))
	}
	for _, a := range o.Answers {
		if a.Joined {
			s.printf("  attempt %d/%d joined by %d/%d\n", a.Attempt.Boot, a.Attempt.Number, a.By.Boot, a.By.Number)
			continue
		}
		s.printf("  answer %d/%d %s: %s\n", a.Attempt.Boot, a.Attempt.Number, s.names[a.Lease], s.result(a.Result()))
	}
}

// watchTokens holds I2 against what clients see.
func (s *script) watchTokens(e Event) {
	if e.Type != leasepb.EventType_EVENT_ACQUIRED {
		return
	}
	name := lockName{namespace: e.Namespace, lock: e.Lock}
	if e.Token <= s.tokens[name] {
		s.t.Errorf("lock %v: token %d after %d", name, e.Token, s.tokens[name])
	}
	s.tokens[name] = e.Token
}

func (s *script) result(r *leasepb.Result) string {
	text := strings.ToLower(r.Code.String())
	if len(r.Grants) > 0 {
		text += " granted=(" + s.grants(r.Grants) + ")"
	}
	if len(r.Released) > 0 {
		text += " released=(" + s.grants(r.Released) + ")"
	}
	for _, l := range r.NotHeld {
		text += " not-held=" + l.Namespace + "/" + l.Lock
	}
	for _, l := range r.BlockedBy {
		text += " blocked-by=" + l.Namespace + "/" + l.Lock
	}
	if r.Cancelled {
		text += " cancelled"
	}
	if r.Keyed {
		text += " keyed"
	}
	return text
}

func (s *script) grants(list []*leasepb.Grant) string {
	var texts []string
	for _, g := range list {
		text := fmt.Sprintf("%s/%s %s", g.Namespace, g.Lock, s.names[idOf(g.Lease)])
		if g.Token != 0 {
			text += fmt.Sprintf(":%d", g.Token)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

func (s *script) timer(c TimerChange) string {
	var what string
	switch id := c.ID; id.Kind {
	case TimerLease:
		what = "lease " + s.names[id.Lease]
	case TimerWait:
		what = fmt.Sprintf("wait %s %s/%s %d/%d", s.names[id.Lease], id.Namespace, id.Lock, id.Boot, id.Number)
	case TimerDelay:
		what = fmt.Sprintf("delay %s/%s index=%d", id.Namespace, id.Lock, id.Number)
	case TimerKey:
		what = fmt.Sprintf("key %s index=%d", s.keys[id.Key], id.Number)
	}
	if c.Stop {
		return "-" + what
	}
	return fmt.Sprintf("+%s %v", what, c.After)
}

// locks prints all locks.
func (s *script) locks() {
	s.state.locks.Scan(func(l *lock) bool {
		s.printf("%v", l.name)
		s.places(" holders", l.holders)
		s.places(" queue", l.queue)
		if l.closed != nil {
			s.printf(" closed=%d", l.closed.index)
		}
		s.printf("\n")
		return true
	})
}

func (s *script) places(title string, places []*place) {
	if len(places) == 0 {
		return
	}
	var texts []string
	for _, p := range places {
		text := s.names[p.lease]
		if p.token != 0 {
			text += fmt.Sprintf(":%d", p.token)
		}
		switch p.mode {
		case shared:
			text += " shared"
		case permit:
			text += fmt.Sprintf(" %d of %d", p.permits, p.limit)
		}
		texts = append(texts, text)
	}
	s.printf("%s=(%s)", title, strings.Join(texts, ", "))
}

func (s *script) lease(c call) ID {
	name := c.arg(len(c.args) - 1)
	if id, ok := s.leases[name]; ok {
		return id
	}
	var random [12]byte
	copy(random[:], name)
	id := NewID(c.option("ns", "jobs"), random)
	s.leases[name], s.names[id] = id, name
	return id
}

// build makes the command that a call stands for.
func (s *script) build(c call) *leasepb.Command {
	cmd := &leasepb.Command{AtUnixMs: int64(s.index), Term: c.number("term", 0)}
	if name, ok := c.options["key"]; ok {
		hash := hashText(name)
		s.keys[hash] = name
		body := hashText(c.option("body", c.verb))
		cmd.Key = &leasepb.Key{Hash: hash[:], Body: body[:]}
	}
	leader := c.number("term", 1)
	switch c.verb {
	case "create":
		id := s.lease(c)
		cmd.Op = &leasepb.Command_CreateLease{CreateLease: &leasepb.CreateLease{
			Lease: id[:], Namespace: c.option("ns", "jobs"), New: c.newLease(),
		}}
	case "acquire":
		id := s.lease(c)
		a := &leasepb.Acquire{Lease: id[:], WaitMs: c.milliseconds("wait", 0), Attempt: c.attempt(), Owner: c.option("owner", "")}
		for text := range strings.SplitSeq(c.arg(0), ",") {
			w := parseLock(s.t, text)
			a.Locks = append(a.Locks, &leasepb.LockRequest{
				Namespace: w.lock.namespace, Lock: w.lock.lock, Mode: w.mode,
				Permits: int64(w.permits), Limit: int64(w.limit),
			})
		}
		if _, ok := c.options["oneshot"]; ok {
			a.OneShot = c.newLease()
		}
		cmd.Op = &leasepb.Command_Acquire{Acquire: a}
	case "release", "release-all":
		id := s.lease(c)
		r := &leasepb.Release{Lease: id[:], Multi: c.verb == "release-all"}
		if r.Multi {
			r.Namespace = c.option("ns", "jobs")
		}
		if len(c.args) > 1 {
			for text := range strings.SplitSeq(c.arg(0), ",") {
				name := parseLock(s.t, text).lock
				r.Locks = append(r.Locks, &leasepb.ReleaseRef{
					Namespace: name.namespace, Lock: name.lock, Token: c.number("token", 0),
				})
			}
		}
		cmd.Op = &leasepb.Command_Release{Release: r}
	case "cancel":
		id := s.lease(c)
		reason := map[string]leasepb.CancelReason{
			"wait":   leasepb.CancelReason_CANCEL_WAIT_OVER,
			"client": leasepb.CancelReason_CANCEL_CLIENT_GONE,
			"node":   leasepb.CancelReason_CANCEL_NODE_GONE,
		}[c.option("reason", "wait")]
		if reason != leasepb.CancelReason_CANCEL_CLIENT_GONE {
			cmd.Term = leader
		}
		cmd.Op = &leasepb.Command_Cancel{Cancel: &leasepb.Cancel{
			Lease: id[:], Lock: parseLock(s.t, c.arg(0)).lock.ref(), Attempt: c.attempt(), Reason: reason,
		}}
	case "end":
		id := s.lease(c)
		cmd.Op = &leasepb.Command_EndLease{EndLease: &leasepb.EndLease{Lease: id[:]}}
	case "force":
		cmd.Op = &leasepb.Command_ForceRelease{ForceRelease: &leasepb.ForceRelease{
			Lock: parseLock(s.t, c.arg(0)).lock.ref(), Token: c.number("token", 0), Reason: c.option("reason", ""),
		}}
	case "expire":
		cmd.Term = leader
		e := new(leasepb.Expire)
		for name := range strings.SplitSeq(c.arg(0), ",") {
			id := s.lease(call{args: []string{name}, options: c.options})
			e.Leases = append(e.Leases, id[:])
		}
		cmd.Op = &leasepb.Command_Expire{Expire: e}
	case "open":
		cmd.Term = leader
		cmd.Op = &leasepb.Command_Open{Open: &leasepb.Open{Locks: []*leasepb.Closed{{
			Lock: parseLock(s.t, c.arg(0)).lock.ref(), Index: c.number("index", 0),
		}}}}
	case "forget":
		cmd.Term = leader
		hash := hashText(c.arg(0))
		cmd.Op = &leasepb.Command_Forget{Forget: &leasepb.Forget{Keys: []*leasepb.ForgetKey{{
			Hash: hash[:], Index: c.number("index", 0),
		}}}}
	default:
		s.t.Fatalf("unknown command %q", c.verb)
	}
	return cmd
}

// call is a line of a script, taken apart.
type call struct {
	t       *testing.T
	verb    string
	args    []string
	options map[string]string
}

func parseCall(t *testing.T, line string) call {
	words := strings.Fields(line)
	c := call{t: t, verb: words[0], options: make(map[string]string)}
	for _, word := range words[1:] {
		name, value, isOption := strings.Cut(word, "=")
		if isOption || word == "oneshot" {
			c.options[name] = value
		} else {
			c.args = append(c.args, word)
		}
	}
	return c
}

func (c call) arg(i int) string {
	if i < 0 || i >= len(c.args) {
		c.t.Fatalf("%s: argument %d is missing", c.verb, i+1)
	}
	return c.args[i]
}

func (c call) option(name, without string) string {
	if value, ok := c.options[name]; ok {
		return value
	}
	return without
}

func (c call) number(name string, without uint64) uint64 {
	text, ok := c.options[name]
	if !ok {
		return without
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

func (c call) milliseconds(name string, without time.Duration) int64 {
	d := without
	if text, ok := c.options[name]; ok {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			c.t.Fatal(err)
		}
	}
	return d.Milliseconds()
}

func (c call) attempt() *leasepb.Attempt {
	a := new(leasepb.Attempt)
	if text, ok := c.options["attempt"]; ok {
		if _, err := fmt.Sscanf(text, "%d/%d", &a.Boot, &a.Id); err != nil {
			c.t.Fatal(err)
		}
	}
	return a
}

func (c call) newLease() *leasepb.NewLease {
	return &leasepb.NewLease{
		Owner:       c.option("owner", ""),
		TtlMs:       c.milliseconds("ttl", 30*time.Second),
		LockDelayMs: c.milliseconds("delay", 0),
	}
}

// parseLock reads namespace/name[:shared|:permit:2/5].
func parseLock(t *testing.T, text string) want {
	parts := strings.SplitN(text, ":", 3)
	namespace, name, ok := strings.Cut(parts[0], "/")
	if !ok {
		t.Fatalf("%q is not namespace/name", parts[0])
	}
	w := want{lock: lockName{namespace: namespace, lock: name}, permits: 1}
	switch {
	case len(parts) == 2 && parts[1] == "shared":
		w.mode = shared
	case len(parts) == 3 && parts[1] == "permit":
		w.mode = permit
		if _, err := fmt.Sscanf(parts[2], "%d/%d", &w.permits, &w.limit); err != nil {
			t.Fatal(err)
		}
	case len(parts) > 1:
		t.Fatalf("%q has no mode that is known", text)
	}
	return w
}

func hashText(text string) (h KeyHash) {
	copy(h[:], text)
	return h
}

func mode(m leasepb.Mode) string {
	return strings.ToLower(strings.TrimPrefix(m.String(), "MODE_"))
}

func kindName(kind leasepb.EventType) string {
	return strings.ToLower(strings.TrimPrefix(kind.String(), "EVENT_"))
}
