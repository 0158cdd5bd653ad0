// Package noop is a server with lockd's routes and answers and nothing behind
// them: what net/http, gorilla/mux and encoding/json cost alone. It is the
// ceiling that lockd's throughput is measured against.
//
// It grants everything to everybody, so a client that looks for overlapping
// holders must find them here.
package noop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
)

// ttl is the one TTL of all leases here.
const ttl = 30 * time.Second

// New returns the server's handler.
func New() http.Handler {
	s := &server{}
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	r.HandleFunc("/v1/namespaces/{ns}/locks/{name}/acquire", s.acquire).Methods(http.MethodPost)
	r.HandleFunc("/v1/namespaces/{ns}/locks/{name}/release", s.release).Methods(http.MethodPost)
	r.HandleFunc("/v1/leases", s.create).Methods(http.MethodPost)
	r.HandleFunc("/v1/leases/keepalive", s.keepalives).Methods(http.MethodPost)
	r.HandleFunc("/v1/leases/{lease}/keepalive", s.keepalive).Methods(http.MethodPost)
	r.HandleFunc("/v1/leases/{lease}", s.revoke).Methods(http.MethodDelete)
	r.HandleFunc("/v1/cluster", s.cluster).Methods(http.MethodGet)
	r.HandleFunc("/v1/cluster/ring", s.ring).Methods(http.MethodGet)
	return r
}

// server has no state but the numbers that make answers differ.
type server struct{ token, leases atomic.Uint64 }

// newLease returns a lease of the length that lockd's have: an id of 32
// characters and a proof of 22.
func (s *server) newLease() (lease, id string) {
	id = fmt.Sprintf("%032d", s.leases.Add(1))
	return id + ".AAAAAAAAAAAAAAAAAAAAAA", id
}

type acquireRequest struct {
	Lease    string            `json:"lease"`
	TTL      string            `json:"ttl"`
	Owner    string            `json:"owner"`
	Mode     string            `json:"mode"`
	Permits  int               `json:"permits"`
	Limit    int               `json:"limit"`
	Wait     string            `json:"wait"`
	Metadata map[string]string `json:"metadata"`
}

type acquireResponse struct {
	Namespace   string    `json:"namespace"`
	Lock        string    `json:"lock"`
	Mode        string    `json:"mode"`
	Permits     int       `json:"permits"`
	Lease       string    `json:"lease"`
	LeaseID     string    `json:"lease_id"`
	Token       uint64    `json:"token"`
	Owner       string    `json:"owner"`
	TTL         string    `json:"ttl"`
	ExpiresInMS int64     `json:"expires_in_ms"`
	WaitedMS    int64     `json:"waited_ms"`
	AcquiredAt  time.Time `json:"acquired_at"`
}

func (s *server) acquire(w http.ResponseWriter, r *http.Request) {
	var req acquireRequest
	if !decode(w, r, &req) {
		return
	}
	var id string
	if req.Lease == "" {
		req.Lease, id = s.newLease()
	} else {
		id = leaseID(req.Lease)
	}
	vars := mux.Vars(r)
	token := s.token.Add(1)
	w.Header().Set("Lockd-Lease", req.Lease)
	w.Header().Set("Lockd-Token", strconv.FormatUint(token, 10))
	reply(w, http.StatusOK, acquireResponse{
		Namespace: vars["ns"], Lock: vars["name"], Mode: "exclusive", Permits: 1, Lease: req.Lease, LeaseID: id,
		Token: token, Owner: req.Owner, TTL: ttl.String(), ExpiresInMS: ttl.Milliseconds(), AcquiredAt: time.Now().UTC(),
	})
}

func (s *server) release(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Lease string `json:"lease"`
		Token uint64 `json:"token"`
	}
	if decode(w, r, &req) {
		reply(w, http.StatusOK, struct {
			Released bool   `json:"released"`
			Token    uint64 `json:"token"`
		}{true, s.token.Load()})
	}
}

func (s *server) create(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Namespace string `json:"namespace"`
		Owner     string `json:"owner"`
		TTL       string `json:"ttl"`
	}
	if !decode(w, r, &req) {
		return
	}
	lease, id := s.newLease()
	reply(w, http.StatusCreated, struct {
		Lease       string `json:"lease"`
		LeaseID     string `json:"lease_id"`
		Namespace   string `json:"namespace"`
		Owner       string `json:"owner"`
		TTL         string `json:"ttl"`
		ExpiresInMS int64  `json:"expires_in_ms"`
	}{lease, id, req.Namespace, req.Owner, ttl.String(), ttl.Milliseconds()})
}

type renewal struct {
	LeaseID     string `json:"lease_id"`
	TTL         string `json:"ttl"`
	ExpiresInMS int64  `json:"expires_in_ms"`
}

func (s *server) keepalive(w http.ResponseWriter, r *http.Request) {
	var req struct{}
	if decode(w, r, &req) {
		reply(w, http.StatusOK, renewed(mux.Vars(r)["lease"]))
	}
}

func (s *server) keepalives(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Leases []string `json:"leases"`
	}
	if !decode(w, r, &req) {
		return
	}
	results := make([]renewal, 0, len(req.Leases))
	for _, lease := range req.Leases {
		results = append(results, renewed(lease))
	}
	reply(w, http.StatusOK, struct {
		Results []renewal `json:"results"`
	}{results})
}

func renewed(lease string) renewal {
	return renewal{LeaseID: leaseID(lease), TTL: ttl.String(), ExpiresInMS: ttl.Milliseconds()}
}

func (s *server) revoke(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{"released": []any{}})
}

func (s *server) cluster(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{"id": "noop", "node": "noop"})
}

func (s *server) ring(w http.ResponseWriter, r *http.Request) {
	reply(w, http.StatusOK, map[string]any{"namespace": r.URL.Query().Get("namespace"), "group": 1, "leader": "noop", "epoch": 1})
}

// leaseID is the lease without its proof.
func leaseID(lease string) string {
	if len(lease) > 32 {
		return lease[:32]
	}
	return lease
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if r.ContentLength == 0 {
		return true
	}
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

// reply writes the answer. A client that has gone by then needs no error.
func reply(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
