//go:build curl

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lockd/internal/proc"
)

// varying are the fields whose values the README cannot know.
var varying = []string{"lease", "lease_id", "token", "last_token", "index", "expires_in_ms", "waited_ms", "acquired_at", "title", "detail"}

// TestReadmeTour runs the commands of the README's console blocks in one shell
// and compares what they print: names and types of all fields, and the values
// that are determined.
func TestReadmeTour(t *testing.T) {
	c := proc.Start(t, proc.Options{Nodes: 1})
	raw, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := consoleSteps(strings.ReplaceAll(string(raw), "http://127.0.0.1:8080", c.Nodes[0].URL))
	if len(steps) < 12 {
		t.Fatalf("only %d commands found", len(steps))
	}
	const mark = "--next--"
	var script strings.Builder
	script.WriteString("set -e -o pipefail\n")
	for _, s := range steps {
		fmt.Fprintf(&script, "%s\necho; echo %s\n", s.command, mark)
	}
	cmd := exec.Command("bash", "-c", script.String())
	cmd.Dir = t.TempDir()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, errs.String(), out)
	}
	outputs := strings.Split(string(out), mark)
	for i, s := range steps {
		compareOutput(t, s, strings.TrimSpace(outputs[i]))
	}
}

type consoleStep struct{ command, output string }

func consoleSteps(readme string) (steps []consoleStep) {
	for _, block := range strings.Split(readme, "```console\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for line := range strings.Lines(block) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				steps = append(steps, consoleStep{command: strings.TrimSpace(command)})
			} else if len(steps) > 0 {
				steps[len(steps)-1].output += line
			}
		}
	}
	return steps
}

func compareOutput(t *testing.T, s consoleStep, got string) {
	t.Helper()
	want := strings.TrimSpace(s.output)
	if want == "" {
		if got != "" {
			t.Errorf("%s\nprints %q, the README shows nothing", s.command, got)
		}
		return
	}
	var w, g map[string]any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s\nthe README's output: %v", s.command, err)
	}
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("%s\nprints %q: %v", s.command, got, err)
	}
	if wk, gk := keys(w), keys(g); !slices.Equal(wk, gk) {
		t.Errorf("%s\nprints the fields %v, the README shows %v", s.command, gk, wk)
	}
	for k, wv := range w {
		gv := g[k]
		switch list, isList := wv.([]any); {
		case reflect.TypeOf(wv) != reflect.TypeOf(gv):
			t.Errorf("%s\n%s is %v, the README shows %v", s.command, k, gv, wv)
		case isList:
			if got := gv.([]any); len(got) != len(list) {
				t.Errorf("%s\n%s has %d elements, the README shows %d", s.command, k, len(got), len(list))
			}
		case !slices.Contains(varying, k) && !reflect.DeepEqual(wv, gv):
			t.Errorf("%s\n%s is %v, the README shows %v", s.command, k, gv, wv)
		}
	}
}

func keys(m map[string]any) []string {
	var ks []string
	for k := range m {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}
