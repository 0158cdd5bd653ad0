// Command lockd is the node of a lock service and its tools. It only reads
// what it was told, wires the other packages together and prints: a subcommand
// per file, the table of them here, the configuration in config.go and load.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command is a subcommand. Its run gets the arguments after its name.
type command struct {
	name, summary string
	run           func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

func commands() []command {
	return []command{
		{"serve", "run a node (also the default)", serve},
		{"bench", "measure a running cluster", benchmark},
		{"health", "exit 0 if the node of this configuration is ready", health},
		{"completion", "print the shell completion for bash, zsh or fish", completion},
		{"version", "print the version", printVersion},
		{"help", "print this help, or that of a command", help},
	}
}

// The exit statuses of the process.
const (
	exitOK = iota
	exitFailed
	exitUsage // the arguments, the environment or the file are wrong
)

// usageError is an error of whoever wrote the command line; Error tells what to
// change.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// run carries out the command line and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name := "serve"
	switch {
	case len(args) > 0 && !strings.HasPrefix(args[0], "-"):
		name, args = args[0], args[1:]
	case len(args) > 0 && (args[0] == "--help" || args[0] == "-h"):
		name, args = "help", nil
	case len(args) > 0 && args[0] == "--version":
		name, args = "version", nil
	}
	cmd, err := lookUp(name)
	if err == nil {
		err = cmd.run(ctx, args, stdout, stderr)
	}
	if errors.Is(err, pflag.ErrHelp) {
		err = help(ctx, []string{name}, stdout, stderr)
	}
	if err == nil {
		return exitOK
	}
	complain(stderr, name, err)
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailed
}

// complain prints an error. A node whose log nobody reads must still end, so
// it waits for stderr no longer than the log does.
func complain(stderr io.Writer, name string, err error) {
	w := newLogWriter(stderr, func() {}, func(io.Writer, int) {})
	defer w.Close()
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(w, "lockd %s: %s\n", name, strings.TrimSuffix(line, "\n"))
	}
	if errors.As(err, new(usageError)) {
		fmt.Fprintf(w, "\"lockd help\" shows what there is.\n")
	}
}

func lookUp(name string) (command, error) {
	var names []string
	for _, cmd := range commands() {
		if cmd.name == name {
			return cmd, nil
		}
		names = append(names, cmd.name)
	}
	return command{}, usageError{fmt.Errorf("unknown command%s", didYouMean(name, "", names))}
}
