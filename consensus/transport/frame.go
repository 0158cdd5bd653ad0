package transport

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/mem"
)

// A new frame has room for newFrameBytes; below about 1 KiB gRPC would not
// give the buffer back. One that grew above keepFrameBytes is left to the
// garbage collector.
const (
	newFrameBytes  = 4 << 10
	keepFrameBytes = 2 * frameBytes
)

// outFrame is a frame to be sent. SendMsg takes its buffer and gives it back
// to framePool when it is written.
type outFrame struct {
	buf *[]byte
	// records counts what is in the frame.
	records int
}

// inFrame is where RecvMsg puts a frame. The room of data is used again; who
// keeps data sets it to nil first.
type inFrame struct {
	data []byte
}

// rawCodec passes frames through gRPC as they are. A protobuf envelope with
// bytes fields would copy each payload twice more.
type rawCodec struct{}

func (rawCodec) Name() string { return "lockd-raw" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*outFrame)
	if !ok {
		return nil, fmt.Errorf("transport: cannot send a %T", v)
	}
	buf := f.buf
	f.buf = nil
	return mem.BufferSlice{mem.NewBuffer(buf, framePool)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*inFrame)
	if !ok {
		return fmt.Errorf("transport: cannot receive into a %T", v)
	}
	n := data.Len()
	if cap(f.data) < n || cap(f.data) > keepFrameBytes {
		f.data = make([]byte, n)
	}
	f.data = f.data[:n]
	data.CopyTo(f.data)
	return nil
}

// framePool keeps the buffers of frames that were sent.
var framePool = &bufferPool{sync.Pool{New: func() any {
	b := make([]byte, 0, newFrameBytes)
	return &b
}}}

type bufferPool struct{ pool sync.Pool }

// Get returns an empty buffer with room for n bytes, as good as possible.
func (p *bufferPool) Get(n int) *[]byte {
	b := p.pool.Get().(*[]byte)
	if cap(*b) < n {
		*b = make([]byte, 0, n)
	}
	return b
}

// Put takes a buffer that nobody uses any more.
func (p *bufferPool) Put(b *[]byte) {
	if cap(*b) > keepFrameBytes {
		return
	}
	*b = (*b)[:0]
	p.pool.Put(b)
}
