package httpapi

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"lockd/lease/leasepb"
)

// The limits of bodies, in bytes.
const (
	maxBody     = 64 << 10
	maxLongBody = 256 << 10 // of batch keepalive and multi-lock
)

// request is a body: an object whose members it reads one by one. member
// answers errUnknownMember for a name that it does not have.
type request interface {
	member(d *decoder, name string) error
}

// noBody is the body of a request that takes none: empty, or {}.
type noBody struct{}

func (noBody) member(*decoder, string) error { return errUnknownMember }

// errUnknownMember becomes an invalidError with the member's name.
var errUnknownMember = errors.New("unknown member")

// decode reads the body of r into req. jsontext refuses what is not JSON, not
// UTF-8, cut short, or given twice; decoder refuses values of other types.
func (x *exchange) decode(r *http.Request, limit int, req request) error {
	if err := x.read(r, limit); err != nil {
		return err
	}
	if x.body.Len() == 0 {
		return nil
	}
	d := &x.decoder
	d.path = ""
	d.jsontext.Reset(&x.body)
	if d.jsontext.PeekKind() != '{' {
		if _, err := d.jsontext.ReadToken(); err != nil {
			return d.invalid(err)
		}
		return invalid("body", "must be a JSON object")
	}
	if err := d.members(req); err != nil {
		return err
	}
	switch _, err := d.jsontext.ReadToken(); {
	case err == nil:
		return invalid("body", "must be one JSON object with nothing after it")
	case err != io.EOF:
		return d.invalid(err)
	}
	return nil
}

// read fills x.body, up to limit.
func (x *exchange) read(r *http.Request, limit int) error {
	x.body.Reset()
	x.raw = nil
	if r.ContentLength == 0 {
		return nil
	}
	if r.ContentLength > int64(limit) {
		return bodyTooLarge(limit)
	}
	// One byte more than the length lets the last Read find the end as well.
	x.body.Grow(max(int(r.ContentLength)+1, 512))
	for {
		free := x.body.AvailableBuffer()
		n, err := r.Body.Read(free[:cap(free)])
		x.body.Write(free[:n]) // in place
		if x.body.Len() > limit {
			return bodyTooLarge(limit)
		}
		if err == io.EOF {
			x.raw = x.body.Bytes()
			return nil
		}
		if err != nil {
			return &invalidError{"body", "could not be read to its end: " + err.Error()}
		}
		if x.body.Available() == 0 {
			x.body.Grow(x.body.Len())
		}
	}
}

func bodyTooLarge(limit int) error {
	return &tooLargeError{"the body must be at most " + strconv.Itoa(limit>>10) + " KiB"}
}

// decoder reads members of a known type. Names of fields are for errors.
type decoder struct {
	jsontext jsontext.Decoder
	path     string // of the object being read, "" at the top
}

// members reads one object.
func (d *decoder) members(req request) error {
	if _, err := d.jsontext.ReadToken(); err != nil { // {
		return d.invalid(err)
	}
	for d.jsontext.PeekKind() == '"' {
		name, err := d.string()
		if err != nil {
			return err
		}
		switch err := req.member(d, name); err {
		case nil:
		case errUnknownMember:
			return invalid(d.field(shorten(name)), "is not a member of this request")
		default:
			return err
		}
	}
	if _, err := d.jsontext.ReadToken(); err != nil { // }
		return d.invalid(err)
	}
	return nil
}

// field is the full name of a member of the object being read.
func (d *decoder) field(name string) string { return d.path + name }

// invalid turns an error of jsontext into one that names the place.
func (d *decoder) invalid(err error) error {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return invalid("body", "ends too early") // io.ErrUnexpectedEOF, io.EOF
	}
	reason := "is not valid JSON: " + syntax.Err.Error()
	field := "body"
	if syntax.JSONPointer != "" {
		field = shorten(dotted(syntax.JSONPointer))
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		reason = "is given more than once"
	}
	return invalid(field, reason)
}

// dotted writes a pointer as field does: locks[2].permits.
func dotted(p jsontext.Pointer) string {
	var b strings.Builder
	for token := range p.Tokens() {
		switch _, err := strconv.ParseUint(token, 10, 32); {
		case err == nil && b.Len() > 0:
			b.WriteString("[" + token + "]")
		case b.Len() > 0:
			b.WriteString("." + token)
		default:
			b.WriteString(token)
		}
	}
	return b.String()
}

// string reads a text as it is.
func (d *decoder) string() (string, error) {
	raw, err := d.jsontext.ReadValue()
	if err != nil {
		return "", d.invalid(err)
	}
	return unquote(raw), nil
}

// unquote takes a JSON string that jsontext found valid.
func unquote(raw jsontext.Value) string {
	if !slices.Contains(raw, '\\') {
		return string(raw[1 : len(raw)-1])
	}
	text, _ := jsontext.AppendUnquote(nil, raw)
	return string(text)
}

// text reads a text of at most limit bytes.
func (d *decoder) text(name string, limit int, to *string) error {
	if d.jsontext.PeekKind() != '"' {
		return d.wrongType(name, "must be a text")
	}
	text, err := d.string()
	if err != nil {
		return err
	}
	*to = text
	return checkText(d.field(name), text, limit)
}

func (d *decoder) duration(name string, least, most time.Duration, to *time.Duration) error {
	if d.jsontext.PeekKind() != '"' {
		return d.wrongType(name, durationForm)
	}
	text, err := d.string()
	if err != nil {
		return err
	}
	*to, err = parseDuration(d.field(name), text, least, most)
	return err
}

// uint reads a whole number in plain digits: 1e3 and 3.0 are refused.
func (d *decoder) uint(name string, least, most uint64, to *uint64) error {
	if d.jsontext.PeekKind() != '0' {
		return d.wrongType(name, "must be a number")
	}
	raw, err := d.jsontext.ReadValue()
	if err != nil {
		return d.invalid(err)
	}
	*to, err = parseUint(d.field(name), string(raw), least, most)
	return err
}

// token reads a fencing token.
func (d *decoder) token(name string, to *uint64) error { return d.uint(name, 1, maxNumber, to) }

// wrongType is the error for a value that is not of the type wanted, or not
// JSON at all.
func (d *decoder) wrongType(name, reason string) error {
	if _, err := d.jsontext.ReadToken(); err != nil {
		return d.invalid(err)
	}
	return invalid(d.field(name), reason)
}

// array reads an array, each element by the function given.
func (d *decoder) array(name string, element func(i int) error) error {
	if d.jsontext.PeekKind() != '[' {
		return d.wrongType(name, "must be an array")
	}
	if _, err := d.jsontext.ReadToken(); err != nil {
		return d.invalid(err)
	}
	for i := 0; d.jsontext.PeekKind() != ']'; i++ {
		if d.jsontext.PeekKind() == 0 {
			break // not JSON: the next read says so
		}
		if err := element(i); err != nil {
			return err
		}
	}
	if _, err := d.jsontext.ReadToken(); err != nil {
		return d.invalid(err)
	}
	return nil
}

// objects reads an array of objects; of gives the request for each.
func (d *decoder) objects(name string, of func(i int) (request, error)) error {
	return d.array(name, func(i int) error {
		path := d.field(name) + "[" + strconv.Itoa(i) + "]"
		if d.jsontext.PeekKind() != '{' {
			return d.wrongType(strings.TrimPrefix(path, d.path), "must be an object")
		}
		req, err := of(i)
		if err != nil {
			return err
		}
		outer := d.path
		d.path = path + "."
		defer func() { d.path = outer }()
		return d.members(req)
	})
}

// metadata reads a flat object of texts into pairs sorted by key.
func (d *decoder) metadata(name string, to *[]*leasepb.Pair) error {
	if d.jsontext.PeekKind() != '{' {
		return d.wrongType(name, "must be an object of texts")
	}
	if _, err := d.jsontext.ReadToken(); err != nil {
		return d.invalid(err)
	}
	size := 0
	for d.jsontext.PeekKind() == '"' {
		pair, err := d.pair(name)
		if err != nil {
			return err
		}
		if size += len(pair.Key) + len(pair.Value); size > maxMetadata {
			return &tooLargeError{d.field(name) + " must be at most 4 KiB of keys and values"}
		}
		*to = append(*to, pair)
	}
	if _, err := d.jsontext.ReadToken(); err != nil {
		return d.invalid(err)
	}
	slices.SortFunc(*to, func(a, b *leasepb.Pair) int { return strings.Compare(a.Key, b.Key) })
	return nil
}

func (d *decoder) pair(name string) (*leasepb.Pair, error) {
	key, err := d.string()
	if err != nil {
		return nil, err
	}
	if d.jsontext.PeekKind() != '"' {
		return nil, d.wrongType(name, "must be a flat object of texts")
	}
	value, err := d.string()
	if err != nil {
		return nil, err
	}
	if err := checkText(d.field(name), key, maxBody); err != nil {
		return nil, err
	}
	return &leasepb.Pair{Key: key, Value: value}, checkText(d.field(name), value, maxBody)
}
