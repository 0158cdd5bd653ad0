package httpapi

import (
	"net/http"
	"time"

	"lockd/api"
)

func (s *Server) healthRoutes() []*route {
	routes := []*route{
		{method: http.MethodGet, path: "/healthz", handle: s.healthy},
		{method: http.MethodGet, path: "/readyz", handle: s.ready},
		{method: http.MethodGet, path: "/openapi.yaml", handle: s.openAPI},
	}
	if s.cfg.MetricsPage != nil {
		routes = append(routes, &route{method: http.MethodGet, path: "/metrics", handle: s.metricsPage, anyQuery: true})
	}
	return routes
}

// healthy says that the process lives, and nothing more.
func (s *Server) healthy(x *exchange, _ *http.Request) error {
	x.out.begin()
	x.out.text("status", "ok")
	x.out.endObject()
	return x.reply(http.StatusOK)
}

// notReadyError comes when a node does not serve all of its groups yet.
type notReadyError struct{ groups []GroupNotReady }

func (e *notReadyError) Error() string {
	return "some groups of this node have no leader or are not caught up"
}

// notReadyRetry is when it is worth asking again.
const notReadyRetry = time.Second

func (s *Server) ready(x *exchange, _ *http.Request) error {
	if groups := s.svc.NotReady(); len(groups) > 0 {
		return &notReadyError{groups}
	}
	x.out.begin()
	x.out.text("status", "ready")
	x.out.endObject()
	return x.reply(http.StatusOK)
}

func (a *answer) notReady(groups []GroupNotReady) {
	a.array("groups")
	for _, g := range groups {
		a.element()
		a.uint("group", g.Group)
		a.text("reason", g.Reason)
		a.endObject()
	}
	a.endArray()
}

func (s *Server) openAPI(x *exchange, _ *http.Request) error {
	x.Header()["Content-Type"] = []string{"application/yaml"}
	x.out.b = append(x.out.b[:0], api.OpenAPI...)
	return x.reply(http.StatusOK)
}

func (s *Server) metricsPage(x *exchange, r *http.Request) error {
	s.cfg.MetricsPage.ServeHTTP(x, r)
	return nil
}
