package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// everything registers all metrics and gives each at least one value.
func everything(tb testing.TB) *prometheus.Registry {
	tb.Helper()
	reg := prometheus.NewPedanticRegistry()
	m := New(reg)
	m.AddNode(Node{Name: "n1", Version: "v1", Revision: "abc", GoVersion: "go1"}, func() uint64 { return 3 })
	m.AddGroups(func() []GroupSample {
		return []GroupSample{
			{Group: 1, HasLeader: true, Leading: true, Term: 2, State: GroupState{HeldLocks: 7, Grants: 9}},
			{Group: 2, HasLeader: true, Term: 5, State: GroupState{Grants: 4}},
		}
	})
	m.HTTP.Route("POST", "/v1/leases").Observe(201, time.Millisecond)
	m.Locks.Acquired(AcquireGranted, time.Second)
	m.Consensus.Fsynced(time.Millisecond)
	m.Consensus.Applied(1)(time.Millisecond)
	m.AddPeers(func() []PeerSample { return []PeerSample{{Node: "n2", Connected: true, SentMessages: 5}} })
	m.Logs.Dropped()
	return reg
}

func TestNamesFollowPrometheusConventions(t *testing.T) {
	problems, err := testutil.GatherAndLint(everything(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestEveryMetricIsOurs(t *testing.T) {
	families, err := everything(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "lockd_") {
			t.Errorf("%s does not begin with lockd_", f.GetName())
		}
	}
}

// What a group holds is told by its leader alone, so that a sum over the nodes
// counts it once; what happened here is told for ever, as counters must be.
func TestStateOfAGroupComesFromItsLeaderAlone(t *testing.T) {
	want := `
# HELP lockd_grants_total Locks granted, each with a new fencing token, while this node led.
# TYPE lockd_grants_total counter
lockd_grants_total{group="1"} 9
lockd_grants_total{group="2"} 4
# HELP lockd_group_leading 1 if this node leads the group.
# TYPE lockd_group_leading gauge
lockd_group_leading{group="1"} 1
lockd_group_leading{group="2"} 0
# HELP lockd_held_locks Locks held in the group; only its leader's node tells.
# TYPE lockd_held_locks gauge
lockd_held_locks{group="1"} 7
`
	err := testutil.GatherAndCompare(everything(t), strings.NewReader(want), "lockd_held_locks", "lockd_group_leading", "lockd_grants_total")
	if err != nil {
		t.Error(err)
	}
}

func TestRouteCountsByStatus(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	route := New(reg).HTTP.Route("GET", "/x")
	for _, status := range []int{200, 200, 409, 1000, -1} {
		route.Observe(status, time.Millisecond)
	}
	want := `
# HELP lockd_http_requests_total REST requests answered, by route, method and status.
# TYPE lockd_http_requests_total counter
lockd_http_requests_total{code="0",method="GET",route="/x"} 2
lockd_http_requests_total{code="200",method="GET",route="/x"} 2
lockd_http_requests_total{code="409",method="GET",route="/x"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "lockd_http_requests_total"); err != nil {
		t.Error(err)
	}
}

func TestHotObservationsDoNotAllocate(t *testing.T) {
	m := New(prometheus.NewPedanticRegistry())
	route, applied := m.HTTP.Route("POST", "/x"), m.Consensus.Applied(1)
	route.Observe(200, 0)
	for name, observe := range map[string]func(){
		"request": func() { route.Observe(200, time.Millisecond) },
		"acquire": func() { m.Locks.Acquired(AcquireGranted, time.Millisecond) },
		"apply":   func() { applied(time.Millisecond) },
		"fsync":   func() { m.Consensus.Fsynced(time.Millisecond) },
	} {
		if allocs := testing.AllocsPerRun(100, observe); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	route := New(prometheus.NewPedanticRegistry()).HTTP.Route("POST", "/x")
	b.ReportAllocs()
	for b.Loop() {
		route.Observe(200, 700*time.Microsecond)
	}
}
