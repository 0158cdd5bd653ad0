package transport

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"go.etcd.io/etcd/raft/v3/raftpb"
)

var someHello = Hello{
	Cluster: "c0ffee", Name: "n1", Node: 1, Store: "5704e", Boot: 1 << 60,
	Listen: "10.0.0.1:7400", PeerListen: "10.0.0.1:7500", Version: "1.0.0",
}

func someMessages() []GroupMessage {
	return []GroupMessage{
		{Group: 0, Message: raftpb.Message{Type: raftpb.MsgHeartbeat, From: 1, To: 2, Term: 3, Commit: 5, Context: []byte("read")}},
		{Group: 1 << 40, Message: raftpb.Message{Type: raftpb.MsgApp, Entries: []raftpb.Entry{{Term: 3, Index: 6, Data: []byte("entry")}}}},
	}
}

func messagesFrame(t testing.TB, msgs []GroupMessage) []byte {
	q := messageQueue{newOutbox(maxMessageBytes)}
	if dropped := q.send(msgs); dropped > 0 {
		t.Fatalf("%d messages dropped", dropped)
	}
	var f outFrame
	if !q.take(&f) {
		return nil
	}
	return *f.buf
}

func recordsFrame() (b []byte) {
	for _, r := range []record{
		{kind: kindRequest, id: 1, payload: []byte("payload")},
		{kind: kindCancel, id: 1 << 50},
		{kind: kindReply, id: 300, payload: bytes.Repeat([]byte("x"), 300)},
		{kind: kindPing},
	} {
		b = appendRecord(b, r)
	}
	return b
}

// A later version's hello has more at its end.
func TestHelloOfLaterVersion(t *testing.T) {
	h, err := decodeHello(append(appendHello(nil, someHello), "more of it"...))
	if h != someHello || err != nil {
		t.Errorf("decoded %+v, %v", h, err)
	}
}

func TestMalformedFrames(t *testing.T) {
	hello, messages, records := appendHello(nil, someHello), messagesFrame(t, someMessages()), recordsFrame()
	for n := range hello {
		if _, err := decodeHello(hello[:n]); err == nil {
			t.Errorf("hello cut at %d is accepted", n)
		}
	}
	if _, err := decodeHello(append(hello, make([]byte, maxHelloBytes)...)); err == nil {
		t.Error("a hello without end is accepted")
	}
	whole := map[int]bool{0: true, 2 + int(messages[1]): true}
	for n := range messages {
		if _, err := decodeMessages(messages[:n]); (err == nil) != whole[n] {
			t.Errorf("messages cut at %d: %v", n, err)
		}
	}
	for _, bad := range [][]byte{nil, {0, 0, 0}, {8, 0, 0}, records[:3], {1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}} {
		if _, _, err := cutRecord(bad); err == nil {
			t.Errorf("record %v is accepted", bad)
		}
	}
	if err := newCalls().answer(recordsFrame()); !errors.Is(err, errBadKind) {
		t.Errorf("a server that sends requests: %v", err)
	}
}

// What waits for a link goes in frames of bounded size, whole and in order.
func TestOutboxCutsFrames(t *testing.T) {
	o := newOutbox(maxRequestBytes)
	payload := strings.Repeat("x", frameBytes/3)
	for id := range uint64(10) {
		if !o.put(record{kind: kindRequest, id: id, payload: []byte(payload)}) {
			t.Fatal("full")
		}
	}
	var next uint64
	var f outFrame
	for number := uint64(1); o.take(&f); number++ {
		if len(*f.buf) > frameBytes {
			t.Errorf("frame of %d bytes", len(*f.buf))
		}
		if o.taken != number {
			t.Errorf("frame %d has number %d", number, o.taken)
		}
		for b := *f.buf; len(b) > 0; next++ {
			var r record
			var err error
			if r, b, err = cutRecord(b); err != nil || r.id != next || string(r.payload) != payload {
				t.Fatalf("record %d: id %d, %v", next, r.id, err)
			}
		}
	}
	if next != 10 || o.bytes != 0 {
		t.Errorf("%d records came out, %d bytes are left", next, o.bytes)
	}
}

func FuzzHello(f *testing.F) {
	f.Add(appendHello(nil, Hello{}))
	f.Add(appendHello(nil, someHello))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHello(b)
		if err != nil {
			return
		}
		if again, err := decodeHello(appendHello(nil, h)); again != h || err != nil {
			t.Errorf("%+v became %+v, %v", h, again, err)
		}
	})
}

func FuzzRecords(f *testing.F) {
	f.Add(recordsFrame())
	f.Fuzz(func(t *testing.T, b []byte) {
		var out []byte
		var list, again []record
		for rest := b; len(rest) > 0; {
			var r record
			var err error
			if r, rest, err = cutRecord(rest); err != nil {
				break
			}
			list = append(list, r)
			out = appendRecord(out, r)
		}
		if len(out) > len(b) {
			t.Errorf("%d bytes became %d", len(b), len(out))
		}
		for len(out) > 0 {
			var r record
			var err error
			if r, out, err = cutRecord(out); err != nil {
				t.Fatal(err)
			}
			again = append(again, r)
		}
		if !reflect.DeepEqual(list, again) {
			t.Errorf("%+v became %+v", list, again)
		}
	})
}

func FuzzMessages(f *testing.F) {
	f.Add(messagesFrame(f, someMessages()))
	f.Fuzz(func(t *testing.T, b []byte) {
		msgs, err := decodeMessages(b)
		if err != nil {
			return
		}
		again, err := decodeMessages(messagesFrame(t, msgs))
		if err != nil {
			t.Fatal(err)
		}
		if len(msgs) != len(again) || len(msgs) > 0 && !reflect.DeepEqual(msgs, again) {
			t.Errorf("%+v became %+v", msgs, again)
		}
	})
}

func FuzzSnapshotHeader(f *testing.F) {
	h, _ := content(100)
	b, err := appendSnapshotHeader(nil, h)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeSnapshotHeader(b)
		if err != nil {
			return
		}
		b, err = appendSnapshotHeader(nil, h)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeSnapshotHeader(b); !reflect.DeepEqual(h, again) || err != nil {
			t.Errorf("%+v became %+v, %v", h, again, err)
		}
	})
}
