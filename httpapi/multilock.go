package httpapi

import (
	"errors"
	"net/http"
	"strconv"

	"lockd/lease"
	"lockd/lease/leasepb"
)

func (s *Server) multilockRoutes() []*route {
	return []*route{
		{method: http.MethodPost, path: "/v1/multilock/acquire", handle: s.multiAcquire},
		{method: http.MethodPost, path: "/v1/multilock/release", handle: s.multiRelease},
	}
}

// maxLocks is how many locks one multi-lock has.
const maxLocks = 64

var errTooManyLocks = &tooLargeError{"locks must be at most " + strconv.Itoa(maxLocks)}

// lockID names a lock in a body.
type lockID struct{ namespace, lock string }

func (id *lockID) member(d *decoder, name string) error {
	switch name {
	case "namespace":
		return d.namespace(name, &id.namespace)
	case "lock":
		if err := d.text(name, maxBody, &id.lock); err != nil {
			return err
		}
		return checkLockName(d.field(name), id.lock)
	}
	return errUnknownMember
}

// checkLocks wants every lock named, and none twice.
func checkLocks(ids []lockID) error {
	seen := make(map[lockID]bool, len(ids))
	for i, id := range ids {
		field := "locks[" + strconv.Itoa(i) + "]"
		switch {
		case id.namespace == "":
			return invalid(field+".namespace", "is needed")
		case id.lock == "":
			return invalid(field+".lock", "is needed")
		case seen[id]:
			return invalid(field, "is given more than once")
		}
		seen[id] = true
	}
	return nil
}

type multiAcquireRequest struct {
	terms
	locks []placeOf
}

type placeOf struct {
	lockID
	place
}

func (p *placeOf) member(d *decoder, name string) error {
	if err := p.lockID.member(d, name); err != errUnknownMember {
		return err
	}
	return p.place.member(d, name)
}

func (req *multiAcquireRequest) member(d *decoder, name string) error {
	if name != "locks" {
		return req.terms.member(d, name)
	}
	return d.objects(name, func(i int) (request, error) {
		if i == maxLocks {
			return nil, errTooManyLocks
		}
		req.locks = append(req.locks, placeOf{})
		return &req.locks[i], nil
	})
}

// lockRequests checks the locks together.
func (req *multiAcquireRequest) lockRequests() ([]*leasepb.LockRequest, error) {
	if len(req.locks) == 0 {
		return nil, invalid("locks", "is needed, with one lock at least")
	}
	ids := make([]lockID, len(req.locks))
	requests := make([]*leasepb.LockRequest, len(req.locks))
	for i := range req.locks {
		p := &req.locks[i]
		if err := p.check("locks[" + strconv.Itoa(i) + "]."); err != nil {
			return nil, err
		}
		ids[i] = p.lockID
		requests[i] = p.lockRequest(p.namespace, p.lock)
	}
	return requests, checkLocks(ids)
}

// multilockError is a refusal of several locks, which says of each what is in
// the way.
type multilockError struct{ *lease.LockHeldError }

func (e *multilockError) Unwrap() error { return e.LockHeldError }

func (s *Server) multiAcquire(x *exchange, r *http.Request) error {
	var req multiAcquireRequest
	if err := x.decode(r, maxLongBody, &req); err != nil {
		return err
	}
	locks, err := req.lockRequests()
	if err != nil {
		return err
	}
	g, err := s.take(x, r, &req.terms, locks)
	var held *lease.LockHeldError
	if errors.As(err, &held) {
		return &multilockError{held}
	}
	if err != nil {
		return err
	}
	a := &x.out
	a.begin()
	a.text("lease", g.secret)
	a.text("lease_id", g.secret[:idLength])
	a.duration("ttl", g.TtlMs)
	a.millis("expires_in_ms", g.ExpiresInMs)
	a.int("waited_ms", g.WaitedMs)
	a.array("grants")
	for _, hold := range g.Grants {
		a.element()
		a.grant(hold)
		a.endObject()
	}
	a.endArray()
	a.endObject()
	return s.deliver(x, r, g)
}

type multiReleaseRequest struct {
	lease    string
	hasLease bool
	hasLocks bool
	locks    []releaseOf
}

type releaseOf struct {
	lockID
	token uint64
}

func (rel *releaseOf) member(d *decoder, name string) error {
	if name == "token" {
		return d.token(name, &rel.token)
	}
	return rel.lockID.member(d, name)
}

func (req *multiReleaseRequest) member(d *decoder, name string) error {
	switch name {
	case "lease":
		req.hasLease = true
		return d.text(name, maxBody, &req.lease)
	case "locks":
		req.hasLocks = true
		return d.objects(name, func(i int) (request, error) {
			if i == maxLocks {
				return nil, errTooManyLocks
			}
			req.locks = append(req.locks, releaseOf{})
			return &req.locks[i], nil
		})
	}
	return errUnknownMember
}

// refs checks the locks together. An empty list is refused: it looks like a
// mistake, and would release everything.
func (req *multiReleaseRequest) refs() ([]*leasepb.ReleaseRef, error) {
	if req.hasLocks && len(req.locks) == 0 {
		return nil, invalid("locks", "must name one lock at least; leave it out to release all")
	}
	ids := make([]lockID, len(req.locks))
	refs := make([]*leasepb.ReleaseRef, len(req.locks))
	for i, rel := range req.locks {
		ids[i] = rel.lockID
		refs[i] = &leasepb.ReleaseRef{Namespace: rel.namespace, Lock: rel.lock, Token: rel.token}
	}
	return refs, checkLocks(ids)
}

func (s *Server) multiRelease(x *exchange, r *http.Request) error {
	var req multiReleaseRequest
	if err := x.decode(r, maxLongBody, &req); err != nil {
		return err
	}
	refs, err := req.refs()
	if err != nil {
		return err
	}
	if !req.hasLease {
		return errNeedsLease
	}
	id, err := s.checkLease(r, req.lease)
	if err != nil {
		return err
	}
	op := &leasepb.Release{Lease: id[:], Locks: refs, Multi: true}
	if len(refs) > 0 {
		op.Namespace = refs[0].Namespace
	}
	released, err := s.do(r.Context(), x, r, &leasepb.Command{Op: &leasepb.Command_Release{Release: op}})
	if err != nil {
		return err
	}
	a := &x.out
	a.begin()
	a.released(released.Released)
	a.array("not_held")
	for _, ref := range released.NotHeld {
		a.element()
		a.text("namespace", ref.Namespace)
		a.text("lock", ref.Lock)
		a.endObject()
	}
	a.endArray()
	a.endObject()
	return x.reply(http.StatusOK)
}
