package httpapi

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"lockd/lease"
	"lockd/lease/leasepb"
)

func TestCreateLease(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	a := n.ask("POST", "/v1/leases", `{"namespace":"jobs","owner":"worker-1","ttl":"90s","metadata":{"a":"1"},"lock_delay":"5s"}`)
	op := svc.last().GetCreateLease()
	id := lease.ID(op.Lease)
	if id.Hash() != lease.HashNamespace("jobs") {
		t.Errorf("lease %v does not have its home's hash", id)
	}
	secret := newProofs(fakeSecret).lease(id)
	a.wantJSON(http.StatusCreated, `{"lease":"`+secret+`","lease_id":"`+id.String()+`","namespace":"jobs","owner":"worker-1","ttl":"90s","expires_in_ms":90000}`)
	if got := a.header.Get("Location"); got != "/v1/leases/"+id.String() {
		t.Errorf("Location %q", got)
	}
	if got := a.header.Get("Lockd-Lease"); got != secret {
		t.Errorf("Lockd-Lease %q", got)
	}
	wantCommand(t, svc.last(), &leasepb.Command{Op: &leasepb.Command_CreateLease{CreateLease: &leasepb.CreateLease{
		Lease: id[:], Namespace: "jobs",
		New: &leasepb.NewLease{Owner: "worker-1", TtlMs: 90_000, LockDelayMs: 5000, Metadata: []*leasepb.Pair{{Key: "a", Value: "1"}}},
	}}})

	if made := n.ask("POST", "/v1/leases", "").object(); made["namespace"] != "default" || made["ttl"] != "30s" || made["lease_id"] == id.String() {
		t.Errorf("with defaults: %v", made)
	}
}

func TestReadLease(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	want := `{"lease_id":"` + fakeID.String() + `","namespace":"jobs","owner":"worker-1","ttl":"1500ms","lock_delay":"5s","metadata":{"host":"a"},` +
		`"locks":[{"namespace":"jobs","lock":"nightly","mode":"exclusive","token":42}],"waiting":[{"namespace":"jobs","lock":"weekly","mode":"shared"}]}`
	n.ask("GET", "/v1/leases/"+fakeLeaseSecret, "").wantJSON(http.StatusOK, want)
	n.ask("GET", "/v1/leases/"+fakeID.String(), "").wantJSON(http.StatusOK, want)
	n.ask("GET", "/v1/leases?namespace=jobs", "").wantJSON(http.StatusOK, `{"leases":[`+want+`]}`)
	n.ask("GET", "/v1/leases?namespace=", "").wantInvalid("namespace")
	n.ask("GET", "/v1/leases?limit=0", "").wantInvalid("limit")
	n.ask("GET", "/v1/leases?after=%00", "").wantInvalid("after")
}

// Whatever is wrong with a secret is one and the same answer.
func TestALeaseNeedsItsProof(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	other := newProofs([]byte("another cluster's key")).lease(fakeID)
	last := fakeLeaseSecret[len(fakeLeaseSecret)-1:]
	for name, secret := range map[string]string{
		"the id alone":             fakeID.String(),
		"no text":                  "",
		"proof of another cluster": other,
		"proof of another lease":   lease.NewID("jobs", [12]byte{9}).String() + fakeLeaseSecret[idLength:],
		"proof cut short":          fakeLeaseSecret[:leaseLength-1],
		"proof too long":           fakeLeaseSecret + "A",
		"id in upper case":         strings.ToUpper(fakeLeaseSecret),
		"other separator":          strings.Replace(fakeLeaseSecret, ".", ":", 1),
		// The last character of a proof has 4 bits that mean nothing.
		"proof with other padding bits": strings.TrimSuffix(fakeLeaseSecret, last) + string(nextBase64(last[0])),
	} {
		t.Run(name, func(t *testing.T) {
			n.ask("POST", acquirePath, `{"lease":"`+secret+`"}`).wantProblem(http.StatusNotFound, "lease_not_found")
			n.ask("POST", "/v1/namespaces/jobs/locks/nightly/release", `{"lease":"`+secret+`"}`).wantProblem(http.StatusNotFound, "lease_not_found")
			n.ask("POST", "/v1/multilock/release", `{"lease":"`+secret+`"}`).wantProblem(http.StatusNotFound, "lease_not_found")
			n.ask("POST", "/v1/leases/"+secret+"/keepalive", "").wantProblem(http.StatusNotFound, "lease_not_found")
			if secret != "" {
				n.ask("DELETE", "/v1/leases/"+secret, "").wantProblem(http.StatusNotFound, "lease_not_found")
			}
			if name != "the id alone" && secret != "" {
				n.ask("GET", "/v1/leases/"+secret, "").wantProblem(http.StatusNotFound, "lease_not_found")
			}
		})
	}
	n.ask("GET", "/v1/leases/"+strings.Repeat("z", 32), "").wantProblem(http.StatusNotFound, "lease_not_found")
	n.ask("GET", "/v1/leases/"+strings.Repeat("0", 31)+"%0a", "").wantProblem(http.StatusNotFound, "lease_not_found")
	if sent := svc.sent(); len(sent) > 0 {
		t.Errorf("the service was asked: %v", sent)
	}
}

// nextBase64 is the base64url digit after c, which differs from it in the
// lowest bit for even digits.
func nextBase64(c byte) byte {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return digits[strings.IndexByte(digits, c)^1]
}

func TestEndLease(t *testing.T) {
	svc := new(fakeService)
	start(t, svc).ask("DELETE", "/v1/leases/"+fakeLeaseSecret, "").wantJSON(http.StatusOK, `{"released":[{"namespace":"jobs","lock":"nightly","token":42}]}`)
	wantCommand(t, svc.last(), &leasepb.Command{Op: &leasepb.Command_EndLease{EndLease: &leasepb.EndLease{Lease: fakeID[:]}}})
}

func TestKeepalive(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	path := "/v1/leases/" + fakeLeaseSecret + "/keepalive"
	n.ask("POST", path, "").wantJSON(http.StatusOK, `{"lease_id":"`+fakeID.String()+`","ttl":"30s","expires_in_ms":30000}`)
	n.ask("POST", path, "{}", "Idempotency-Key", "").wantJSON(http.StatusOK, `{"lease_id":"`+fakeID.String()+`","ttl":"30s","expires_in_ms":30000}`)
	n.ask("POST", path, `{"ttl":"5s"}`).wantInvalid("ttl")
	svc.err = lease.ErrLeaseNotFound
	n.ask("POST", path, "").wantProblem(http.StatusNotFound, "lease_not_found")
}

func TestBatchKeepaliveAnswersInTheOrderAskedFor(t *testing.T) {
	ids := make([]lease.ID, 4)
	secrets := make([]string, len(ids))
	for i := range ids {
		ids[i] = lease.NewID("jobs", [12]byte{byte(i)})
		secrets[i] = newProofs(fakeSecret).lease(ids[i])
	}
	svc := &fakeService{keepalive: func(asked []lease.ID) []Renewal {
		renewals := make([]Renewal, len(asked))
		for i, id := range asked {
			renewals[i] = Renewal{Lease: id, TTL: 2 * time.Second, ExpiresIn: 1999 * time.Millisecond}
			switch id {
			case ids[1]:
				renewals[i].Err = &UnavailableError{RetryAfter: time.Second, Reason: "no leader"}
			case ids[2]:
				renewals[i].Err = ErrOutcomeUnknown
			}
		}
		return renewals
	}}
	n := start(t, svc)
	body := `{"leases":["` + strings.Join([]string{secrets[3], "junk", secrets[1], ids[0].String() + ".AAAAAAAAAAAAAAAAAAAAAA", secrets[2], secrets[3]}, `","`) + `"]}`
	n.ask("POST", "/v1/leases/keepalive", body).wantJSON(http.StatusOK, `{"results":[`+
		`{"lease_id":"`+ids[3].String()+`","ttl":"2s","expires_in_ms":1999},`+
		`{"lease_id":"","code":"lease_not_found"},`+
		`{"lease_id":"`+ids[1].String()+`","code":"unavailable"},`+
		`{"lease_id":"`+ids[0].String()+`","code":"lease_not_found"},`+
		`{"lease_id":"`+ids[2].String()+`","code":"outcome_unknown"},`+
		`{"lease_id":"`+ids[3].String()+`","ttl":"2s","expires_in_ms":1999}]}`)
	n.ask("POST", "/v1/leases/keepalive", `{"leases":[]}`).wantJSON(http.StatusOK, `{"results":[]}`)
	n.ask("POST", "/v1/leases/keepalive", `{}`).wantInvalid("leases")
	n.ask("POST", "/v1/leases/keepalive", `{"leases":["a",1]}`).wantInvalid("leases[1]")

	many := func(count int) string {
		return `{"leases":["` + strings.Repeat(secrets[0]+`","`, count-1) + secrets[0] + `"]}`
	}
	if a := n.ask("POST", "/v1/leases/keepalive", many(1000)); a.status != http.StatusOK {
		t.Errorf("1000 leases: %d %s", a.status, a.text)
	}
	n.ask("POST", "/v1/leases/keepalive", many(1001)).wantInvalid("leases")
}

func TestNoProofsBeforeTheClusterHasItsKey(t *testing.T) {
	svc := &fakeService{secret: func() ([]byte, error) {
		return nil, &UnavailableError{RetryAfter: time.Second, Reason: "the cluster has no key yet"}
	}}
	n := start(t, svc)
	requests := map[string]string{acquirePath: "", "/v1/leases": "", "/v1/leases/" + fakeLeaseSecret + "/keepalive": "", "/v1/leases/keepalive": `{"leases":["a"]}`}
	for path, body := range requests {
		n.ask("POST", path, body).wantProblem(http.StatusServiceUnavailable, "unavailable")
	}
	if sent := svc.sent(); len(sent) > 0 {
		t.Errorf("granted without being able to say so: %v", sent)
	}
	svc.secret = nil
	if a := n.ask("POST", acquirePath, ""); a.status != http.StatusOK {
		t.Errorf("got %d %s", a.status, a.text)
	}
	svc.secret = func() ([]byte, error) { return nil, errors.New("asked again") }
	if a := n.ask("POST", acquirePath, ""); a.status != http.StatusOK {
		t.Errorf("the key was not kept: %d %s", a.status, a.text)
	}
}
