package lease

import (
	"strings"

	"lockd/lease/leasepb"
)

// lockName names a lock within a group.
type lockName struct {
	namespace, lock string
}

// compare orders locks by namespace, then name, by bytes (R17).
func (n lockName) compare(o lockName) int {
	if c := strings.Compare(n.namespace, o.namespace); c != 0 {
		return c
	}
	return strings.Compare(n.lock, o.lock)
}

func (n lockName) ref() *leasepb.LockRef {
	return &leasepb.LockRef{Namespace: n.namespace, Lock: n.lock}
}

func (n lockName) String() string { return n.namespace + "/" + n.lock }

// namespace counts what keeps a namespace in the list of those in use. Its name
// is the one copy of that text which locks and leases share.
type namespace struct {
	name       string
	hash       uint64
	locks      int
	leases     int
	generation uint64
}

func (s *State) namespace(name string) *namespace {
	s.probe.namespace.name = name
	n, _ := s.namespaces.Get(&s.probe.namespace)
	return n
}

// ownNamespace returns the record of a namespace to be changed, new if there is none.
func (s *State) ownNamespace(name string) *namespace {
	n := s.namespace(name)
	switch {
	case n == nil:
		n = &namespace{name: strings.Clone(name), hash: HashNamespace(name), generation: s.generation}
		s.namespaces.Set(n)
	case n.generation != s.generation:
		clone := *n
		clone.generation = s.generation
		n = &clone
		s.namespaces.Set(n)
	}
	return n
}

func (s *State) dropNamespace(n *namespace) {
	if n.locks == 0 && n.leases == 0 {
		s.namespaces.Delete(n)
	}
}
