package httpapi

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"lockd/lease"
	"lockd/lease/leasepb"
)

func (s *Server) leaseRoutes() []*route {
	return []*route{
		{method: http.MethodPost, path: "/v1/leases/keepalive", handle: s.keepaliveBatch},
		{method: http.MethodPost, path: "/v1/leases/{lease}/keepalive", handle: s.keepalive},
		{method: http.MethodPost, path: "/v1/leases", handle: s.createLease},
		{method: http.MethodGet, path: "/v1/leases", handle: s.leases, query: []string{"namespace", "limit", "after"}},
		{method: http.MethodGet, path: "/v1/leases/{lease}", handle: s.lease},
		{method: http.MethodDelete, path: "/v1/leases/{lease}", handle: s.endLease},
	}
}

// defaultNamespace is the home of leases that name none.
const defaultNamespace = "default"

type createLeaseRequest struct {
	namespace string
	owner     string
	ttl       time.Duration
	lockDelay time.Duration
	metadata  []*leasepb.Pair
}

func (req *createLeaseRequest) member(d *decoder, name string) error {
	switch name {
	case "namespace":
		return d.namespace(name, &req.namespace)
	case "owner":
		return d.text(name, maxOwner, &req.owner)
	case "ttl":
		return d.duration(name, minTTL, maxTTL, &req.ttl)
	case "lock_delay":
		return d.duration(name, 0, maxLockDelay, &req.lockDelay)
	case "metadata":
		return d.metadata(name, &req.metadata)
	}
	return errUnknownMember
}

func (d *decoder) namespace(name string, to *string) error {
	if err := d.text(name, maxBody, to); err != nil {
		return err
	}
	return checkNamespace(d.field(name), *to)
}

func (s *Server) createLease(x *exchange, r *http.Request) error {
	req := createLeaseRequest{namespace: defaultNamespace, ttl: defaultTTL}
	if err := x.decode(r, maxBody, &req); err != nil {
		return err
	}
	secrets, err := s.secrets(r.Context())
	if err != nil {
		return err
	}
	var random [12]byte
	rand.Read(random[:]) // never fails (since Go 1.24)
	id := lease.NewID(req.namespace, random)
	made, err := s.do(r.Context(), x, r, &leasepb.Command{Op: &leasepb.Command_CreateLease{CreateLease: &leasepb.CreateLease{
		Lease:     id[:],
		Namespace: req.namespace,
		New: &leasepb.NewLease{
			Owner:       req.owner,
			TtlMs:       millisUp(req.ttl),
			Metadata:    req.metadata,
			LockDelayMs: millisUp(req.lockDelay),
		},
	}}})
	if err != nil {
		return err
	}
	secret := secrets.lease(lease.ID(made.Lease))
	h := x.Header()
	h["Lockd-Lease"] = []string{secret}
	h["Location"] = []string{"/v1/leases/" + secret[:idLength]}
	a := &x.out
	a.begin()
	a.text("lease", secret)
	a.text("lease_id", secret[:idLength])
	a.text("namespace", made.Namespace)
	a.text("owner", made.Owner)
	a.duration("ttl", made.TtlMs)
	a.millis("expires_in_ms", made.ExpiresInMs)
	a.endObject()
	return x.reply(http.StatusCreated)
}

// pathLease finds the lease whose secret is in the path.
func (s *Server) pathLease(x *exchange, r *http.Request) (lease.ID, error) {
	secret, err := url.PathUnescape(x.vars[0])
	if err != nil {
		return lease.ID{}, errNoLease
	}
	return s.checkLease(r, secret)
}

// viewedLease finds the lease in the path, by its secret or its id alone.
func (s *Server) viewedLease(x *exchange, r *http.Request) (lease.ID, error) {
	named, err := url.PathUnescape(x.vars[0])
	if err != nil || len(named) != idLength {
		return s.pathLease(x, r)
	}
	id, err := lease.ParseID(named)
	if err != nil {
		return lease.ID{}, errNoLease
	}
	return id, nil
}

func (s *Server) lease(x *exchange, r *http.Request) error {
	id, err := s.viewedLease(x, r)
	if err != nil {
		return err
	}
	view, err := s.svc.Lease(r.Context(), id)
	if err != nil {
		return err
	}
	x.out.begin()
	x.out.leaseView(view)
	x.out.endObject()
	return x.reply(http.StatusOK)
}

func (s *Server) leases(x *exchange, r *http.Request) error {
	q := queryOf(r)
	namespace := defaultNamespace
	if q.Has("namespace") {
		namespace = q.Get("namespace")
	}
	if err := checkNamespace("namespace", namespace); err != nil {
		return err
	}
	after, err := q.text("after")
	if err != nil {
		return err
	}
	if _, err := lease.ParseID(after); after != "" && err != nil {
		return invalid("after", "is not a lease id, as next of an earlier page")
	}
	limit, err := q.limit()
	if err != nil {
		return err
	}
	leases, next, err := s.svc.Leases(r.Context(), namespace, after, limit)
	if err != nil {
		return err
	}
	a := &x.out
	a.begin()
	a.array("leases")
	for _, view := range leases {
		a.element()
		a.leaseView(view)
		a.endObject()
	}
	a.endArray()
	return x.replyPage(next)
}

// leaseView writes the members of a lease as others see it.
func (a *answer) leaseView(v *leasepb.LeaseView) {
	a.leaseID(v.Lease)
	a.text("namespace", v.Namespace)
	a.text("owner", v.Owner)
	a.duration("ttl", v.TtlMs)
	a.millis("expires_in_ms", v.ExpiresInMs)
	a.duration("lock_delay", v.LockDelayMs)
	a.metadata(v.Metadata)
	a.array("locks")
	for _, g := range v.Locks {
		a.element()
		a.grant(g)
		a.endObject()
	}
	a.endArray()
	a.array("waiting")
	for _, g := range v.Waiting {
		a.element()
		a.text("namespace", g.Namespace)
		a.text("lock", g.Lock)
		a.text("mode", modeNames[g.Mode])
		a.endObject()
	}
	a.endArray()
}

// grant writes the members of a hold.
func (a *answer) grant(g *leasepb.Grant) {
	a.text("namespace", g.Namespace)
	a.text("lock", g.Lock)
	a.text("mode", modeNames[g.Mode])
	a.uint("token", g.Token)
}

func (s *Server) endLease(x *exchange, r *http.Request) error {
	if err := x.decode(r, maxBody, noBody{}); err != nil {
		return err
	}
	id, err := s.pathLease(x, r)
	if err != nil {
		return err
	}
	ended, err := s.do(r.Context(), x, r, &leasepb.Command{Op: &leasepb.Command_EndLease{EndLease: &leasepb.EndLease{Lease: id[:]}}})
	if err != nil {
		return err
	}
	x.out.begin()
	x.out.released(ended.Released)
	x.out.endObject()
	return x.reply(http.StatusOK)
}

// released writes the holds that a command ended.
func (a *answer) released(grants []*leasepb.Grant) {
	a.array("released")
	for _, g := range grants {
		a.element()
		a.text("namespace", g.Namespace)
		a.text("lock", g.Lock)
		a.uint("token", g.Token)
		a.endObject()
	}
	a.endArray()
}

func (s *Server) keepalive(x *exchange, r *http.Request) error {
	if err := x.decode(r, maxBody, noBody{}); err != nil {
		return err
	}
	id, err := s.pathLease(x, r)
	if err != nil {
		return err
	}
	renewed := s.svc.Keepalive(r.Context(), []lease.ID{id})[0]
	if renewed.Err != nil {
		return renewed.Err
	}
	x.out.begin()
	x.out.renewal(&renewed)
	x.out.endObject()
	return x.reply(http.StatusOK)
}

func (a *answer) renewal(r *Renewal) {
	a.text("lease_id", r.Lease.String())
	a.duration("ttl", r.TTL.Milliseconds())
	if r.ExpiresIn >= 0 {
		a.int("expires_in_ms", r.ExpiresIn.Milliseconds())
	}
}

// maxBatch is how many leases one batch keepalive renews.
const maxBatch = 1000

type keepaliveRequest struct {
	hasLeases bool
	leases    []string
}

func (req *keepaliveRequest) member(d *decoder, name string) error {
	if name != "leases" {
		return errUnknownMember
	}
	req.hasLeases = true
	return d.array(name, func(i int) error {
		if i == maxBatch {
			return invalidf(name, "must be at most %d", maxBatch)
		}
		var secret string
		err := d.text(name+"["+strconv.Itoa(i)+"]", maxBody, &secret)
		req.leases = append(req.leases, secret)
		return err
	})
}

func (s *Server) keepaliveBatch(x *exchange, r *http.Request) error {
	var req keepaliveRequest
	if err := x.decode(r, maxLongBody, &req); err != nil {
		return err
	}
	if !req.hasLeases {
		return invalid("leases", "is needed")
	}
	secrets, err := s.secrets(r.Context())
	if err != nil {
		return err
	}
	ids := make([]lease.ID, 0, len(req.leases))
	proven := make([]bool, len(req.leases))
	for i, secret := range req.leases {
		if id, err := secrets.check(secret); err == nil {
			ids = append(ids, id)
			proven[i] = true
		}
	}
	renewals := s.svc.Keepalive(r.Context(), ids)
	a := &x.out
	a.begin()
	a.array("results")
	for i, secret := range req.leases {
		a.element()
		switch {
		case !proven[i]:
			a.text("lease_id", idPart(secret))
			a.text("code", codeOf(errNoLease))
		case renewals[0].Err != nil:
			a.text("lease_id", renewals[0].Lease.String())
			a.text("code", codeOf(renewals[0].Err))
			renewals = renewals[1:]
		default:
			a.renewal(&renewals[0])
			renewals = renewals[1:]
		}
		a.endObject()
	}
	a.endArray()
	a.endObject()
	return x.reply(http.StatusOK)
}

// idPart is the id in a text that is no lease's secret, "" if there is none:
// what else it says may be a part of one.
func idPart(text string) string {
	if len(text) < idLength {
		return ""
	}
	if _, err := lease.ParseID(text[:idLength]); err != nil {
		return ""
	}
	return text[:idLength]
}
