package httpapi

import (
	"net"
	"net/http"
	"testing"
)

func TestCrossOrigin(t *testing.T) {
	n := start(t, new(fakeService), func(c *Config) { c.Hosts = []string{"lockd.example"} })
	self := n.http.Listener.Addr().String()
	for _, test := range []struct {
		headers []string
		allowed bool
	}{
		{nil, true},
		{[]string{"Sec-Fetch-Site", "same-origin"}, true},
		{[]string{"Sec-Fetch-Site", "none"}, true},
		{[]string{"Sec-Fetch-Site", "same-site"}, false},
		{[]string{"Sec-Fetch-Site", "cross-site"}, false},
		{[]string{"Origin", "http://" + self}, true},
		{[]string{"Origin", "https://" + self}, true},
		{[]string{"Origin", "https://lockd.example"}, true},
		{[]string{"Origin", "http://127.0.0.1"}, false},
		{[]string{"Origin", "http://evil.example"}, false},
		{[]string{"Origin", "null"}, false},
		{[]string{"Origin", "%"}, false},
		{[]string{"Origin", "http://evil.example", "Sec-Fetch-Site", "same-origin"}, true},
	} {
		for _, method := range []string{"GET", "POST"} {
			path := map[string]string{"GET": "/v1/namespaces", "POST": acquirePath}[method]
			a := n.ask(method, path, "", test.headers...)
			if test.allowed && a.status != http.StatusOK {
				t.Errorf("%s %v: %d %s", method, test.headers, a.status, a.text)
			}
			if !test.allowed {
				a.wantProblem(http.StatusForbidden, "forbidden")
			}
		}
	}
}

func TestLoopbackListenerWantsLoopbackHosts(t *testing.T) {
	n := start(t, new(fakeService), func(c *Config) { c.Hosts = []string{"lockd.example"} })
	for host, allowed := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:8080": true, "127.1.2.3": true, "[::1]:80": true, "[::1]": true,
		"localhost": true, "LOCALHOST:8080": true, "lockd.example": true, "Lockd.Example:8080": true,
		"evil.example": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "10.0.0.1": false, "0.0.0.0": false,
	} {
		a := n.ask("POST", acquirePath, "", "Host", host)
		if allowed && a.status != http.StatusOK {
			t.Errorf("%s: %d %s", host, a.status, a.text)
		}
		if !allowed {
			a.wantProblem(http.StatusForbidden, "forbidden")
		}
	}
	conn := n.raw("GET /healthz HTTP/1.0\r\n\r\n")
	if a := readAnswer(t, conn); a.status != http.StatusOK {
		t.Errorf("HTTP/1.0 without Host: %d %s", a.status, a.text)
	}
}

func TestOtherListenersTakeAnyHost(t *testing.T) {
	for addr, loopback := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "127.3.2.1:80": true, "0.0.0.0:80": false, "[::]:80": false, "10.0.0.1:80": false} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := isLoopback(tcp); got != loopback {
			t.Errorf("isLoopback(%s) = %v", addr, got)
		}
	}
}
