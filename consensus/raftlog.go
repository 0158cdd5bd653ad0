package consensus

import (
	"fmt"
	"runtime/debug"

	"github.com/rs/zerolog"
)

// raftLogger passes what the raft library says to the node's log, its
// chatter at debug level: this package logs changes of state itself.
type raftLogger struct{ log zerolog.Logger }

func (l raftLogger) Debug(v ...any)                   { l.log.Trace().Msg(fmt.Sprint(v...)) }
func (l raftLogger) Debugf(format string, v ...any)   { l.log.Trace().Msgf(format, v...) }
func (l raftLogger) Info(v ...any)                    { l.log.Debug().Msg(fmt.Sprint(v...)) }
func (l raftLogger) Infof(format string, v ...any)    { l.log.Debug().Msgf(format, v...) }
func (l raftLogger) Warning(v ...any)                 { l.log.Warn().Msg(fmt.Sprint(v...)) }
func (l raftLogger) Warningf(format string, v ...any) { l.log.Warn().Msgf(format, v...) }
func (l raftLogger) Error(v ...any)                   { l.log.Error().Msg(fmt.Sprint(v...)) }
func (l raftLogger) Errorf(format string, v ...any)   { l.log.Error().Msgf(format, v...) }
func (l raftLogger) Fatal(v ...any)                   { panic(fmt.Sprint(v...)) }
func (l raftLogger) Fatalf(format string, v ...any)   { panic(fmt.Sprintf(format, v...)) }
func (l raftLogger) Panic(v ...any)                   { panic(fmt.Sprint(v...)) }
func (l raftLogger) Panicf(format string, v ...any)   { panic(fmt.Sprintf(format, v...)) }

func stack() []byte { return debug.Stack() }
