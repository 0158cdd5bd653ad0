package httpapi

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// errCrossOrigin comes when a browser sends a request for a page of another
// site: that page may not use the network position of its reader.
var errCrossOrigin = errors.New("requests from pages of another origin are not answered")

// errHost comes when a request to a loopback listener names another host: a
// page could have had its own name resolved to 127.0.0.1 (DNS rebinding).
var errHost = errors.New("this listener answers only for loopback names in Host, and for those in its configuration")

// loopbackKey marks the contexts of connections to a loopback listener.
type loopbackKey struct{}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// guard refuses what only a browser that was led here would send.
func (s *Server) guard(r *http.Request) error {
	if loopback, _ := r.Context().Value(loopbackKey{}).(bool); loopback && !s.answersFor(r.Host) {
		return errHost
	}
	if site := r.Header["Sec-Fetch-Site"]; len(site) > 0 {
		if site[0] != "same-origin" && site[0] != "none" {
			return errCrossOrigin
		}
		return nil
	}
	if origin := r.Header["Origin"]; len(origin) > 0 && !s.sameOrigin(origin[0], r.Host) {
		return errCrossOrigin
	}
	return nil
}

// answersFor reports whether a loopback listener is asked for by host. A
// request without Host is HTTP/1.0, which browsers do not speak.
func (s *Server) answersFor(host string) bool {
	name := hostname(host)
	if name == "" || strings.EqualFold(name, "localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(name); err == nil && ip.IsLoopback() {
		return true
	}
	return s.configuredHost(name)
}

func (s *Server) configuredHost(name string) bool {
	return slices.ContainsFunc(s.cfg.Hosts, func(h string) bool { return strings.EqualFold(h, name) })
}

// sameOrigin compares hosts only: behind a proxy the scheme is not known.
func (s *Server) sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false // "null" too
	}
	return strings.EqualFold(u.Host, host) || s.configuredHost(u.Hostname())
}

// hostname is host without port, and without the brackets of IPv6.
func hostname(host string) string {
	if host == "" {
		return ""
	}
	u := url.URL{Host: host}
	return u.Hostname()
}
