package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"lockd/api"
	"lockd/lease"
	"lockd/lease/leasepb"
)

// document is the OpenAPI document, decoded as JSON would be.
type document struct {
	root     map[string]any
	compiler *jsonschema.Compiler
}

func readDocument(t *testing.T) *document {
	t.Helper()
	var root map[string]any
	if err := yaml.Unmarshal(api.OpenAPI, &root); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	d := &document{root: parsed.(map[string]any), compiler: jsonschema.NewCompiler()}
	// Clients must bear members that are new to them, so the document leaves
	// them open. The server is held to those that it documents.
	closeObjects(d.at("components", "schemas"))
	if err := d.compiler.AddResource("openapi.json", d.root); err != nil {
		t.Fatal(err)
	}
	return d
}

// closeObjects allows no members besides the documented ones.
func closeObjects(node any) {
	switch node := node.(type) {
	case map[string]any:
		if _, ok := node["properties"]; ok && node["type"] == "object" {
			node["additionalProperties"] = false
		}
		for _, child := range node {
			closeObjects(child)
		}
	case []any:
		for _, child := range node {
			closeObjects(child)
		}
	}
}

// at walks down from the root, through references.
func (d *document) at(path ...string) any {
	var node any = d.root
	for _, name := range path {
		node = d.resolve(node.(map[string]any)[name])
	}
	return node
}

func (d *document) resolve(node any) any {
	if object, ok := node.(map[string]any); ok {
		if ref, ok := object["$ref"].(string); ok {
			return d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	return node
}

// operations lists "METHOD path" with the documented statuses.
func (d *document) operations() map[string][]int {
	operations := make(map[string][]int)
	for path, item := range d.at("paths").(map[string]any) {
		for method, operation := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			var statuses []int
			for status := range operation.(map[string]any)["responses"].(map[string]any) {
				code, _ := strconv.Atoi(status)
				statuses = append(statuses, code)
			}
			slices.Sort(statuses)
			operations[strings.ToUpper(method)+" "+path] = statuses
		}
	}
	return operations
}

// check holds an answer to what is documented for its route and status.
func (d *document) check(t *testing.T, rt *route, a *answered) {
	t.Helper()
	responses := d.at("paths", rt.path, strings.ToLower(rt.method), "responses").(map[string]any)
	response, ok := d.resolve(responses[strconv.Itoa(a.status)]).(map[string]any)
	if !ok {
		t.Errorf("%s %s: %d is not documented: %s", rt.method, rt.path, a.status, a.text)
		return
	}
	mediaType, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	content, ok := response["content"].(map[string]any)[mediaType].(map[string]any)
	if !ok {
		t.Errorf("%s %s: %d as %s is not documented", rt.method, rt.path, a.status, mediaType)
		return
	}
	headers, _ := response["headers"].(map[string]any)
	for _, name := range []string{"Retry-After", "Location", "Lockd-Lease", "Lockd-Token"} {
		if _, documented := headers[name]; documented != (a.header.Get(name) != "") {
			t.Errorf("%s %s: %d with %s=%q, documented: %v", rt.method, rt.path, a.status, name, a.header.Get(name), documented)
		}
	}
	ref, ok := content["schema"].(map[string]any)["$ref"].(string)
	if !ok {
		return // a text
	}
	schema, err := d.compiler.Compile("openapi.json" + ref)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(a.text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s %s: %d\n%s\n%v", rt.method, rt.path, a.status, a.text, err)
	}
}

// failures are the errors of the Service, by the status that they become.
var failures = map[int]error{
	404: lease.ErrLeaseNotFound,
	409: lease.ErrNotHolder,
	422: lease.ErrIdempotencyMismatch,
	429: lease.ErrQuotaExceeded,
	500: errors.New("a fault"),
	501: lease.ErrOtherGroup,
	503: &UnavailableError{Reason: "no leader"},
	504: ErrOutcomeUnknown,
}

// example is a good request to a route, and which of the failures the route's
// part of the Service can come to.
type example struct {
	path, body string
	failures   []int
}

var (
	changes = []int{404, 409, 422, 429, 500, 501, 503, 504}
	reads   = []int{500, 503, 504}
)

var examples = map[string]example{
	"POST " + lockPath + "/acquire":         {acquirePath, `{}`, changes},
	"POST " + lockPath + "/release":         {"/v1/namespaces/jobs/locks/nightly/release", `{"lease":"` + fakeLeaseSecret + `"}`, changes},
	"POST " + lockPath + "/verify":          {"/v1/namespaces/jobs/locks/nightly/verify", `{"token":42}`, reads},
	"GET " + lockPath + "/verify":           {"/v1/namespaces/jobs/locks/nightly/verify?token=42", "", reads},
	"POST " + lockPath + "/force-release":   {"/v1/namespaces/jobs/locks/nightly/force-release", `{"reason":"stuck"}`, []int{409, 422, 429, 500, 503, 504}},
	"GET " + lockPath:                       {"/v1/namespaces/jobs/locks/nightly", "", reads},
	"GET /v1/namespaces/{namespace}/locks":  {"/v1/namespaces/jobs/locks", "", reads},
	"GET /v1/namespaces":                    {"/v1/namespaces", "", reads},
	"GET /v1/namespaces/{namespace}/events": {"/v1/namespaces/jobs/events", "", []int{500, 503}},
	"POST /v1/leases":                       {"/v1/leases", `{}`, []int{404, 422, 429, 500, 503, 504}},
	"GET /v1/leases":                        {"/v1/leases", "", reads},
	"GET /v1/leases/{lease}":                {"/v1/leases/" + fakeLeaseSecret, "", []int{404, 500, 503, 504}},
	"DELETE /v1/leases/{lease}":             {"/v1/leases/" + fakeLeaseSecret, "", []int{404, 422, 429, 500, 503, 504}},
	"POST /v1/leases/{lease}/keepalive":     {"/v1/leases/" + fakeLeaseSecret + "/keepalive", "", []int{404, 500, 503, 504}},
	"POST /v1/leases/keepalive":             {"/v1/leases/keepalive", `{"leases":["` + fakeLeaseSecret + `","x"]}`, nil},
	"POST /v1/multilock/acquire":            {multiAcquire, `{"locks":[{"namespace":"jobs","lock":"a"}]}`, changes},
	"POST /v1/multilock/release":            {multiRelease, `{"lease":"` + fakeLeaseSecret + `","locks":[{"namespace":"jobs","lock":"a"}]}`, changes},
	"GET /v1/cluster":                       {"/v1/cluster", "", reads},
	"GET /v1/cluster/ring":                  {"/v1/cluster/ring?namespace=jobs", "", reads},
	"GET /healthz":                          {"/healthz", "", nil},
	"GET /readyz":                           {"/readyz", "", nil},
	"GET /metrics":                          {"/metrics", "", nil},
	"GET /openapi.yaml":                     {"/openapi.yaml", "", nil},
}

// Every route and status is documented, every documented one is answered, and
// what is answered is as documented.
func TestTheServerIsAsDocumented(t *testing.T) {
	d := readDocument(t)
	documented := d.operations()
	for _, rt := range New(Config{MetricsPage: http.NotFoundHandler()}, nil).routes() {
		name := rt.method + " " + rt.path
		statuses, ok := documented[name]
		if !ok {
			t.Errorf("%s is not documented", name)
			continue
		}
		delete(documented, name)
		t.Run(name, func(t *testing.T) {
			seen := answers(t, d, rt, examples[name])
			slices.Sort(seen)
			if seen = slices.Compact(seen); !slices.Equal(seen, statuses) {
				t.Errorf("answered %v, documented %v", seen, statuses)
			}
		})
	}
	for name := range documented {
		t.Errorf("%s is documented and has no route", name)
	}
}

// limit is how long the body of a request may be.
func (e example) limit() int {
	if slices.Contains([]string{multiAcquire, multiRelease, "/v1/leases/keepalive"}, e.path) {
		return maxLongBody
	}
	return maxBody
}

// answers sends what a route can be sent, checks the answers, and lists their
// statuses.
func answers(t *testing.T, d *document, rt *route, e example) (statuses []int) {
	svc := new(fakeService)
	ask := func(n *node, path, body string, headers ...string) {
		t.Helper()
		a := n.ask(rt.method, path, body, headers...)
		d.check(t, rt, a)
		statuses = append(statuses, a.status)
	}
	n := start(t, svc)
	ask(n, e.path, e.body)
	ask(n, e.path, e.body, "Origin", "http://evil.example")
	if !rt.anyQuery {
		separator := "?"
		if strings.Contains(e.path, "?") {
			separator = "&"
		}
		ask(n, e.path+separator+"typo=1", e.body)
	}
	if rt.method != http.MethodGet {
		ask(n, e.path, strings.Repeat(" ", e.limit()+1))
	}
	for _, status := range e.failures {
		svc.fail(failures[status])
		ask(n, e.path, e.body)
		svc.fail(nil)
	}
	switch rt.path {
	case "/readyz":
		svc.notReady = []GroupNotReady{{Group: 1, Reason: "no leader"}}
		ask(n, e.path, "")
	case "/v1/leases/keepalive": // fails as a whole only before the cluster has its key
		for _, status := range []int{500, 503} {
			ask(start(t, &fakeService{secret: func() ([]byte, error) { return nil, failures[status] }}), e.path, e.body)
		}
	}
	return statuses
}

// fail makes every method fail with err, or none with nil.
func (f *fakeService) fail(err error) {
	f.err, f.do = err, nil
	if err != nil {
		f.do = func(context.Context, *leasepb.Command) (*leasepb.Result, error) { return nil, err }
	}
}

// What only some requests are answered is as documented too.
func TestRarerAnswersAreAsDocumented(t *testing.T) {
	d := readDocument(t)
	svc := new(fakeService)
	n := start(t, svc)
	routeOf := func(name string) *route {
		for _, rt := range n.server.routes() {
			if rt.method+" "+rt.path == name {
				return rt
			}
		}
		t.Fatalf("no route %s", name)
		return nil
	}
	acquire := routeOf("POST " + lockPath + "/acquire")
	d.check(t, acquire, n.ask("POST", acquirePath, `{"mode":"permit","permits":2,"limit":3,"metadata":{"a":"b"},"owner":"ä"}`))
	d.check(t, acquire, n.ask("POST", acquirePath, `{"ttl":3}`))
	release := routeOf("POST " + lockPath + "/release")
	for _, err := range []error{heldError(fakeLock("jobs", "nightly")), heldError(), lease.ErrModeConflict} {
		svc.fail(err)
		d.check(t, acquire, n.ask("POST", acquirePath, ""))
		d.check(t, routeOf("POST /v1/multilock/acquire"), n.ask("POST", multiAcquire, `{"locks":[{"namespace":"jobs","lock":"a"}]}`))
	}
	svc.do = func(context.Context, *leasepb.Command) (*leasepb.Result, error) {
		return &leasepb.Result{Cancelled: true}, nil
	}
	d.check(t, release, n.ask("POST", "/v1/namespaces/jobs/locks/nightly/release", `{"lease":"`+fakeLeaseSecret+`"}`))
	svc.fail(nil)
	svc.lock = func(_ context.Context, r LockRead) (LockState, error) {
		return LockState{View: &leasepb.LockView{Namespace: r.Namespace, Lock: r.Lock}}, nil
	}
	d.check(t, routeOf("GET "+lockPath), n.ask("GET", "/v1/namespaces/jobs/locks/a%2Fb", ""))
}

func TestTheDocumentNamesTheCodesOfTheTable(t *testing.T) {
	d := readDocument(t)
	var documented []string
	for _, code := range d.at("components", "schemas", "Problem", "properties", "code", "enum").([]any) {
		documented = append(documented, code.(string))
	}
	var codes []string
	for _, p := range problems {
		codes = append(codes, p.code)
	}
	slices.Sort(codes)
	if codes = slices.Compact(codes); !slices.Equal(documented, codes) {
		t.Errorf("documented %v, answered %v", documented, codes)
	}
}

// Query parameters are what the routes take, and every reference leads somewhere.
func TestTheDocumentsParameters(t *testing.T) {
	d := readDocument(t)
	n := start(t, new(fakeService))
	for _, rt := range n.server.routes() {
		var query []string
		parameters, _ := d.at("paths", rt.path, strings.ToLower(rt.method)).(map[string]any)["parameters"].([]any)
		for _, p := range parameters {
			if p := d.resolve(p).(map[string]any); p["in"] == "query" {
				query = append(query, fmt.Sprint(p["name"]))
			}
		}
		slices.Sort(query)
		taken := slices.Sorted(slices.Values(rt.query))
		if !slices.Equal(query, taken) {
			t.Errorf("%s %s takes %v, documented %v", rt.method, rt.path, taken, query)
		}
	}
	for name := range d.at("components", "schemas").(map[string]any) {
		if _, err := d.compiler.Compile("openapi.json#/components/schemas/" + name); err != nil {
			t.Error(err)
		}
	}
}
