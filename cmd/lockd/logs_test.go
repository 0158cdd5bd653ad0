package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

func TestLogLinesAreJSON(t *testing.T) {
	var out bytes.Buffer
	c := defaultConfig() // auto: a buffer is no terminal
	logger, w := newLogger(c, &out, func() { t.Error("a line was dropped") })
	logger.Debug().Msg("too little to log")
	logger.Info().Str("rest", "127.0.0.1:8080").Msg("serving")
	w.Close()
	var line struct{ Level, Node, Rest, Message, Time string }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if line.Level != "info" || line.Node != "n1" || line.Rest != "127.0.0.1:8080" || line.Message != "serving" || line.Time == "" {
		t.Errorf("%+v", line)
	}
}

func TestConsoleLogLinesAreForPeople(t *testing.T) {
	var out bytes.Buffer
	c := defaultConfig()
	c.LogFormat = "console"
	logger, w := newLogger(c, &out, func() {})
	logger.Warn().Msg("leader lost")
	w.Close()
	if text := out.String(); !strings.Contains(text, "leader lost") || strings.Contains(text, "{") {
		t.Errorf("%q", text)
	}
}

// F28: a pipe that nobody reads must not stop whoever logs. What found no room
// is counted, and said once the pipe is read again.
func TestBlockedLogPipeStopsNobody(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	var dropped atomic.Int64
	logger, w := newLogger(defaultConfig(), write, func() { dropped.Add(1) })

	const lines = 40_000 // far more than the pipe and the queue hold
	for range lines {
		logger.Info().Str("text", strings.Repeat("x", 100)).Msg("a line")
	}
	if dropped.Load() == 0 {
		t.Fatal("nothing was dropped")
	}

	written, reported := int64(0), int64(0)
	in := bufio.NewScanner(read)
	for reported == 0 && in.Scan() {
		var line struct {
			Message string
			Lines   int64
		}
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, in.Bytes())
		}
		if reported = line.Lines; reported == 0 {
			written++
		}
	}
	if reported != dropped.Load() || written != lines-reported {
		t.Errorf("%d lines: %d written, %d reported as dropped, %d counted", lines, written, reported, dropped.Load())
	}
	w.Close()
}

// stuck is a pipe that nobody reads and that holds nothing.
type stuck struct{ released chan struct{} }

func (s stuck) Write(b []byte) (int, error) {
	<-s.released
	return len(b), nil
}

func TestClosingAStuckLogIsBounded(t *testing.T) {
	s := stuck{make(chan struct{})}
	w := newLogWriter(s, func() {}, func(io.Writer, int) {})
	w.Write([]byte("a line\n"))
	w.Close() // returns, or the test times out
	close(s.released)
	<-w.flushed // nothing is left behind once the pipe flows
}

func TestClosedLogDropsLines(t *testing.T) {
	var out bytes.Buffer
	dropped := 0
	w := newLogWriter(&out, func() { dropped++ }, func(io.Writer, int) {})
	w.Write([]byte("before\n"))
	w.Close()
	w.Write([]byte("after\n"))
	if out.String() != "before\n" || dropped != 1 {
		t.Errorf("wrote %q, dropped %d", out.String(), dropped)
	}
}
