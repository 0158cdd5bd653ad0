package httpapi

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestLockNames(t *testing.T) {
	svc := new(fakeService)
	n := start(t, svc)
	for encoded, name := range map[string]string{
		"nightly":                     "nightly",
		"a%2Fb":                       "a/b",
		"a%2fb":                       "a/b",
		"%61":                         "a",
		"a+b":                         "a+b",
		"a%20b":                       "a b",
		"a%3Fb":                       "a?b",
		"a;b=c":                       "a;b=c",
		"a%25b":                       "a%b",
		"a%252Fb":                     "a%2Fb",
		"%C3%A4":                      "ä",
		"...":                         "...",
		".a":                          ".a",
		"%E2%80%A8":                   "\u2028",
		strings.Repeat("x", 512):      strings.Repeat("x", 512),
		strings.Repeat("%C3%A4", 256): strings.Repeat("ä", 256),
		"acquire":                     "acquire",
		"Nightly":                     "Nightly",
	} {
		a := n.ask("POST", "/v1/namespaces/jobs/locks/"+encoded+"/acquire", "")
		if a.status != http.StatusOK || a.object()["lock"] != name || svc.last().GetAcquire().Locks[0].Lock != name {
			t.Errorf("%s: %d %s, want lock %q", encoded, a.status, a.text, name)
		}
	}
	for _, encoded := range []string{
		"", "%2E", ".", "..", "%2e%2E", ".%2e", "%00", "a%0Ab", "%7F", "%C2%85", "%ff", "%C3", "%ED%A0%80",
		strings.Repeat("x", 513), strings.Repeat("%C3%A4", 257),
	} {
		for _, action := range []string{"/acquire", "/release", "/verify", "/force-release"} {
			a := n.ask("POST", "/v1/namespaces/jobs/locks/"+encoded+action, "")
			a.wantInvalid("lock")
		}
		n.ask("GET", "/v1/namespaces/jobs/locks/"+encoded, "").wantInvalid("lock")
	}
}

func TestNamespaces(t *testing.T) {
	n := start(t, new(fakeService))
	for _, namespace := range []string{"a", "0", "Jobs", "a.b_c-d", "a..", strings.Repeat("a", 128), "%6Aobs"} {
		a := n.ask("POST", "/v1/namespaces/"+namespace+"/locks/l/acquire", "")
		if want, _ := url.PathUnescape(namespace); a.status != http.StatusOK || a.object()["namespace"] != want {
			t.Errorf("%s: %d %s", namespace, a.status, a.text)
		}
	}
	for _, namespace := range []string{"", ".", "..", "-a", "_a", "a%2Fb", "a b", "ä", "a%00", strings.Repeat("a", 129)} {
		encoded := strings.ReplaceAll(namespace, " ", "%20")
		n.ask("POST", "/v1/namespaces/"+encoded+"/locks/l/acquire", "").wantInvalid("namespace")
		n.ask("GET", "/v1/namespaces/"+encoded+"/locks", "").wantInvalid("namespace")
		n.ask("GET", "/v1/namespaces/"+encoded+"/events", "").wantInvalid("namespace")
		n.ask("GET", "/v1/leases?namespace="+url.QueryEscape(namespace), "").wantInvalid("namespace")
		n.ask("POST", "/v1/leases", `{"namespace":"`+strings.ReplaceAll(namespace, "%00", "")+`_ "}`).wantInvalid("namespace")
	}
}
