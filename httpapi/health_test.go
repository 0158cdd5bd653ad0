package httpapi

import (
	"bytes"
	"net/http"
	"testing"

	"lockd/api"
)

func TestHealth(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	n.ask("GET", "/healthz", "").wantJSON(http.StatusOK, `{"status":"ok"}`)
	n.ask("GET", "/readyz", "").wantJSON(http.StatusOK, `{"status":"ready"}`)
	svc.notReady = []GroupNotReady{{Group: 3, Reason: "no leader"}}
	n.ask("GET", "/healthz", "").wantJSON(http.StatusOK, `{"status":"ok"}`)
	a := n.ask("GET", "/readyz", "")
	p := a.wantProblem(http.StatusServiceUnavailable, "unavailable")
	if groups := p["groups"].([]any); len(groups) != 1 || groups[0].(map[string]any)["group"] != 3.0 || groups[0].(map[string]any)["reason"] != "no leader" {
		t.Errorf("problem %s", a.text)
	}
}

func TestOpenAPIPage(t *testing.T) {
	a := start(t, new(fakeService)).ask("GET", "/openapi.yaml", "")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/yaml" || !bytes.Equal([]byte(a.text), api.OpenAPI) {
		t.Errorf("got %d %s, %d bytes", a.status, a.header.Get("Content-Type"), len(a.text))
	}
	if got := a.header.Get("Content-Length"); got != itoa(len(api.OpenAPI)) {
		t.Errorf("Content-Length %q", got)
	}
}

func TestMetricsPage(t *testing.T) {
	if a := start(t, new(fakeService)).ask("GET", "/metrics?name[]=up", ""); a.status != http.StatusOK || a.text != "up 1\n" {
		t.Errorf("got %d %q", a.status, a.text)
	}
	start(t, new(fakeService), func(c *Config) { c.MetricsPage = nil }).ask("GET", "/metrics", "").wantProblem(http.StatusNotFound, "not_found")
}
