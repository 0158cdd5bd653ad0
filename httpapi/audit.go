package httpapi

import (
	"net/http"

	"github.com/rs/zerolog"

	"lockd/lease"
	"lockd/lease/leasepb"
)

// forcedRelease is a force-release and what came of it.
type forcedRelease struct {
	namespace, lock string
	request         *forceReleaseRequest
	released        []*leasepb.Grant
	err             error
}

// auditForceRelease writes the one line of a force-release, whatever came of
// it: who asked from where, why, and whose grants ended.
func (s *Server) auditForceRelease(x *exchange, r *http.Request, f *forcedRelease) {
	released := zerolog.Arr()
	for _, g := range f.released {
		released.Dict(zerolog.Dict().Str("lease_id", lease.ID(g.Lease).String()).Uint64("token", g.Token))
	}
	outcome := "done"
	if f.err != nil {
		outcome = codeOf(f.err)
	}
	line := s.cfg.Audit.Log()
	if f.request.token != 0 {
		line.Uint64("token", f.request.token)
	}
	line.Str("action", "force_release").Str("outcome", outcome).
		Str("request_id", x.id).Str("remote", r.RemoteAddr).
		Str("namespace", f.namespace).Str("lock", f.lock).
		Str("reason", f.request.reason).
		Array("released", released).Msg("audit")
}
