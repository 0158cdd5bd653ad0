package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"lockd/lease"
	"lockd/lease/leasepb"
)

const lockPath = "/v1/namespaces/{namespace}/locks/{lock}"

func (s *Server) lockRoutes() []*route {
	return []*route{
		{method: http.MethodPost, path: lockPath + "/acquire", handle: s.acquire},
		{method: http.MethodPost, path: lockPath + "/release", handle: s.release},
		{method: http.MethodPost, path: lockPath + "/verify", handle: s.verify},
		{method: http.MethodGet, path: lockPath + "/verify", handle: s.verifyQuery, query: []string{"token"}},
		{method: http.MethodPost, path: lockPath + "/force-release", handle: s.forceRelease},
		{method: http.MethodGet, path: lockPath, handle: s.lock, query: []string{"consistency", "index", "wait"}},
		{method: http.MethodGet, path: "/v1/namespaces/{namespace}/locks", handle: s.locks, query: []string{"prefix", "held", "limit", "after"}},
		{method: http.MethodGet, path: "/v1/namespaces", handle: s.namespaces, query: []string{"limit", "after"}},
	}
}

// place is how a lock is asked for, alone or as one of several.
type place struct {
	mode           leasepb.Mode
	permits, limit uint64 // 0: not given
}

// maxPermits bounds permits and limit.
const maxPermits = 1_000_000

func (p *place) member(d *decoder, name string) error {
	switch name {
	case "mode":
		return d.mode(name, &p.mode)
	case "permits":
		return d.uint(name, 1, maxPermits, &p.permits)
	case "limit":
		return d.uint(name, 1, maxPermits, &p.limit)
	}
	return errUnknownMember
}

// check fills in the defaults. Fields in errors begin with prefix.
func (p *place) check(prefix string) error {
	if p.mode != leasepb.Mode_MODE_PERMIT {
		if p.permits != 0 {
			return invalid(prefix+"permits", `needs mode "permit"`)
		}
		if p.limit != 0 {
			return invalid(prefix+"limit", `needs mode "permit"`)
		}
		p.permits = 1
		return nil
	}
	if p.limit == 0 {
		return invalid(prefix+"limit", `is needed with mode "permit"`)
	}
	if p.permits == 0 {
		p.permits = 1
	}
	if p.permits > p.limit {
		return invalidf(prefix+"permits", "must not be over the limit of %d", p.limit)
	}
	return nil
}

var modeNames = [...]string{
	leasepb.Mode_MODE_EXCLUSIVE: "exclusive",
	leasepb.Mode_MODE_SHARED:    "shared",
	leasepb.Mode_MODE_PERMIT:    "permit",
}

func (d *decoder) mode(name string, to *leasepb.Mode) error {
	var text string
	if err := d.text(name, maxOwner, &text); err != nil {
		return err
	}
	for mode, modeName := range modeNames {
		if text == modeName {
			*to = leasepb.Mode(mode)
			return nil
		}
	}
	return invalid(d.field(name), `must be "exclusive", "shared" or "permit"`)
}

// terms are what every acquire says besides its locks: under which lease, and
// for how long to wait.
type terms struct {
	lease    string
	hasLease bool // else a one-shot lease is made
	ttl      time.Duration
	owner    string
	wait     time.Duration
	metadata []*leasepb.Pair
}

func (t *terms) member(d *decoder, name string) error {
	switch name {
	case "lease":
		t.hasLease = true
		return d.text(name, maxBody, &t.lease)
	case "ttl":
		return d.duration(name, minTTL, maxTTL, &t.ttl)
	case "owner":
		return d.text(name, maxOwner, &t.owner)
	case "wait":
		return d.duration(name, 0, maxWait, &t.wait)
	case "metadata":
		return d.metadata(name, &t.metadata)
	}
	return errUnknownMember
}

// acquire makes the command: under the lease given, or under a new one-shot
// lease, to which the Service gives its id.
func (t *terms) acquire(secrets *proofs, locks []*leasepb.LockRequest) (*leasepb.Acquire, error) {
	a := &leasepb.Acquire{Locks: locks, WaitMs: millisUp(t.wait), Metadata: t.metadata}
	if !t.hasLease {
		ttl := t.ttl
		if ttl == 0 {
			ttl = defaultTTL
		}
		a.OneShot = &leasepb.NewLease{Owner: t.owner, TtlMs: millisUp(ttl), Metadata: t.metadata}
		return a, nil
	}
	if t.ttl != 0 {
		return nil, invalid("ttl", "belongs to a new lease: give either lease or ttl")
	}
	id, err := secrets.check(t.lease)
	if err != nil {
		return nil, err
	}
	a.Lease, a.Owner = id[:], t.owner
	return a, nil
}

type acquireRequest struct {
	terms
	place
}

func (req *acquireRequest) member(d *decoder, name string) error {
	if err := req.terms.member(d, name); err != errUnknownMember {
		return err
	}
	return req.place.member(d, name)
}

func (s *Server) acquire(x *exchange, r *http.Request) error {
	namespace, lock, err := x.lockName()
	if err != nil {
		return err
	}
	var req acquireRequest
	if err := x.decode(r, maxBody, &req); err != nil {
		return err
	}
	if err := req.place.check(""); err != nil {
		return err
	}
	g, err := s.take(x, r, &req.terms, []*leasepb.LockRequest{req.lockRequest(namespace, lock)})
	if err != nil {
		return err
	}
	hold := g.Grants[0]
	a := &x.out
	a.begin()
	a.text("namespace", hold.Namespace)
	a.text("lock", hold.Lock)
	a.text("mode", modeNames[hold.Mode])
	a.int("permits", hold.Permits)
	a.text("lease", g.secret)
	a.text("lease_id", g.secret[:idLength])
	a.uint("token", hold.Token)
	a.text("owner", hold.Owner)
	a.duration("ttl", g.TtlMs)
	a.millis("expires_in_ms", g.ExpiresInMs)
	a.int("waited_ms", g.WaitedMs)
	a.time("acquired_at", hold.AtUnixMs)
	a.endObject()
	x.Header()["Lockd-Token"] = []string{strconv.FormatUint(hold.Token, 10)}
	return s.deliver(x, r, g)
}

func (p *place) lockRequest(namespace, lock string) *leasepb.LockRequest {
	return &leasepb.LockRequest{Namespace: namespace, Lock: lock, Mode: p.mode, Permits: int64(p.permits), Limit: int64(p.limit)}
}

type releaseRequest struct {
	lease    string
	hasLease bool
	token    uint64
}

func (req *releaseRequest) member(d *decoder, name string) error {
	switch name {
	case "lease":
		req.hasLease = true
		return d.text(name, maxBody, &req.lease)
	case "token":
		return d.token(name, &req.token)
	}
	return errUnknownMember
}

func (s *Server) release(x *exchange, r *http.Request) error {
	namespace, lock, err := x.lockName()
	if err != nil {
		return err
	}
	var req releaseRequest
	if err := x.decode(r, maxBody, &req); err != nil {
		return err
	}
	if !req.hasLease {
		return errNeedsLease
	}
	id, err := s.checkLease(r, req.lease)
	if err != nil {
		return err
	}
	released, err := s.do(r.Context(), x, r, &leasepb.Command{Op: &leasepb.Command_Release{Release: &leasepb.Release{
		Lease:     id[:],
		Namespace: namespace,
		Locks:     []*leasepb.ReleaseRef{{Namespace: namespace, Lock: lock, Token: req.token}},
	}}})
	if err != nil {
		return err
	}
	a := &x.out
	a.begin()
	a.bool("released", !released.Cancelled)
	if released.Cancelled {
		a.bool("cancelled", true)
	} else if len(released.Released) > 0 {
		a.uint("token", released.Released[0].Token)
	}
	a.endObject()
	return x.reply(http.StatusOK)
}

var errNeedsLease = invalid("lease", "is needed")

// checkLease finds the lease that a client has the secret of.
func (s *Server) checkLease(r *http.Request, secret string) (lease.ID, error) {
	secrets, err := s.secrets(r.Context())
	if err != nil {
		return lease.ID{}, err
	}
	return secrets.check(secret)
}

type forceReleaseRequest struct {
	reason string
	token  uint64
}

func (req *forceReleaseRequest) member(d *decoder, name string) error {
	switch name {
	case "reason":
		return d.text(name, maxReason, &req.reason)
	case "token":
		return d.token(name, &req.token)
	}
	return errUnknownMember
}

func (s *Server) forceRelease(x *exchange, r *http.Request) error {
	namespace, lock, err := x.lockName()
	if err != nil {
		return err
	}
	var req forceReleaseRequest
	if err := x.decode(r, maxBody, &req); err != nil {
		return err
	}
	if req.reason == "" {
		return invalid("reason", "is needed: it goes into the audit log")
	}
	forced, err := s.do(r.Context(), x, r, &leasepb.Command{Op: &leasepb.Command_ForceRelease{ForceRelease: &leasepb.ForceRelease{
		Lock:   &leasepb.LockRef{Namespace: namespace, Lock: lock},
		Token:  req.token,
		Reason: req.reason,
	}}})
	s.auditForceRelease(x, r, &forcedRelease{namespace, lock, &req, forced.GetReleased(), err})
	if err != nil {
		return err
	}
	a := &x.out
	a.begin()
	a.array("released")
	for _, g := range forced.Released {
		a.element()
		a.leaseID(g.Lease)
		a.uint("token", g.Token)
		a.endObject()
	}
	a.endArray()
	a.endObject()
	return x.reply(http.StatusOK)
}
