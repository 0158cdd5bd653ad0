package main

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the configuration table into the README")

// The README's table is the one made from the flags.
func TestREADMEHasTheConfigurationTable(t *testing.T) {
	const path, begin, end = "../../README.md", "<!-- config -->\n", "<!-- /config -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	table, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("the README has no %q and %q", begin, end)
	}
	want := configTable()
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Errorf("the README's table is not current; run: go test ./cmd/lockd -run README -update\nwant:\n%s", want)
	}
}
