//go:build promtool

package metrics

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/prometheus/common/expfmt"
)

// TestPromtool needs promtool (Debian package prometheus) in the path.
func TestPromtool(t *testing.T) {
	families, err := everything(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = &text
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
