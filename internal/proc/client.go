package proc

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"
)

// Answer is what a node said to one request.
type Answer struct {
	Status int // 0: no answer came, Err says why
	Code   string
	Body   map[string]any
	Header http.Header
	Err    error
}

var httpClient = &http.Client{
	Timeout:   15 * time.Minute,
	Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
}

// Get asks for a path.
func Get(url, path string) Answer { return Do(context.Background(), "GET", url+path, nil) }

// Post sends a JSON body.
func Post(url, path string, body any) Answer {
	return Do(context.Background(), "POST", url+path, body)
}

// Do sends one request and reads its answer.
func Do(ctx context.Context, method, url string, body any) Answer {
	var r io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return Answer{Err: err}
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, r)
	if err != nil {
		return Answer{Err: err}
	}
	res, err := httpClient.Do(req)
	if err != nil {
		return Answer{Err: err}
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return Answer{Err: err}
	}
	a := Answer{Status: res.StatusCode, Header: res.Header}
	if len(raw) > 0 && json.Unmarshal(raw, &a.Body) == nil {
		a.Code, _ = a.Body["code"].(string)
	}
	return a
}

// Text returns a field of the answer that is a string.
func (a Answer) Text(field string) string {
	s, _ := a.Body[field].(string)
	return s
}

// Number returns a field of the answer that is a number.
func (a Answer) Number(field string) int64 {
	f, _ := a.Body[field].(float64)
	return int64(f)
}

// Must fails the test unless the answer has the status.
func (a Answer) Must(t testing.TB, status int) Answer {
	t.Helper()
	if a.Status != status {
		t.Fatalf("status %d (%s) %v %v, want %d", a.Status, a.Code, a.Body, a.Err, status)
	}
	return a
}

// Leader is the name of the node that leads a namespace's group, as a node
// sees it, or "".
func Leader(url, namespace string) string {
	return Get(url, "/v1/cluster/ring?namespace="+namespace).Text("leader")
}

// Eventually waits for a condition, looking at it again and again.
func Eventually(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks at the condition
	}
}

// Raw returns the body of a page, or "".
func Raw(url string) string {
	res, err := httpClient.Get(url)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return ""
	}
	return string(raw)
}
