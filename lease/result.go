package lease

import "lockd/lease/leasepb"

// refuse is a result that changed nothing.
func refuse(code leasepb.Code, detail string) *leasepb.Result {
	return &leasepb.Result{Code: code, Detail: detail}
}

func refuseLeaseNotFound() *leasepb.Result {
	return refuse(leasepb.Code_LEASE_NOT_FOUND, "the lease never existed or has ended; make a new one")
}

func refuseNotHolder() *leasepb.Result {
	return refuse(leasepb.Code_NOT_HOLDER, "the lease does not hold the lock under this token; there is nothing to release")
}

func refuseHeld(blocked []lockName) *leasepb.Result {
	r := refuse(leasepb.Code_LOCK_HELD, "others hold the lock or came first; try again later, or ask with a longer wait")
	r.BlockedBy = refs(blocked)
	return r
}

// resultAbout is a success that concerns a lease.
func resultAbout(l *lease) *leasepb.Result {
	r := new(leasepb.Result)
	fillAbout(r, l)
	return r
}

func fillAbout(r *leasepb.Result, l *lease) {
	r.Lease = l.id[:]
	r.Namespace = l.namespace
	r.Owner = l.owner
	r.TtlMs = l.ttl
	r.OneShot = l.oneShot
}

// granted is a result with one grant, the most frequent of all, in one piece
// of memory.
type grantedOne struct {
	result leasepb.Result
	grant  leasepb.Grant
	grants [1]*leasepb.Grant
}

func resultGranted(l *lease, places []*place) *leasepb.Result {
	if len(places) != 1 {
		r := resultAbout(l)
		r.Grants = grants(places)
		return r
	}
	one := new(grantedOne)
	fillAbout(&one.result, l)
	places[0].fill(&one.grant)
	one.grants[0] = &one.grant
	one.result.Grants = one.grants[:]
	return &one.result
}

func resultReleased(places []*place) *leasepb.Result {
	if len(places) != 1 {
		return &leasepb.Result{Released: grants(places)}
	}
	one := new(grantedOne)
	places[0].fill(&one.grant)
	one.grants[0] = &one.grant
	one.result.Released = one.grants[:]
	return &one.result
}

func grants(places []*place) []*leasepb.Grant {
	if len(places) == 0 {
		return nil
	}
	list := make([]*leasepb.Grant, len(places))
	for i, p := range places {
		list[i] = p.grant()
	}
	return list
}

func refs(names []lockName) []*leasepb.LockRef {
	if len(names) == 0 {
		return nil
	}
	list := make([]*leasepb.LockRef, len(names))
	for i, n := range names {
		list[i] = n.ref()
	}
	return list
}

// Answer is what an attempt that waited hears, by another entry than its own.
// It is valid until the next Apply.
type Answer struct {
	Attempt Attempt
	Lease   ID
	// Joined: By, a newer attempt, has taken over the place, and there is no
	// result yet. What By will hear is right for Attempt too.
	Joined bool
	By     Attempt

	refusal leasepb.Code
	lease   *lease // of a grant
	granted []*place
	blocked []lockName
	keyed   bool
}

func (s *State) answer(a Answer) { s.turn.answers = append(s.turn.answers, a) }

// Result is the result of the attempt's acquire, made anew by every call: only
// the node that serves the attempt needs it.
func (a *Answer) Result() *leasepb.Result {
	var r *leasepb.Result
	switch a.refusal {
	case leasepb.Code_OK:
		r = resultGranted(a.lease, a.granted)
		r.Keyed = a.keyed
	case leasepb.Code_LOCK_HELD:
		r = refuseHeld(a.blocked)
	default:
		r = refuseLeaseNotFound()
	}
	return r
}
