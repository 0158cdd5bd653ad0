package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
)

// standard asks through net/http's client: what a request costs a program that
// uses the standard library.
type standard struct {
	http *http.Client // shared by all clients of a run
	body bytes.Buffer
}

// newHTTPClient returns a client that keeps a connection for each of so many.
func newHTTPClient(connections int) *http.Client {
	return &http.Client{Transport: &http.Transport{
		MaxIdleConns: connections, MaxIdleConnsPerHost: connections, DisableCompression: true,
	}}
}

func (s *standard) do(ctx context.Context, r request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.wait+requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, "http://"+r.addr+string(r.path), bytes.NewReader(r.body))
	if err != nil {
		return answer{}, err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	s.body.Reset()
	if _, err := s.body.ReadFrom(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return answer{}, fmt.Errorf("%s: %w", r.addr, err)
	}
	return answer{resp.StatusCode, s.body.Bytes()}, nil
}

// close leaves the connections to the shared client, which ends its idle ones.
func (s *standard) close() { s.http.CloseIdleConnections() }
