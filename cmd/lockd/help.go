package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// help prints the commands, or one command's flags.
func help(_ context.Context, args []string, stdout, _ io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stdout, "lockd is a distributed lock service with a REST interface.\n\nUsage: lockd [command] [flags]\n\nCommands:\n")
		for _, cmd := range commands() {
			fmt.Fprintf(stdout, "  %-12s %s\n", cmd.name, cmd.summary)
		}
		fmt.Fprint(stdout, "\n\"lockd help serve\" shows the flags of a node, each also an environment variable\n(--data-dir is LOCKD_DATA_DIR) and a key of the file that --config names.\n")
		return nil
	}
	cmd, err := lookUp(args[0])
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "lockd %s: %s\n", cmd.name, cmd.summary)
	if flags := flagsOf(cmd.name); flags.HasFlags() {
		fmt.Fprintf(stdout, "\nFlags:\n%s", flags.FlagUsagesWrapped(100))
	}
	return nil
}

// flagsOf returns a command's flags, for help and completion.
func flagsOf(name string) *pflag.FlagSet {
	switch name {
	case "serve", "health":
		c := defaultConfig()
		return serveFlags(&c)
	case "bench":
		return new(benchFlags).flags()
	default:
		return newFlagSet(name)
	}
}
