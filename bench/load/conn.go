package load

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// requestTimeout is how long a request may take beyond its own wait: the
// contract promises an answer within 5 s.
const requestTimeout = 10 * time.Second

// maxAnswer bounds the body of an answer.
const maxAnswer = 8 << 20

// request is one to be sent.
type request struct {
	addr, method string
	path, body   []byte
	wait         time.Duration // that the server was asked to wait
}

// requester sends requests, one at a time. After an error, whether the request
// was carried out is unknown. An answer is valid until the next request.
type requester interface {
	do(ctx context.Context, r request) (answer, error)
	close()
}

// conn speaks HTTP/1.1 over one kept connection, made when first needed and
// again after an error or for another address.
type conn struct {
	tcp     net.Conn // nil while there is none
	addr    string   // that tcp goes to
	in      *bufio.Reader
	unwatch func() bool // ends the watch of the context that tcp was made under
	request []byte
	body    []byte
}

func newConn() *conn { return &conn{in: bufio.NewReader(nil)} }

// answer is a response.
type answer struct {
	status int
	body   []byte
}

// do implements requester.
func (c *conn) do(ctx context.Context, r request) (answer, error) {
	if c.tcp == nil || c.addr != r.addr {
		if err := c.dial(ctx, r.addr); err != nil {
			return answer{}, err
		}
	}
	a, err := c.exchange(r)
	if err != nil {
		c.close()
		return answer{}, fmt.Errorf("%s: %w", r.addr, err)
	}
	return a, nil
}

func (c *conn) dial(ctx context.Context, addr string) error {
	c.close()
	dialer := net.Dialer{Timeout: requestTimeout}
	tcp, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	c.tcp, c.addr = tcp, addr
	c.in.Reset(tcp)
	// The end of ctx ends what waits on the connection.
	c.unwatch = context.AfterFunc(ctx, func() { tcp.Close() })
	return nil
}

// close drops the connection; the next request makes another.
func (c *conn) close() {
	if c.tcp != nil {
		c.unwatch()
		c.tcp.Close()
		c.tcp = nil
	}
}

func (c *conn) exchange(r request) (answer, error) {
	if err := c.tcp.SetDeadline(time.Now().Add(r.wait + requestTimeout)); err != nil {
		return answer{}, err
	}
	b := append(c.request[:0], r.method...)
	b = append(b, ' ')
	b = append(b, r.path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.addr...)
	if len(r.body) > 0 {
		b = append(b, "\r\nContent-Type: application/json"...)
	}
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(r.body)), 10)
	b = append(b, "\r\n\r\n"...)
	b = append(b, r.body...)
	c.request = b
	if _, err := c.tcp.Write(b); err != nil {
		return answer{}, err
	}
	return c.read()
}

// read reads one response.
func (c *conn) read() (answer, error) {
	line, err := c.line()
	if err != nil {
		return answer{}, err
	}
	status, err := statusOf(line)
	if err != nil {
		return answer{}, err
	}
	framing, err := c.headers()
	if err != nil {
		return answer{}, err
	}
	c.body = c.body[:0]
	if framing.chunked {
		err = c.readChunks()
	} else {
		err = c.readBody(framing.length)
	}
	if err != nil {
		return answer{}, err
	}
	if framing.last {
		c.close()
	}
	return answer{status, c.body}, nil
}

var errNotHTTP = errors.New("the answer is not HTTP/1.1 as this client reads it")

// statusOf reads "HTTP/1.1 200 OK".
func statusOf(line []byte) (int, error) {
	const digits = len("HTTP/1.1 ")
	if !bytes.HasPrefix(line, []byte("HTTP/1.")) || len(line) < digits+3 {
		return 0, errNotHTTP
	}
	n, err := number(line[digits:digits+3], 10)
	return int(n), err
}

// framing says where a response ends.
type framing struct {
	length  int
	chunked bool
	last    bool // the server closes the connection after it
}

func (c *conn) headers() (f framing, err error) {
	for {
		line, err := c.line()
		if err != nil || len(line) == 0 {
			return f, err
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found {
			return f, errNotHTTP
		}
		value = bytes.TrimSpace(value)
		switch len(name) { // cheaper than comparing each with all names
		case len("Content-Length"):
			if bytes.EqualFold(name, []byte("Content-Length")) {
				n, err := number(value, 10)
				if err != nil {
					return f, err
				}
				f.length = int(n)
			}
		case len("Transfer-Encoding"):
			if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
				f.chunked = bytes.EqualFold(value, []byte("chunked"))
			}
		case len("Connection"):
			if bytes.EqualFold(name, []byte("Connection")) {
				f.last = bytes.EqualFold(value, []byte("close"))
			}
		}
	}
}

// line reads up to a line's end and returns it without that.
func (c *conn) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// readBody appends n bytes to the body.
func (c *conn) readBody(n int) error {
	start := len(c.body)
	if n > maxAnswer-start {
		return fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	for cap(c.body) < start+n {
		c.body = append(c.body[:cap(c.body)], 0)
	}
	c.body = c.body[:start+n]
	_, err := io.ReadFull(c.in, c.body[start:])
	return err
}

func (c *conn) readChunks() error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		size, err := number(line, 16)
		if err != nil {
			return err
		}
		if err := c.readBody(int(size)); err != nil {
			return err
		}
		// After the data its line's end; after the last chunk no trailers, as
		// none were asked for.
		if end, err := c.line(); err != nil || len(end) > 0 {
			return cmp.Or(err, errNotHTTP)
		}
		if size == 0 {
			return nil
		}
	}
}

// number reads digits without the string that strconv would need.
func number(digits []byte, base uint64) (n uint64, err error) {
	if len(digits) == 0 || len(digits) > 15 {
		return 0, errNotHTTP
	}
	for _, d := range digits {
		v := uint64(255)
		switch {
		case d >= '0' && d <= '9':
			v = uint64(d - '0')
		case d >= 'a' && d <= 'f':
			v = uint64(d-'a') + 10
		case d >= 'A' && d <= 'F':
			v = uint64(d-'A') + 10
		}
		if v >= base {
			return 0, errNotHTTP
		}
		n = n*base + v
	}
	return n, nil
}
