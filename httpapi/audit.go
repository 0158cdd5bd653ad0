package httpapi

import (
	"net/http"

	"github.com/rs/zerolog"

	"lockd/lease"
	"lockd/lease/leasepb"
)

// auditForceRelease writes the one line of a force-release, whatever came of
// it: who asked from where, why, and whose grants ended.
func (s *Server) auditForceRelease(x *exchange, r *http.Request, op *leasepb.ForceRelease, forced *leasepb.Result, err error) {
	released := zerolog.Arr()
	for _, g := range forced.GetReleased() {
		released.Dict(zerolog.Dict().Str("lease_id", lease.ID(g.Lease).String()).Uint64("token", g.Token))
	}
	outcome := "done"
	if err != nil {
		outcome = codeOf(err)
	}
	s.cfg.Audit.Log().Str("action", "force_release").Str("outcome", outcome).
		Str("request_id", x.id).Str("remote", r.RemoteAddr).
		Str("namespace", op.Lock.Namespace).Str("lock", op.Lock.Lock).
		Uint64("token", op.Token).Str("reason", op.Reason).
		Array("released", released).Msg("audit")
}
