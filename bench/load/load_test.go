package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"lockd/internal/noop"
)

// noopAddr is a server that grants everything to everybody.
func noopAddr(t *testing.T) string {
	t.Helper()
	return addrOf(t, noop.New())
}

func addrOf(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func short(workload, client string, clients int, addrs ...string) Config {
	return Config{Addrs: addrs, Workload: workload, Client: client, Clients: clients, Duration: 30 * time.Millisecond}
}

func TestEveryWorkloadCounts(t *testing.T) {
	addr := noopAddr(t)
	for _, workload := range Workloads() {
		for _, client := range ClientKinds {
			t.Run(workload+" with "+client, func(t *testing.T) {
				reports, err := Run(context.Background(), short(workload, client, 3, addr, addr))
				if err != nil {
					t.Fatal(err)
				}
				if len(reports) != 1 {
					t.Fatalf("%d reports", len(reports))
				}
				r := reports[0]
				for _, op := range r.Operations {
					if op.Count == 0 || op.PerSecond <= 0 || op.P50 <= 0 || op.P50 > op.P99 || op.P99 > op.Max {
						t.Errorf("%+v", op)
					}
				}
				if len(r.Errors) != 0 {
					t.Errorf("errors: %v", r.Errors)
				}
				if workload != "contend" && r.LostExclusions != 0 {
					t.Errorf("%d lost exclusions where there are none to lose", r.LostExclusions)
				}
				if renews := strings.HasPrefix(workload, "keepalive"); renews != (r.LeasesPerSecond > 0) {
					t.Errorf("%v leases/s", r.LeasesPerSecond)
				}
			})
		}
	}
}

// The no-op server lets all clients hold the contended lock at once.
func TestContendFindsLostExclusions(t *testing.T) {
	reports, err := Run(context.Background(), short("contend", "lean", 8, noopAddr(t)))
	if err != nil {
		t.Fatal(err)
	}
	if r := reports[0]; r.LostExclusions == 0 || r.Served == nil {
		t.Errorf("%+v", r)
	}
}

func TestExclusion(t *testing.T) {
	const a, b = 1, 2
	for name, tt := range map[string]struct {
		events func(e *exclusion)
		lost   int
	}{
		"one after the other":              {func(e *exclusion) { e.enter(a, 1); e.leave(); e.enter(b, 2); e.leave() }, 0},
		"two at once":                      {func(e *exclusion) { e.enter(a, 1); e.enter(b, 2) }, 1},
		"an older grant learnt of later":   {func(e *exclusion) { e.enter(b, 2); e.leave(); e.enter(a, 1); e.leave() }, 1},
		"one token for two":                {func(e *exclusion) { e.enter(a, 1); e.leave(); e.enter(b, 1); e.leave() }, 1},
		"taken again after a lost release": {func(e *exclusion) { e.enter(a, 1); e.leave(); e.enter(a, 1); e.leave() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var e exclusion
			tt.events(&e)
			if e.lostCount() != tt.lost {
				t.Errorf("%d lost, want %d", e.lostCount(), tt.lost)
			}
		})
	}
}

// node answers the calls that tell where a namespace is led.
func node(name, leader string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", noop.New())
	mux.HandleFunc("/v1/cluster", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"node": name})
	})
	mux.HandleFunc("/v1/cluster/ring", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"leader": leader})
	})
	return mux
}

func TestSingleClientWorksOnTheLeaderAndOnAnother(t *testing.T) {
	addrs := []string{addrOf(t, node("n1", "n2")), addrOf(t, node("n2", "n2")), addrOf(t, node("n3", "n2"))}
	places, err := singlePlaces(context.Background(), addrs, "jobs")
	if err != nil {
		t.Fatal(err)
	}
	if len(places) != 2 || places[0] != (place{"leader", addrs[1]}) || places[1].name != "other" || places[1].addr == addrs[1] {
		t.Errorf("places %v of %v", places, addrs)
	}
	reports, err := Run(context.Background(), short("pair", "lean", 1, addrs...))
	if err != nil {
		t.Fatal(err)
	}
	if len(reports) != 2 || reports[0].Place != "leader" || reports[1].Place != "other" {
		t.Errorf("%+v", reports)
	}
}

func TestRefusalsAreCountedByCode(t *testing.T) {
	server := noop.New()
	addr := addrOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/acquire") {
			w.WriteHeader(http.StatusServiceUnavailable)
			w.Write([]byte(`{"type":"urn:lockd:error:unavailable","code":"unavailable"}`))
			return
		}
		server.ServeHTTP(w, r)
	}))
	reports, err := Run(context.Background(), short("pair", "lean", 2, addr))
	if err != nil {
		t.Fatal(err)
	}
	if r := reports[0]; r.Errors["unavailable"] == 0 || r.Operations[0].Count != 0 {
		t.Errorf("%+v", r)
	}
}

func TestLostLeaseIsMadeAgain(t *testing.T) {
	server, lost := noop.New(), make(chan struct{}, 1)
	lost <- struct{}{}
	addr := addrOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/keepalive") {
			select {
			case <-lost:
				w.WriteHeader(http.StatusNotFound)
				w.Write([]byte(`{"code":"lease_not_found"}`))
				return
			default:
			}
		}
		server.ServeHTTP(w, r)
	}))
	reports, err := Run(context.Background(), short("keepalive", "lean", 2, addr))
	if err != nil {
		t.Fatal(err)
	}
	if r := reports[0]; len(lost) != 0 || r.Errors["lease_not_found"] > 1 || r.Operations[0].Count == 0 {
		t.Errorf("%+v", r)
	}
}

func TestNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := Run(context.Background(), short("pair", "lean", 2, l.Addr().String())); err == nil {
		t.Error("no error without a server")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	addr := noopAddr(t)
	ctx, cancel := context.WithCancel(context.Background())
	c := short("pair", "lean", 2, addr)
	c.Duration = time.Hour
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := Run(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

func TestValidateReportsEveryProblem(t *testing.T) {
	err := Config{Workload: "x", Client: "y", Warmup: -1}.Validate()
	for _, part := range []string{"address", "workload", "client", "0 clients", "duration", "warmup"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v: nothing about %s", err, part)
		}
	}
}

func TestServersUse(t *testing.T) {
	pid := os.Getpid()
	u, err := readUsage([]int{pid})
	if err != nil {
		t.Fatal(err)
	}
	if u.servers[0].pid != pid || u.own <= 0 {
		t.Errorf("%+v", u)
	}
	if _, err := readUsage([]int{1 << 30}); err == nil {
		t.Error("usage of a process that there is not")
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	err := WriteTable(&out, []*Report{{
		Workload: "contend", Place: "all", Clients: 16, Seconds: 2, ClientCPUSeconds: 1,
		Operations: []Operation{{Name: "hand-off", Count: 3000, PerSecond: 1500, P50: 1.25}},
		Errors:     map[string]int{"unavailable": 2, "connection": 1}, LostExclusions: 4,
		Served: &Served{Most: 12, Least: 10, Ratio: 1.2}, Servers: []Server{{PID: 7, CPUSeconds: 2, WrittenBytes: 4096}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"1500", "1.250", "connection 1, unavailable 2", "lost exclusions: 4", "ratio 1.20", "process 7", "4096 bytes", "50 % of a core"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %q in\n%s", part, out.String())
		}
	}
}
