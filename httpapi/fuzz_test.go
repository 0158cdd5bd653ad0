package httpapi

import (
	"bytes"
	"errors"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// bodies are all the bodies there are, and the members that each has.
var bodies = []struct {
	name    string
	make    func() request
	limit   int
	members []string
}{
	{"acquire", func() request { return new(acquireRequest) }, maxBody, []string{"lease", "ttl", "owner", "wait", "metadata", "mode", "permits", "limit"}},
	{"release", func() request { return new(releaseRequest) }, maxBody, []string{"lease", "token"}},
	{"verify", func() request { return new(verifyRequest) }, maxBody, []string{"token"}},
	{"force-release", func() request { return new(forceReleaseRequest) }, maxBody, []string{"reason", "token"}},
	{"lease", func() request { return new(createLeaseRequest) }, maxBody, []string{"namespace", "owner", "ttl", "lock_delay", "metadata"}},
	{"batch keepalive", func() request { return new(keepaliveRequest) }, maxLongBody, []string{"leases"}},
	{"multi-lock acquire", func() request { return new(multiAcquireRequest) }, maxLongBody, []string{"locks", "lease", "ttl", "owner", "wait", "metadata"}},
	{"multi-lock release", func() request { return new(multiReleaseRequest) }, maxLongBody, []string{"locks", "lease"}},
	{"none", func() request { return noBody{} }, maxBody, nil},
}

// FuzzBody reads anything as any body. What is accepted must be one strict JSON
// object of known members, by the judgement of another decoder, with no text
// that has control characters; what is refused is refused with a reason.
func FuzzBody(f *testing.F) {
	for i := range bodies {
		for _, seed := range []string{
			``, `{}`, `{"lease":"` + fakeLeaseSecret + `","token":42}`, `{"ttl":"30s","wait":"1m","owner":"\u00e4","mode":"permit","permits":2,"limit":3,"metadata":{"a":"b"}}`,
			`{"leases":["a","b"]}`, `{"locks":[{"namespace":"jobs","lock":"a/b","token":1},{"namespace":"jobs","lock":"b","mode":"shared"}],"lease":"x"}`,
			`{"namespace":"jobs","lock_delay":"5s"}`, `{"reason":"stuck","token":9007199254740991}`, `{"ttl":30}`, `{"a":`, "\xff",
		} {
			f.Add(uint8(i), []byte(seed))
		}
	}
	x := new(exchange)
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		b := bodies[int(kind)%len(bodies)]
		req := b.make()
		err := x.decode(httptest.NewRequest("POST", "/", bytes.NewReader(body)), b.limit, req)
		if err != nil {
			if !as[*invalidError](err) && !as[*tooLargeError](err) || err.Error() == "" {
				t.Errorf("%s: refused with %#v", b.name, err)
			}
			return
		}
		if len(body) == 0 {
			return
		}
		if len(body) > b.limit {
			t.Errorf("%s: accepted %d bytes", b.name, len(body))
		}
		var members map[string]any
		if err := json.Unmarshal(body, &members); err != nil {
			t.Errorf("%s: accepted %q: %v", b.name, body, err)
		}
		for name, value := range members {
			if !slices.Contains(b.members, name) || !isTame(value) {
				t.Errorf("%s: accepted %q", b.name, body)
			}
		}
		if req, ok := req.(*acquireRequest); ok {
			owner, _ := members["owner"].(string)
			if req.owner != owner || len(owner) > maxOwner || req.ttl != 0 && (req.ttl < minTTL || req.ttl > maxTTL) || len(req.metadata) != len(asObject(members["metadata"])) {
				t.Errorf("%q was read as %+v", body, req)
			}
		}
	})
}

func asObject(value any) map[string]any {
	object, _ := value.(map[string]any)
	return object
}

// isTame looks for null, booleans and control characters, at any depth: no
// body has them.
func isTame(value any) bool {
	switch value := value.(type) {
	case string:
		return !strings.ContainsFunc(value, unicode.IsControl)
	case float64:
		return true
	case []any:
		return !slices.ContainsFunc(value, func(v any) bool { return !isTame(v) })
	case map[string]any:
		for name, v := range value {
			if !isTame(name) || !isTame(v) {
				return false
			}
		}
		return true
	}
	return false
}

// FuzzLockName puts anything between the slashes. What is accepted keeps the
// rules, and its plainest encoding names the same lock.
func FuzzLockName(f *testing.F) {
	for _, seed := range []string{"nightly", "a%2Fb", ".", "..", "%2e%2e", "", "%", "%zz", "a+b", "%C3%A4", "%ff", "%00", "a;b", "a?b", "a#b", "a//b", strings.Repeat("x", 513)} {
		f.Add(seed)
	}
	pattern := parsePattern(lockPath)
	name := func(segment string) (string, error) {
		u, err := url.ParseRequestURI("/v1/namespaces/jobs/locks/" + segment)
		if err != nil {
			return "", err // net/http refuses it
		}
		x := new(exchange)
		var ok bool
		if x.vars, ok = pattern.match(u.EscapedPath()); !ok {
			return "", errNoRoute
		}
		_, lock, err := x.lockName()
		return lock, err
	}
	f.Fuzz(func(t *testing.T, segment string) {
		lock, err := name(segment)
		if err != nil {
			return
		}
		if len(lock) < 1 || len(lock) > 512 || lock == "." || lock == ".." || !utf8.ValidString(lock) || strings.ContainsFunc(lock, unicode.IsControl) {
			t.Errorf("%q is accepted as the lock %q", segment, lock)
		}
		if again, err := name(url.PathEscape(lock)); err != nil || again != lock {
			t.Errorf("the lock %q is encoded as another one: %q, %v", lock, again, err)
		}
	})
}

// FuzzPath compares pattern with regular expressions.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"", "/", "/v1/leases", "/v1/leases/", "/v1/leases/x/keepalive", "/v1/namespaces/a/locks/b/acquire", "/v1/namespaces//locks//", "v1/leases"} {
		f.Add(seed)
	}
	routes := New(Config{}, nil).routes()
	type matcher struct {
		pattern pattern
		regexp  *regexp.Regexp
	}
	var matchers []matcher
	variable := regexp.MustCompile(`\\\{[a-z]+\\\}`)
	for _, rt := range routes {
		expression := variable.ReplaceAllString(regexp.QuoteMeta(rt.path), `([^/]*)`)
		matchers = append(matchers, matcher{parsePattern(rt.path), regexp.MustCompile(`(?s)\A` + expression + `\z`)})
	}
	f.Fuzz(func(t *testing.T, path string) {
		for _, m := range matchers {
			var want vars
			found := m.regexp.FindStringSubmatch(path)
			if len(found) > 1 {
				copy(want[:], found[1:])
			}
			if got, ok := m.pattern.match(path); ok != (found != nil) || ok && got != want {
				t.Errorf("%s matches %q: %v %q, want %v %q", m.pattern.text, path, ok, got, found != nil, want)
			}
		}
	})
}

// FuzzKey reads anything as an Idempotency-Key.
func FuzzKey(f *testing.F) {
	for _, seed := range []string{"abc", `"abc"`, `"a\"b"`, `"`, ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		key, ok := parseKey(value)
		if !ok {
			return
		}
		if len(key) < 1 || len(key) > maxKey || !isPrintable(key) {
			t.Errorf("%q is accepted as %q", value, key)
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		if again, ok := parseKey(quoted); !ok || again != key {
			t.Errorf("%q quoted is %q, %v", key, again, ok)
		}
	})
}

// FuzzLease reads anything as a lease's secret: only what was given out is one.
func FuzzLease(f *testing.F) {
	for _, seed := range []string{fakeLeaseSecret, fakeID.String(), "", "."} {
		f.Add(seed)
	}
	p := newProofs(fakeSecret)
	f.Fuzz(func(t *testing.T, text string) {
		id, err := p.check(text)
		if err == nil && text != p.lease(id) {
			t.Errorf("%q is accepted for %v", text, id)
		}
		if err != nil && !errors.Is(err, errNoLease) {
			t.Error(err)
		}
	})
}
