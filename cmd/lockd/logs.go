package main

import (
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// newLogger returns the process's logger, which writes to out without ever
// waiting for it, and the writer to close at the end. dropped is called for
// each line that found no room.
func newLogger(c Config, out io.Writer, dropped func()) (zerolog.Logger, *logWriter) {
	sink := out
	if c.LogFormat == "console" || (c.LogFormat == "auto" && isTerminal(out)) {
		sink = zerolog.ConsoleWriter{Out: out, TimeFormat: time.TimeOnly}
	}
	w := newLogWriter(sink, dropped, reportDropped)
	logger := zerolog.New(w).Level(c.level()).With().Timestamp().Str("node", c.Name).Logger()
	return logger, w
}

// reportDropped writes the line that stands for those that are missing.
func reportDropped(out io.Writer, lines int) {
	logger := zerolog.New(out).With().Timestamp().Logger()
	logger.Warn().Int("lines", lines).Msg("log lines dropped: the log was not read fast enough")
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
