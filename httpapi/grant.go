package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"lockd/lease"
	"lockd/lease/leasepb"
)

// grant is an acquire that was granted and is still to be told to the client.
type grant struct {
	*leasepb.Result
	secret string
	// revocable is a one-shot grant without an Idempotency-Key: should its
	// answer be lost, nobody could ever use it.
	revocable bool
}

// take acquires locks on the terms of a request, and waits as long as they say.
func (s *Server) take(x *exchange, r *http.Request, t *terms, locks []*leasepb.LockRequest) (*grant, error) {
	secrets, err := s.secrets(r.Context())
	if err != nil {
		return nil, err
	}
	op, err := t.acquire(secrets, locks)
	if err != nil {
		return nil, err
	}
	revocable := op.OneShot != nil && len(r.Header[keyHeader]) == 0
	ctx, done := s.patience(x, r, t.wait)
	defer done()
	granted, err := s.do(ctx, x, r, &leasepb.Command{Op: &leasepb.Command_Acquire{Acquire: op}})
	if err != nil {
		return nil, err
	}
	secret := t.lease
	if !t.hasLease {
		secret = secrets.lease(lease.ID(granted.Lease))
	}
	return &grant{Result: granted, secret: secret, revocable: revocable}, nil
}

// do carries out a logged command of a client, with its Idempotency-Key.
func (s *Server) do(ctx context.Context, x *exchange, r *http.Request, cmd *leasepb.Command) (*leasepb.Result, error) {
	key, err := x.idempotencyKey(r)
	if err != nil {
		return nil, err
	}
	cmd.Key, cmd.AtUnixMs = key, x.start.UnixMilli()
	return s.svc.Do(ctx, cmd)
}

// patience is the context of a request that may wait. Its end is that of the
// client's connection, or of the service. The limit for slow readers makes way
// for the wait; net/http itself lifts that for slow senders after the body.
func (s *Server) patience(x *exchange, r *http.Request, wait time.Duration) (ctx context.Context, done func()) {
	if wait == 0 {
		return r.Context(), func() {}
	}
	// It fails on a connection that is gone, which its context tells too.
	http.NewResponseController(x.ResponseWriter).SetWriteDeadline(time.Now().Add(wait + writeTimeout))
	ctx, cancel := context.WithCancel(r.Context())
	unhook := context.AfterFunc(s.draining, cancel)
	return ctx, func() { unhook(); cancel() }
}

// deliver answers with a grant, whose JSON is in x.out. A revocable one whose
// client is gone is released at once. Once the kernel has the whole answer the
// grant stands, even if the client has closed the connection since: that may
// be because it has read the answer.
func (s *Server) deliver(x *exchange, r *http.Request, g *grant) error {
	h := x.Header()
	h["Lockd-Lease"] = []string{g.secret}
	if !g.revocable {
		return x.reply(http.StatusOK)
	}
	err := r.Context().Err()
	if err == nil {
		h["Content-Length"] = []string{strconv.Itoa(len(x.out.b) + 1)} // without it, a flush would chunk
		if err = x.reply(http.StatusOK); err == nil {
			err = x.flush()
		}
	}
	if err != nil {
		s.revoke(x, r, g)
	}
	return err
}

// revokeLimit bounds how long the end of an undelivered grant may take. Its
// lease ends by time in any case.
const revokeLimit = 5 * time.Second

func (s *Server) revoke(x *exchange, r *http.Request, g *grant) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), revokeLimit)
	defer cancel()
	_, err := s.svc.Do(ctx, &leasepb.Command{
		AtUnixMs: time.Now().UnixMilli(),
		Op:       &leasepb.Command_EndLease{EndLease: &leasepb.EndLease{Lease: g.Lease}},
	})
	if err != nil {
		s.cfg.Logger.Warn().Err(err).Str("request_id", x.id).Str("lease_id", g.secret[:idLength]).
			Msg("undelivered grant stands until its lease expires")
	}
}
