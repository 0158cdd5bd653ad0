package load

import (
	"bytes"
	"fmt"
)

// refusal is an answer other than 2xx.
type refusal struct {
	status int
	code   string // the problem's code; "http" if it has none
}

func (e *refusal) Error() string { return fmt.Sprintf("status %d, code %s", e.status, e.code) }

// check returns a *refusal for an answer that is one.
func (a answer) check() error {
	if a.status/100 == 2 {
		return nil
	}
	code := string(a.text("code"))
	if code == "" {
		code = "http"
	}
	return &refusal{a.status, code}
}

// text returns the first member of that name whose value is a string, without
// parsing the rest: our own requests put nothing into an answer that could be
// taken for one. nil if there is none.
func (a answer) text(name string) []byte {
	value, found := a.member(name)
	if !found || len(value) == 0 || value[0] != '"' {
		return nil
	}
	value = value[1:]
	end := bytes.IndexByte(value, '"')
	if end < 0 {
		return nil
	}
	return value[:end]
}

// number is text for a whole number, 0 if there is none.
func (a answer) number(name string) uint64 {
	value, found := a.member(name)
	if !found {
		return 0
	}
	end := 0
	for end < len(value) && value[end] >= '0' && value[end] <= '9' {
		end++
	}
	n, err := number(value[:end], 10)
	if err != nil {
		return 0
	}
	return n
}

// member returns what follows "name": in the body.
func (a answer) member(name string) ([]byte, bool) {
	rest := a.body
	for {
		at := bytes.Index(rest, []byte(name))
		if at < 0 {
			return nil, false
		}
		end := at + len(name)
		if at > 0 && rest[at-1] == '"' && end+1 < len(rest) && rest[end] == '"' && rest[end+1] == ':' {
			return rest[end+2:], true
		}
		rest = rest[end:]
	}
}
