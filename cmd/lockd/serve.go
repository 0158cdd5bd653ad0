package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"lockd/httpapi"
	"lockd/metrics"
	"lockd/sharding"
)

// A stop takes at most the sum of these, and the contract gives it 10 s.
const (
	handOverTimeout = 2 * time.Second // for others to lead what this node leads
	answerTimeout   = 4 * time.Second // for requests under way to be answered
	closeTimeout    = 2 * time.Second // for the store to be closed
)

// serve runs a node until ctx ends, or until the node cannot go on.
func serve(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := loadConfig(args, os.Environ())
	if err != nil {
		return err
	}
	// Whoever reads the log may go away: that must not end the node either.
	signal.Ignore(syscall.SIGPIPE)
	registry := prometheus.NewRegistry()
	m := metrics.New(registry)
	logger, logs := newLogger(c, stderr, m.Logs.Dropped)
	defer logs.Close()

	rest, err := listen("listen", c.Listen)
	if err != nil {
		return err
	}
	defer rest.Close()
	peers, err := listen("peer-listen", c.PeerListen)
	if err != nil {
		return err
	}
	defer peers.Close()
	failure := make(chan error, 1) // the first one counts
	fatal := func(err error) {
		select {
		case failure <- err:
		default:
		}
	}
	node, err := openNode(c, rest.Addr(), peers, logger, m, fatal)
	if err != nil {
		return err
	}
	register(registry, m, c, node)
	server := newServer(c, node, logger, m, registry)
	go func() {
		if err := server.Serve(rest); !errors.Is(err, http.ErrServerClosed) {
			fatal(fmt.Errorf("serve REST: %w", err))
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	announced := announce(ctx, stdout, c.Name, rest.Addr(), node)
	defer func() { cancel(); <-announced }()

	select {
	case <-ctx.Done():
		logger.Info().Msg("stopping")
		stop(node, server, logger)
		return nil
	case err := <-failure:
		// Nothing is handed over or flushed: what this node knows is no longer
		// to be trusted, or cannot be written.
		server.Close()
		return err
	}
}

// listen names the setting in its error: it is what there is to change.
func listen(setting, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %s is taken: another lockd may be running; --%s takes another address", setting, addr, setting)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return l, nil
}

// newServer puts the REST interface before the node.
func newServer(c Config, node *sharding.Node, logger zerolog.Logger, m *metrics.Metrics, registry *prometheus.Registry) *http.Server {
	return httpapi.NewHTTPServer(httpapi.New(httpapi.Config{
		Logger: logger.With().Str("part", "http").Logger(),
		Audit:  logger.With().Str("part", "audit").Logger(),
		Observe: func(method, route string) httpapi.Observer {
			return m.HTTP.Route(method, route).Observe
		},
		MetricsPage: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		Hosts:       c.AllowedHosts,
	}, metered{node, m.Locks}))
}

// readyPoll is how often a starting node looks whether it is ready.
const readyPoll = 20 * time.Millisecond

// announce says where the node is, at once, and what to try, as soon as that
// works, on a writer that waits for nobody either. What it returns is closed
// when it has ended, at the latest with ctx.
func announce(ctx context.Context, stdout io.Writer, name string, rest net.Addr, node *sharding.Node) <-chan struct{} {
	ended := make(chan struct{})
	url := "http://" + localAddress(rest.String())
	out := newLogWriter(stdout, func() {}, func(io.Writer, int) {})
	fmt.Fprintf(out, "lockd %s serves %s\n", name, url)
	go func() {
		defer close(ended)
		defer out.Close()
		poll := time.NewTicker(readyPoll)
		defer poll.Stop()
		for len(node.NotReady()) > 0 {
			select {
			case <-poll.C:
			case <-ctx.Done():
				return
			}
		}
		fmt.Fprintf(out, "try: curl -d '{\"ttl\":\"5m\"}' %s/v1/namespaces/demo/locks/hello/acquire\n", url)
	}()
	return ended
}

// stop ends the node in the reverse order of its start. What takes longer than
// its time is left behind: the process ends, and its data stands on the disk.
func stop(node *sharding.Node, server *http.Server, logger zerolog.Logger) {
	step := func(name string, timeout time.Duration, do func(context.Context) error) {
		if err := within(timeout, do); err != nil {
			logger.Warn().Err(err).Str("step", name).Msg("not stopped in order")
		}
	}
	step("hand over leadership", handOverTimeout, node.HandOver)
	step("answer requests", answerTimeout, server.Shutdown)
	server.Close()
	step("close the store", closeTimeout, func(context.Context) error { return node.Close() })
}

// within calls do and waits for it until timeout, even if do does not heed its
// context.
func within(timeout time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
