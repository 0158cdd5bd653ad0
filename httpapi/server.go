package httpapi

import (
	"context"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"github.com/rs/zerolog"
)

// Config is what a Server needs besides the Service.
type Config struct {
	// Logger gets what only an operator can act on.
	Logger zerolog.Logger
	// Audit gets one line for each force-release.
	Audit zerolog.Logger
	// Observe is asked once for each route, by its method and the pattern of
	// its path, and answers with who is told of its requests. It may be nil.
	Observe func(method, route string) Observer
	// MetricsPage answers GET /metrics. Without it there is no such route.
	MetricsPage http.Handler
	// Hosts are names, without port, that the Host and Origin of a request may
	// have on a listener bound to a loopback address, besides the loopback ones.
	Hosts []string
}

// Observer is told of each answered request of a route. An event stream counts
// when it has begun. Status 499 is a client that went away before its answer.
type Observer func(status int, took time.Duration)

// Server answers the REST API.
type Server struct {
	cfg       Config
	svc       Service
	router    *mux.Router
	proofs    atomic.Pointer[proofs]
	ids       requestIDs
	exchanges sync.Pool

	// draining ends when the process stops: so do waits and event streams.
	draining context.Context
	drain    context.CancelFunc
}

// New makes a Server that asks svc.
func New(cfg Config, svc Service) *Server {
	s := &Server{cfg: cfg, svc: svc, ids: newRequestIDs()}
	s.exchanges.New = func() any { return new(exchange) }
	s.draining, s.drain = context.WithCancel(context.Background())
	s.router = s.newRouter()
	return s
}

// Handler answers all routes.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Drain ends the waits and event streams under way, and those still to come.
func (s *Server) Drain() { s.drain() }

// The limits against clients that send or read slowly. Waits and event
// streams, which are slow for a reason, extend that of writing for themselves.
const (
	readTimeout    = 30 * time.Second // of a whole request
	writeTimeout   = 30 * time.Second // of an answer, from the end of the request's header on
	idleTimeout    = 2 * time.Minute  // between requests
	maxHeaderBytes = 32 << 10
)

// NewHTTPServer makes the http.Server for s. Its Shutdown drains s.
func NewHTTPServer(s *Server) *http.Server {
	srv := &http.Server{
		Handler:        s.Handler(),
		ReadTimeout:    readTimeout,
		WriteTimeout:   writeTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       log.New(s.cfg.Logger, "", 0),
		BaseContext: func(l net.Listener) context.Context {
			return context.WithValue(context.Background(), loopbackKey{}, isLoopback(l.Addr()))
		},
	}
	srv.RegisterOnShutdown(s.Drain)
	return srv
}

// serve wraps all routes: what is true of every request and answer is here,
// in one function and not in a chain, because every request pays for it.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	x := s.exchanges.Get().(*exchange)
	x.begin(s, w, r)
	defer func() {
		if cause := recover(); cause != nil {
			s.recovered(x, r, cause) // and leaves x to the garbage collector
			return
		}
		x.end()
		s.exchanges.Put(x)
	}()
	if err := s.guard(r); err != nil {
		x.fail(r, err)
		return
	}
	s.router.ServeHTTP(x, r)
}

// recovered answers for a handler that panicked, if it is not too late.
func (s *Server) recovered(x *exchange, r *http.Request, cause any) {
	if cause == http.ErrAbortHandler {
		panic(cause)
	}
	s.cfg.Logger.Error().Str("request_id", x.id).Str("route", x.routeName()).
		Interface("panic", cause).Bytes("stack", debug.Stack()).Msg("handler panicked")
	if x.status != 0 {
		panic(http.ErrAbortHandler) // cuts the half-written answer short
	}
	x.fail(r, errInternal)
	x.end()
}
