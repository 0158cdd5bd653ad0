package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// healthTimeout bounds a check: a node that needs longer to say that it is
// ready is not.
const healthTimeout = 2 * time.Second

// health asks the node of this very configuration whether it is ready, so that
// a container's check needs no arguments and no curl.
func health(ctx context.Context, args []string, stdout, _ io.Writer) error {
	c, err := loadConfig(args, os.Environ())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	url := "http://" + localAddress(c.Listen) + "/readyz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	fmt.Fprintln(stdout, "ready")
	return nil
}

// localAddress is an address listened on as this machine can reach it.
func localAddress(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err == nil && isWildcard(host) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}
