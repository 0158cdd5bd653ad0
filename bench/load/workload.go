package load

import (
	"context"
	"encoding/json"
	"strconv"
	"time"
)

// workload is what one client does.
type workload interface {
	// ready is called when the client has its leases, and after they were
	// made anew.
	ready()
	// step does it once.
	step(ctx context.Context) error
}

// kind describes a workload.
type kind struct {
	order      int
	operations []string // what is timed; the first is what counts
	leases     int      // that each client makes beforehand
	shared     bool     // all clients use one namespace
	perStep    int      // leases renewed by one request
	new        func(*client) workload
}

var workloads = map[string]kind{
	"pair":            {order: 1, operations: []string{"pair", "acquire", "release"}, leases: 1, new: newPair},
	"pair-oneshot":    {order: 2, operations: []string{"pair", "acquire", "release"}, new: newOneShot},
	"keepalive":       {order: 3, operations: []string{"keepalive"}, leases: 1, perStep: 1, new: newKeepalive},
	"keepalive-batch": {order: 4, operations: []string{"request"}, leases: batch, perStep: batch, new: newBatch},
	"contend":         {order: 5, operations: []string{"hand-off", "release"}, leases: 1, shared: true, new: newContend},
}

const (
	names = 1000 // locks per client of pair
	batch = 100  // leases per request of keepalive-batch
)

// lockNames are the locks of each client's namespace.
var lockNames = func() (all [names]string) {
	for i := range all {
		all[i] = "n" + strconv.Itoa(i)
	}
	return all
}()

// The operations of pair, as indexes of kind.operations.
const (
	opPair = iota
	opAcquire
	opRelease
)

// pair acquires and releases its own locks in turn, with a lease or, one-shot,
// with one made by each acquire.
type pair struct {
	*client
	oneShot bool
	turn    int
	acquire []byte // bodies
	release []byte
	token   uint64
}

func newPair(c *client) workload    { return &pair{client: c} }
func newOneShot(c *client) workload { return &pair{client: c, oneShot: true} }

func (p *pair) ready() {
	if p.oneShot {
		p.acquire = []byte(`{"ttl":"30s"}`)
		return
	}
	p.acquire = leaseBody(p.release, p.leases[0])
	p.release = p.acquire
}

func leaseBody(buffer []byte, lease string) []byte {
	b := append(buffer[:0], `{"lease":"`...)
	b = append(b, lease...)
	return append(b, `"}`...)
}

func (p *pair) step(ctx context.Context) error {
	name := lockNames[p.turn]
	p.turn = (p.turn + 1) % names
	p.lockPath(name, "acquire")
	start := time.Now()
	a, err := p.post(ctx, p.acquire, 0)
	if err != nil {
		return err
	}
	acquired := p.done(opAcquire, start)
	// Nobody else uses the namespace: its tokens only grow, or stay after a
	// release that failed.
	token := a.number("token")
	if token < p.token || token == 0 {
		p.lost++
	}
	p.token = token
	if p.oneShot {
		b := append(p.release[:0], `{"lease":"`...)
		b = append(b, a.text("lease")...)
		p.release = append(b, `"}`...)
	}
	p.lockPath(name, "release")
	if _, err := p.post(ctx, p.release, 0); err != nil {
		return err
	}
	p.done(opRelease, acquired)
	p.done(opPair, start)
	return nil
}

// keepalive renews one lease.
type keepalive struct{ *client }

func newKeepalive(c *client) workload { return &keepalive{c} }

func (k *keepalive) ready() {
	k.path = append(append(append(k.path[:0], "/v1/leases/"...), k.leases[0]...), "/keepalive"...)
}

func (k *keepalive) step(ctx context.Context) error {
	start := time.Now()
	if _, err := k.post(ctx, nil, 0); err != nil {
		return err
	}
	k.done(0, start)
	return nil
}

// keepaliveBatch renews many leases with one request.
type keepaliveBatch struct {
	*client
	body []byte
}

func newBatch(c *client) workload { return &keepaliveBatch{client: c} }

func (k *keepaliveBatch) ready() {
	k.path = append(k.path[:0], "/v1/leases/keepalive"...)
	body, err := json.Marshal(map[string][]string{"leases": k.leases})
	if err != nil {
		panic(err) // texts are always encoded
	}
	k.body = body
}

func (k *keepaliveBatch) step(ctx context.Context) error {
	start := time.Now()
	a, err := k.post(ctx, k.body, 0)
	if err != nil {
		return err
	}
	if code := a.text("code"); code != nil {
		return &refusal{a.status, string(code)}
	}
	k.done(0, start)
	return nil
}
