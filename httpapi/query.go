package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// checkQuery refuses parameters that the route does not know, or that are
// given twice: they would silently be without effect.
func (rt *route) checkQuery(r *http.Request) error {
	given, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return invalid("query", "is not percent-encoded as a query")
	}
	for name, values := range given {
		if !slices.Contains(rt.query, name) {
			return invalid(shorten(name), "is not a query parameter of this route")
		}
		if len(values) > 1 {
			return invalid(name, "is given more than once")
		}
	}
	return nil
}

// query reads the parameters of a request whose route has checked their names.
type query struct{ url.Values }

func queryOf(r *http.Request) query {
	if r.URL.RawQuery == "" {
		return query{}
	}
	return query{r.URL.Query()}
}

// text is "" when the parameter is absent.
func (q query) text(name string) (string, error) {
	text := q.Get(name)
	return text, checkText(name, text, maxLockName)
}

// flag is false when the parameter is absent. "false" is refused: it might be
// meant to ask for the opposite, and does not.
func (q query) flag(name string) (bool, error) {
	if !q.Has(name) {
		return false, nil
	}
	if q.Get(name) != "true" {
		return false, invalid(name, "must be true, or absent")
	}
	return true, nil
}

// uint is absent when it is absent.
func (q query) uint(name string, least, most, absent uint64) (uint64, error) {
	if !q.Has(name) {
		return absent, nil
	}
	return parseUint(name, q.Get(name), least, most)
}

func (q query) duration(name string, most time.Duration) (time.Duration, error) {
	if !q.Has(name) {
		return 0, nil
	}
	return parseDuration(name, q.Get(name), 0, most)
}

// The sizes of a page.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

func (q query) limit() (int, error) {
	limit, err := q.uint("limit", 1, maxLimit, defaultLimit)
	return int(limit), err
}

// maxNumber is the greatest integer that every reader of JSON reads exactly.
const maxNumber = 1<<53 - 1

// parseUint reads a whole number in plain decimal digits.
func parseUint(field, digits string, least, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n < least || n > most {
		return 0, invalidf(field, "must be a whole number from %d to %d", least, most)
	}
	return n, nil
}

// shorten keeps what a client made up from filling an error.
func shorten(name string) string {
	const most = 64
	if len(name) <= most {
		return name
	}
	return name[:most] + "..."
}
