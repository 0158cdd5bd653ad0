package httpapi

import (
	"net/http"
	"slices"
	"strconv"

	"lockd/lease/leasepb"
)

func (s *Server) lock(x *exchange, r *http.Request) error {
	read, err := lockRead(x, r)
	if err != nil {
		return err
	}
	ctx, done := s.patience(x, r, read.Wait)
	defer done()
	state, err := s.svc.Lock(ctx, read)
	if err != nil {
		return err
	}
	if read.Stale {
		x.Header()["Lockd-Stale-Ms"] = []string{strconv.FormatInt(state.StaleFor.Milliseconds(), 10)}
	}
	x.out.begin()
	x.out.lockView(state.View)
	x.out.endObject()
	return x.reply(http.StatusOK)
}

func lockRead(x *exchange, r *http.Request) (read LockRead, err error) {
	if read.Namespace, read.Lock, err = x.lockName(); err != nil {
		return read, err
	}
	q := queryOf(r)
	switch q.Get("consistency") {
	case "stale":
		read.Stale = true
	case "linearizable":
	case "":
		if q.Has("consistency") {
			return read, invalid("consistency", `must be "linearizable" or "stale"`)
		}
	default:
		return read, invalid("consistency", `must be "linearizable" or "stale"`)
	}
	if read.AfterIndex, err = q.uint("index", 0, maxNumber, 0); err != nil {
		return read, err
	}
	if read.Wait, err = q.duration("wait", maxWait); err != nil {
		return read, err
	}
	if q.Has("wait") && !q.Has("index") {
		return read, invalid("wait", "needs index: the index after which to wait for a change")
	}
	if read.Stale && q.Has("index") {
		return read, invalid("index", "cannot be had from a stale read")
	}
	return read, nil
}

type verifyRequest struct{ token uint64 }

func (req *verifyRequest) member(d *decoder, name string) error {
	if name == "token" {
		return d.token(name, &req.token)
	}
	return errUnknownMember
}

func (s *Server) verify(x *exchange, r *http.Request) error {
	var req verifyRequest
	if err := x.decode(r, maxBody, &req); err != nil {
		return err
	}
	return s.verifyToken(x, r, req.token)
}

func (s *Server) verifyQuery(x *exchange, r *http.Request) error {
	token, err := queryOf(r).uint("token", 1, maxNumber, 0)
	if err != nil {
		return err
	}
	return s.verifyToken(x, r, token)
}

// verifyToken answers whether a grant still stands; token 0 is a request
// without one.
func (s *Server) verifyToken(x *exchange, r *http.Request, token uint64) error {
	namespace, lock, err := x.lockName()
	if err != nil {
		return err
	}
	if token == 0 {
		return invalid("token", "is needed")
	}
	state, err := s.svc.Lock(r.Context(), LockRead{Namespace: namespace, Lock: lock})
	if err != nil {
		return err
	}
	holders := state.View.Holders
	a := &x.out
	a.begin()
	a.bool("valid", slices.ContainsFunc(holders, func(h *leasepb.Holder) bool { return h.Token == token }))
	a.array("current_tokens")
	for _, h := range holders {
		a.uintElement(h.Token)
	}
	a.endArray()
	a.uint("last_token", state.View.LastToken)
	a.endObject()
	return x.reply(http.StatusOK)
}

func (s *Server) locks(x *exchange, r *http.Request) error {
	page, err := locksPage(x, r)
	if err != nil {
		return err
	}
	locks, next, err := s.svc.Locks(r.Context(), page)
	if err != nil {
		return err
	}
	a := &x.out
	a.begin()
	a.array("locks")
	for _, view := range locks {
		a.element()
		a.lockView(view)
		a.endObject()
	}
	a.endArray()
	return x.replyPage(next)
}

func locksPage(x *exchange, r *http.Request) (page LocksPage, err error) {
	if page.Namespace, err = x.namespace(); err != nil {
		return page, err
	}
	q := queryOf(r)
	if page.Prefix, err = q.text("prefix"); err != nil {
		return page, err
	}
	if page.After, err = q.text("after"); err != nil {
		return page, err
	}
	if page.HeldOnly, err = q.flag("held"); err != nil {
		return page, err
	}
	page.Limit, err = q.limit()
	return page, err
}

func (s *Server) namespaces(x *exchange, r *http.Request) error {
	q := queryOf(r)
	after, err := q.text("after")
	if err != nil {
		return err
	}
	limit, err := q.limit()
	if err != nil {
		return err
	}
	names, next, err := s.svc.Namespaces(r.Context(), after, limit)
	if err != nil {
		return err
	}
	a := &x.out
	a.begin()
	a.array("namespaces")
	for _, name := range names {
		a.textElement(name)
	}
	a.endArray()
	return x.replyPage(next)
}

// replyPage ends a list; next is "" on the last page.
func (x *exchange) replyPage(next string) error {
	if next != "" {
		x.out.text("next", next)
	}
	x.out.endObject()
	return x.reply(http.StatusOK)
}

// lockView writes the members of a lock.
func (a *answer) lockView(v *leasepb.LockView) {
	a.text("namespace", v.Namespace)
	a.text("lock", v.Lock)
	a.bool("held", len(v.Holders) > 0)
	a.text("mode", modeNames[v.Mode])
	a.int("limit", v.Limit)
	a.holders(v.Holders)
	a.array("queue")
	for _, w := range v.Queue {
		a.element()
		a.leaseID(w.Lease)
		a.text("owner", w.Owner)
		a.text("mode", modeNames[w.Mode])
		a.int("permits", w.Permits)
		a.int("position", w.Position)
		a.endObject()
	}
	a.endArray()
	a.int("queue_length", v.QueueLength)
	a.closedFor(v)
	a.uint("last_token", v.LastToken)
	a.uint("index", v.Index)
}

func (a *answer) holders(holders []*leasepb.Holder) {
	a.array("holders")
	for _, h := range holders {
		a.element()
		a.leaseID(h.Lease)
		a.text("owner", h.Owner)
		a.text("mode", modeNames[h.Mode])
		a.int("permits", h.Permits)
		a.uint("token", h.Token)
		a.time("acquired_at", h.AtUnixMs)
		a.metadata(h.Metadata)
		a.millis("expires_in_ms", h.ExpiresInMs)
		a.endObject()
	}
	a.endArray()
}

func (a *answer) metadata(pairs []*leasepb.Pair) {
	a.object("metadata")
	for _, p := range pairs {
		a.comma()
		a.quote(p.Key)
		a.b = append(a.b, ':')
		a.quote(p.Value)
	}
	a.endObject()
}

// closedFor writes how long a lock-delay still runs, where one does and the
// reader can know.
func (a *answer) closedFor(v *leasepb.LockView) {
	if v.Closed {
		a.millis("closed_for_ms", v.ClosedForMs)
	}
}

// blocked writes what lock_held adds: who is in the way of the lock, or of the
// first of several, and then all of these.
func (a *answer) blocked(views []*leasepb.LockView, several bool) {
	if len(views) > 0 {
		a.inTheWay(views[0])
	}
	if !several {
		return
	}
	a.array("blocked_by")
	for _, v := range views {
		a.element()
		a.text("namespace", v.Namespace)
		a.text("lock", v.Lock)
		a.inTheWay(v)
		a.endObject()
	}
	a.endArray()
}

func (a *answer) inTheWay(v *leasepb.LockView) {
	a.holders(v.Holders)
	a.int("queue_length", v.QueueLength)
	a.closedFor(v)
}
