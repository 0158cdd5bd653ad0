package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// build says what this binary was made from.
type build struct{ version, revision, goVersion string }

// thisBuild reads what the go command stamped into the binary. A binary built
// outside a repository has no revision.
func thisBuild() build {
	b := build{version: "devel", revision: "unknown", goVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.version = v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.revision = s.Value[:min(12, len(s.Value))]
		}
	}
	return b
}

func (b build) String() string {
	return fmt.Sprintf("lockd %s (revision %s, %s)", b.version, b.revision, b.goVersion)
}

func printVersion(_ context.Context, args []string, stdout, _ io.Writer) error {
	if err := parseFlags(newFlagSet("version"), args); err != nil {
		return err
	}
	_, err := fmt.Fprintln(stdout, thisBuild())
	return err
}
