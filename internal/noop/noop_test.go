package noop

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnswersLookLikeLockds(t *testing.T) {
	handler := New()
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
		members            string
	}{
		"acquire": {"POST", "/v1/namespaces/jobs/locks/a%2Fb/acquire", `{"ttl":"30s"}`, 200,
			"acquired_at expires_in_ms lease lease_id lock mode namespace owner permits token ttl waited_ms"},
		"release":    {"POST", "/v1/namespaces/jobs/locks/nightly/release", `{"lease":"x"}`, 200, "released token"},
		"lease":      {"POST", "/v1/leases", `{"namespace":"jobs"}`, 201, "expires_in_ms lease lease_id namespace owner ttl"},
		"keepalive":  {"POST", "/v1/leases/x/keepalive", "", 200, "expires_in_ms lease_id ttl"},
		"keepalives": {"POST", "/v1/leases/keepalive", `{"leases":["x","y"]}`, 200, "results"},
		"revoke":     {"DELETE", "/v1/leases/x", "", 200, "released"},
		"ring":       {"GET", "/v1/cluster/ring?namespace=jobs", "", 200, "epoch group leader namespace"},
		"cluster":    {"GET", "/v1/cluster", "", 200, "id node"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
			var answer map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatalf("%v: %s", err, w.Body)
			}
			if w.Code != tt.status {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
			for member := range strings.FieldsSeq(tt.members) {
				if _, has := answer[member]; !has {
					t.Errorf("no %q in %s", member, w.Body)
				}
			}
		})
	}
}

func TestBadJSONIsRefused(t *testing.T) {
	w := httptest.NewRecorder()
	New().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/leases", strings.NewReader("{")))
	if w.Code != http.StatusBadRequest {
		t.Errorf("status %d", w.Code)
	}
}
