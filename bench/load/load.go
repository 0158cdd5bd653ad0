// Package load drives a running cluster through its REST interface and
// measures how it answers.
//
// It shares its machine with what it measures, so it can cost little itself:
// one goroutine and one connection per client, requests written by hand, and
// nothing allocated for one on the way. Or it costs what a Go program usually
// pays, with net/http. It knows no package of ours, only the REST contract.
//
// A client's state belongs to its goroutine alone; what clients share is the
// phase of the run and, in contend, the exclusion that they watch over.
package load

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says what to run against what.
type Config struct {
	// Addrs are REST addresses, host:port; clients spread over them evenly.
	Addrs []string
	// Workload is one of Workloads.
	Workload string
	// Clients is how many work at once. A single one runs twice: on the node
	// that leads its namespace's group, and on another.
	Clients int
	// Client is one of ClientKinds.
	Client string
	// Warmup goes before what is measured, Duration is how long that takes.
	Warmup, Duration time.Duration
	// ServerPIDs are processes on this machine whose CPU time and written
	// bytes are reported too.
	ServerPIDs []int
}

// ClientKinds are the ways to send requests: through net/http as Go programs do,
// or by hand at the least cost, which leaves the machine to the servers.
var ClientKinds = [...]string{"net/http", "lean"}

// maxClients bounds Config.Clients: each has a connection.
const maxClients = 50_000

// Validate reports every problem at once.
func (c Config) Validate() error {
	var problems []error
	if len(c.Addrs) == 0 {
		problems = append(problems, errors.New("no address of a node"))
	}
	if _, known := workloads[c.Workload]; !known {
		problems = append(problems, fmt.Errorf("workload %q is none of %s", c.Workload, strings.Join(Workloads(), ", ")))
	}
	if !slices.Contains(ClientKinds[:], c.Client) {
		problems = append(problems, fmt.Errorf("client %q is none of %s", c.Client, strings.Join(ClientKinds[:], ", ")))
	}
	if c.Clients < 1 || c.Clients > maxClients {
		problems = append(problems, fmt.Errorf("%d clients is not from 1 to %d", c.Clients, maxClients))
	}
	if c.Duration <= 0 {
		problems = append(problems, fmt.Errorf("duration %v is not above 0", c.Duration))
	}
	if c.Warmup < 0 {
		problems = append(problems, fmt.Errorf("warmup %v is below 0", c.Warmup))
	}
	return errors.Join(problems...)
}

// Run measures and returns one report, or for a single client one for each
// place. It ends early, with an error, when ctx does.
func Run(ctx context.Context, c Config) ([]*Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	id := newRunID()
	if c.Clients > 1 {
		report, err := measure(ctx, c, id, "all")
		return []*Report{report}, err
	}
	var reports []*Report
	places, err := singlePlaces(ctx, c.Addrs, namespace(id, 0))
	if err != nil {
		return nil, err
	}
	for _, place := range places {
		c.Addrs = []string{place.addr}
		report, err := measure(ctx, c, id, place.name)
		if err != nil {
			return reports, err
		}
		reports = append(reports, report)
	}
	return reports, nil
}

// newRunID keeps the names of one run apart from those of all others.
func newRunID() string {
	var b [4]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func namespace(runID string, client int) string { return fmt.Sprintf("bench-%s-%d", runID, client) }

// phase is what the clients' work counts as.
type phase = int32

const (
	warming phase = iota
	measuring
	over
)

// preparers bounds how many clients connect and make their leases at once.
const preparers = 64

// leaseMargin is how much longer than the run the leases live, for the time
// that preparing takes. Workloads but keepalive renew nothing.
const leaseMargin = time.Minute

// run is one measurement.
type run struct {
	id      string
	ttl     time.Duration
	phase   atomic.Int32
	kind    kind
	exclude exclusion
	clients []*client
}

func measure(ctx context.Context, c Config, id, place string) (*Report, error) {
	r := &run{id: id, kind: workloads[c.Workload], ttl: c.Warmup + c.Duration + leaseMargin}
	newRequester := requesters(c)
	for i := range c.Clients {
		r.clients = append(r.clients, newClient(r, i, c.Addrs, newRequester()))
	}
	defer func() {
		for _, client := range r.clients {
			client.http.close()
		}
	}()
	if err := r.each(ctx, (*client).prepare); err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	before, after, err := r.work(ctx, c)
	if err != nil {
		return nil, err
	}
	// What the clients made ends by itself too; an error here changes no figure.
	_ = r.each(ctx, (*client).finish)
	report := newReport(c, place, r.kind, r.clients)
	report.use(before, after)
	report.LostExclusions += r.exclude.lostCount()
	return report, nil
}

// requesters returns what makes a client's requester.
func requesters(c Config) func() requester {
	if c.Client == "net/http" {
		shared := newHTTPClient(c.Clients)
		return func() requester { return &standard{http: shared} }
	}
	return func() requester { return newConn() }
}

// each calls do for all clients, some at a time, and returns the first error.
func (r *run) each(ctx context.Context, do func(*client, context.Context) error) error {
	var wg sync.WaitGroup
	var failure atomic.Pointer[error]
	for part := range preparers {
		wg.Go(func() {
			for i := part; i < len(r.clients) && failure.Load() == nil; i += preparers {
				if err := do(r.clients[i], ctx); err != nil {
					failure.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := failure.Load(); err != nil {
		return *err
	}
	return nil
}

// work lets all clients work through the phases and returns the usage at both
// ends of the measured one.
func (r *run) work(ctx context.Context, c Config) (before, after usage, err error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer r.phase.Store(over)
	for _, client := range r.clients {
		wg.Go(func() { client.work(ctx) })
	}
	if err := pause(ctx, c.Warmup); err != nil {
		return before, after, err
	}
	if before, err = readUsage(c.ServerPIDs); err != nil {
		return before, after, err
	}
	r.phase.Store(measuring)
	if err := pause(ctx, c.Duration); err != nil {
		return before, after, err
	}
	r.phase.Store(over)
	after, err = readUsage(c.ServerPIDs)
	return before, after, err
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Workloads are the names that Config.Workload may have.
func Workloads() []string {
	names := make([]string, 0, len(workloads))
	for name := range workloads {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Compare(workloads[a].order, workloads[b].order)
	})
	return names
}
