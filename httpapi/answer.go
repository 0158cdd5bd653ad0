package httpapi

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"lockd/lease"
)

// answer builds one JSON object by appending. The caller keeps its braces
// balanced; answer puts the commas.
type answer struct{ b []byte }

// begin starts anew with an open object.
func (a *answer) begin() { a.b = append(a.b[:0], '{') }

func (a *answer) comma() {
	if last := a.b[len(a.b)-1]; last != '{' && last != '[' {
		a.b = append(a.b, ',')
	}
}

// key begins a member. Names are plain: they need no escapes.
func (a *answer) key(name string) {
	a.comma()
	a.b = append(a.b, '"')
	a.b = append(a.b, name...)
	a.b = append(a.b, '"', ':')
}

// object and array open a member; element opens an object within an array.
func (a *answer) object(name string) { a.key(name); a.b = append(a.b, '{') }
func (a *answer) array(name string)  { a.key(name); a.b = append(a.b, '[') }
func (a *answer) element()           { a.comma(); a.b = append(a.b, '{') }

func (a *answer) endObject() { a.b = append(a.b, '}') }
func (a *answer) endArray()  { a.b = append(a.b, ']') }

func (a *answer) text(name, value string) {
	a.key(name)
	a.quote(value)
}

// textElement is a text within an array.
func (a *answer) textElement(value string) {
	a.comma()
	a.quote(value)
}

// quote never fails on what came in through strict decoding; of other texts
// it replaces what is not UTF-8.
func (a *answer) quote(value string) { a.b, _ = jsontext.AppendQuote(a.b, value) }

func (a *answer) int(name string, value int64) {
	a.key(name)
	a.b = strconv.AppendInt(a.b, value, 10)
}

func (a *answer) uint(name string, value uint64) {
	a.key(name)
	a.b = strconv.AppendUint(a.b, value, 10)
}

func (a *answer) bool(name string, value bool) {
	a.key(name)
	a.b = strconv.AppendBool(a.b, value)
}

// millis writes a time that is left, which is left out where it is not known (-1).
func (a *answer) millis(name string, value int64) {
	if value >= 0 {
		a.int(name, value)
	}
}

// duration writes milliseconds as a Go duration in one unit: "90s", "1500ms".
func (a *answer) duration(name string, millis int64) {
	a.key(name)
	a.b = append(a.b, '"')
	if millis%1000 == 0 {
		a.b = append(strconv.AppendInt(a.b, millis/1000, 10), 's')
	} else {
		a.b = append(strconv.AppendInt(a.b, millis, 10), 'm', 's')
	}
	a.b = append(a.b, '"')
}

// time writes a time for people: RFC 3339 in UTC.
func (a *answer) time(name string, unixMillis int64) {
	a.key(name)
	a.b = append(a.b, '"')
	a.b = time.UnixMilli(unixMillis).UTC().AppendFormat(a.b, "2006-01-02T15:04:05.000Z07:00")
	a.b = append(a.b, '"')
}

// uintElement is a number within an array.
func (a *answer) uintElement(value uint64) {
	a.comma()
	a.b = strconv.AppendUint(a.b, value, 10)
}

// leaseID writes the bytes of a lease's id as clients see it.
func (a *answer) leaseID(id []byte) {
	a.text("lease_id", lease.ID(id).String())
}
