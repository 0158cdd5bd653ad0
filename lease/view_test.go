package lease

import (
	"fmt"
	"slices"
	"testing"

	"lockd/lease/leasepb"
)

// inNamespace acquires a lock in any namespace with a one-shot lease of its own.
func inNamespace(s *State, n int, name lockName) ID {
	id := NewID(name.namespace, [12]byte{byte(n)})
	s.Apply(1, 1, &leasepb.Command{Op: &leasepb.Command_Acquire{Acquire: &leasepb.Acquire{
		Lease: id[:], OneShot: &leasepb.NewLease{TtlMs: 1000},
		Locks: []*leasepb.LockRequest{{Namespace: name.namespace, Lock: name.lock, Permits: 1}},
	}}})
	return id
}

func TestLocksPages(t *testing.T) {
	s := loaded(0, 0)
	for i, name := range []lockName{{"a", "b"}, {"jobs", "a"}, {"jobs", "ab"}, {"jobs", "abc"}, {"jobs", "b"}, {"jobs", "c"}, {"jobt", "a"}} {
		inNamespace(s, i, name)
	}
	// One that is closed, and held by nobody.
	id := numberedLease(1)
	create := createCommand(id)
	create.GetCreateLease().New.LockDelayMs = 1000
	s.Apply(1, 1, create)
	s.Apply(1, 1, acquireCommand(id, "bb", 0))
	s.Apply(1, 1, &leasepb.Command{Term: 1, Op: &leasepb.Command_Expire{Expire: &leasepb.Expire{Leases: [][]byte{id[:]}}}})

	for _, test := range []struct {
		name string
		page Page
		want []string
		next string
	}{
		{"all", Page{Namespace: "jobs", Limit: 10}, []string{"a", "ab", "abc", "b", "bb", "c"}, ""},
		{"just all", Page{Namespace: "jobs", Limit: 6}, []string{"a", "ab", "abc", "b", "bb", "c"}, ""},
		{"first page", Page{Namespace: "jobs", Limit: 2}, []string{"a", "ab"}, "ab"},
		{"second page", Page{Namespace: "jobs", Limit: 2, After: "ab"}, []string{"abc", "b"}, "b"},
		{"last page", Page{Namespace: "jobs", Limit: 2, After: "b"}, []string{"bb", "c"}, ""},
		{"held", Page{Namespace: "jobs", Limit: 2, After: "abc", HeldOnly: true}, []string{"b", "c"}, ""},
		{"only not held follow", Page{Namespace: "jobs", Limit: 1, Prefix: "b", HeldOnly: true}, []string{"b"}, ""},
		{"prefix", Page{Namespace: "jobs", Limit: 10, Prefix: "ab"}, []string{"ab", "abc"}, ""},
		{"prefix and after", Page{Namespace: "jobs", Limit: 10, Prefix: "ab", After: "ab"}, []string{"abc"}, ""},
		{"after before the prefix", Page{Namespace: "jobs", Limit: 10, Prefix: "ab", After: "a"}, []string{"ab", "abc"}, ""},
		{"after behind the prefix", Page{Namespace: "jobs", Limit: 10, Prefix: "ab", After: "b"}, nil, ""},
		{"after one that is gone", Page{Namespace: "jobs", Limit: 10, After: "ba"}, []string{"bb", "c"}, ""},
		{"no such namespace", Page{Namespace: "none", Limit: 10}, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			locks, next := s.Locks(test.page)
			for _, v := range locks {
				got = append(got, v.Lock)
			}
			if !slices.Equal(got, test.want) || next != test.next {
				t.Errorf("got %v next %q, want %v next %q", got, next, test.want, test.next)
			}
		})
	}
}

func TestLeasesPages(t *testing.T) {
	s := loaded(0, 0)
	var ids []ID
	want := map[string][]ID{}
	for n := range 7 {
		for _, namespace := range []string{"jobs", "other"} {
			id := inNamespace(s, n, lockName{namespace, fmt.Sprint(n)})
			ids = append(ids, id)
			want[namespace] = append(want[namespace], id)
		}
	}
	slices.SortFunc(ids, func(a, b ID) int { return slices.Compare(a[:], b[:]) })
	want[""] = ids
	for namespace, all := range want {
		for limit := 1; limit <= len(all)+1; limit++ {
			var got []ID
			var after ID
			for more := true; more; {
				var page []*leasepb.LeaseView
				page, more = s.Leases(namespace, after, limit)
				if len(page) > limit || (more && len(page) < limit) {
					t.Fatalf("%q by %d: a page of %d", namespace, limit, len(page))
				}
				for _, v := range page {
					after = idOf(v.Lease)
					got = append(got, after)
				}
			}
			if !slices.Equal(got, all) {
				t.Errorf("%q by %d: %v, want %v", namespace, limit, got, all)
			}
		}
	}
	if page, more := s.Leases("none", ID{}, 10); len(page) > 0 || more {
		t.Errorf("a namespace without leases has %v", page)
	}
}

func TestNamespacesPages(t *testing.T) {
	s := loaded(0, 0)
	for n, namespace := range []string{"c", "a", "b"} {
		inNamespace(s, n, lockName{namespace, "x"})
	}
	if names, next := s.Namespaces("", 2); !slices.Equal(names, []string{"a", "b"}) || next != "b" {
		t.Errorf("first page %v, next %q", names, next)
	}
	if names, next := s.Namespaces("b", 2); !slices.Equal(names, []string{"c"}) || next != "" {
		t.Errorf("last page %v, next %q", names, next)
	}
	s.Apply(1, 1, &leasepb.Command{Op: &leasepb.Command_ForceRelease{ForceRelease: &leasepb.ForceRelease{
		Lock: lockName{"b", "x"}.ref(),
	}}})
	if names, _ := s.Namespaces("", 9); !slices.Equal(names, []string{"a", "c"}) {
		t.Errorf("a namespace in which nothing is left stays: %v", names)
	}
}
