package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// retryPause is how long a client rests after an error, so that a node that is
// down costs no CPU that the others need.
const retryPause = 10 * time.Millisecond

// client is one that works: how it asks, what it holds, and what it counted.
type client struct {
	run       *run
	index     int
	addrs     []string
	addr      string // the one in use
	http      requester
	namespace string
	leases    []string
	workload  workload
	path      []byte // of the request being made

	times  []histogram // by the kind's operations
	errors map[string]int
	lost   int // exclusions
}

func newClient(r *run, index int, addrs []string, requests requester) *client {
	c := &client{
		run: r, index: index, addrs: addrs, addr: addrs[index%len(addrs)], http: requests,
		namespace: namespace(r.id, index), times: make([]histogram, len(r.kind.operations)), errors: map[string]int{},
	}
	if r.kind.shared {
		c.namespace = namespace(r.id, 0)
	}
	c.workload = r.kind.new(c)
	return c
}

// prepare makes the leases and lets the workload build its requests.
func (c *client) prepare(ctx context.Context) error {
	c.leases = c.leases[:0]
	for range c.run.kind.leases {
		lease, err := c.makeLease(ctx)
		if err != nil {
			return err
		}
		c.leases = append(c.leases, lease)
	}
	c.workload.ready()
	return nil
}

func (c *client) makeLease(ctx context.Context) (string, error) {
	body, err := json.Marshal(map[string]string{"namespace": c.namespace, "owner": fmt.Sprintf("bench client %d", c.index), "ttl": c.run.ttl.String()})
	if err != nil {
		return "", err
	}
	c.path = append(c.path[:0], "/v1/leases"...)
	a, err := c.post(ctx, body, 0)
	if err != nil {
		return "", fmt.Errorf("make a lease: %w", err)
	}
	var made struct{ Lease string }
	if err := json.Unmarshal(a.body, &made); err != nil {
		return "", fmt.Errorf("make a lease: %w", err)
	}
	return made.Lease, nil
}

// finish revokes the leases.
func (c *client) finish(ctx context.Context) error {
	for _, lease := range c.leases {
		if _, err := c.http.do(ctx, request{addr: c.addr, method: http.MethodDelete, path: []byte("/v1/leases/" + lease)}); err != nil {
			return err
		}
	}
	return nil
}

// work repeats the workload until the run is over.
func (c *client) work(ctx context.Context) {
	for ctx.Err() == nil && c.run.phase.Load() != over {
		if err := c.workload.step(ctx); err != nil && ctx.Err() == nil {
			c.failed(ctx, err)
		}
	}
}

// failed counts an error and makes the next step possible: a lost connection
// goes to the next node, a lost lease is made again. An error of that comes up
// again in the next step.
func (c *client) failed(ctx context.Context, err error) {
	code := "connection"
	if refused := (*refusal)(nil); errors.As(err, &refused) {
		code = refused.code
	} else {
		c.addr = c.addrs[(slices.Index(c.addrs, c.addr)+1)%len(c.addrs)]
	}
	if c.run.phase.Load() == measuring {
		c.errors[code]++
	}
	if pause(ctx, retryPause) == nil && code == "lease_not_found" {
		_ = c.prepare(ctx)
	}
}

// done counts one operation that began at start and has just ended well, and
// returns now.
func (c *client) done(operation int, start time.Time) time.Time {
	now := time.Now()
	if c.run.phase.Load() == measuring {
		c.times[operation].record(now.Sub(start))
	}
	return now
}

// post sends a request to c.path and returns an answer that is no refusal.
func (c *client) post(ctx context.Context, body []byte, wait time.Duration) (answer, error) {
	a, err := c.http.do(ctx, request{c.addr, http.MethodPost, c.path, body, wait})
	if err != nil {
		return a, err
	}
	return a, a.check()
}

// lockPath makes c.path that of a verb of a lock.
func (c *client) lockPath(name, verb string) {
	b := append(c.path[:0], "/v1/namespaces/"...)
	b = append(b, c.namespace...)
	b = append(b, "/locks/"...)
	b = append(b, name...)
	b = append(b, '/')
	c.path = append(b, verb...)
}
