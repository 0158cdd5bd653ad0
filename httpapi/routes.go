package httpapi

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"
)

// route is one method and path of the API.
type route struct {
	method   string // GET answers HEAD too
	path     string
	query    []string // the parameters it knows
	anyQuery bool     // it checks them itself
	handle   func(*exchange, *http.Request) error

	pattern pattern
	observe Observer
}

// routes lists the API. mux tries them in this order, so the busiest come first.
func (s *Server) routes() []*route {
	return slices.Concat(s.lockRoutes(), s.leaseRoutes(), s.multilockRoutes(), s.eventRoutes(), s.clusterRoutes(), s.healthRoutes())
}

// newRouter never redirects and sees paths as they were sent: a%2Fb is one
// segment, and a name of two dots is refused and not resolved.
func (s *Server) newRouter() *mux.Router {
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	for _, rt := range s.routes() {
		rt.pattern = parsePattern(rt.path)
		rt.observe = s.observer(rt.method, rt.path)
		methods := []string{rt.method}
		if rt.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		// The path comes first: only a route of the same path may decide that
		// it is the method that is wrong.
		router.MatcherFunc(rt.matches).Methods(methods...).Handler(rt)
	}
	router.NotFoundHandler = s.unmatched(func(*exchange, *http.Request) error { return errNoRoute })
	router.MethodNotAllowedHandler = s.unmatched(func(_ *exchange, r *http.Request) error { return &methodError{s.methods(r)} })
	return router
}

// unmatched is the route of what has no route.
func (s *Server) unmatched(handle func(*exchange, *http.Request) error) *route {
	return &route{path: "unmatched", anyQuery: true, handle: handle, observe: s.observer("any", "unmatched")}
}

func (s *Server) observer(method, path string) Observer {
	if s.cfg.Observe == nil {
		return func(int, time.Duration) {}
	}
	return s.cfg.Observe(method, path)
}

func (rt *route) matches(r *http.Request, _ *mux.RouteMatch) bool {
	_, ok := rt.pattern.match(r.URL.EscapedPath())
	return ok
}

// ServeHTTP runs a matched route.
func (rt *route) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := w.(*exchange)
	x.route = rt
	if err := rt.run(x, r); err != nil {
		x.fail(r, err)
	}
}

func (rt *route) run(x *exchange, r *http.Request) error {
	if r.URL.RawQuery != "" && !rt.anyQuery {
		if err := rt.checkQuery(r); err != nil {
			return err
		}
	}
	if r.ContentLength != 0 && rt.method == http.MethodGet {
		// Only at the end of the body does net/http begin to watch for the
		// client to go away. What reads takes no body, so it is dropped.
		io.CopyN(io.Discard, r.Body, maxBody)
	}
	x.vars, _ = rt.pattern.match(r.URL.EscapedPath())
	return rt.handle(x, r)
}

// methods lists what the path of r can be asked with.
func (s *Server) methods(r *http.Request) []string {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := *r
		probe.Method = method
		var match mux.RouteMatch
		if s.router.Match(&probe, &match) && match.MatchErr == nil {
			allowed = append(allowed, method)
		}
	}
	return allowed
}

// errNoRoute comes when no route has the path.
var errNoRoute = errors.New("there is no such route; GET /openapi.yaml lists them")

// methodError comes when the path has routes for other methods only.
type methodError struct{ allowed []string }

func (e *methodError) Error() string {
	return "this path answers " + strings.Join(e.allowed, ", ") + " only"
}
