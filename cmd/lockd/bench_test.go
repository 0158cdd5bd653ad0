package main

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"lockd/bench/load"
	"lockd/internal/noop"
)

func TestBench(t *testing.T) {
	server := httptest.NewServer(noop.New())
	defer server.Close()
	t.Setenv("LOCKD_ADDR", server.URL+", "+server.Listener.Addr().String())
	args := []string{"bench", "--clients=2", "--duration=20ms", "--warmup=0s"}

	status, stdout, stderr := lockd(t, append(args, "--workload=pair-oneshot")...)
	if status != exitOK || !strings.Contains(stdout, "acquire") || !strings.Contains(stdout, "lost exclusions: 0") {
		t.Errorf("status %d\n%s%s", status, stdout, stderr)
	}

	status, stdout, stderr = lockd(t, append(args, "--output=json")...)
	var reports []load.Report
	if err := json.Unmarshal([]byte(stdout), &reports); status != exitOK || err != nil {
		t.Fatalf("status %d, %v\n%s%s", status, err, stdout, stderr)
	}
	if len(reports) != 1 || reports[0].Operations[0].Name != "pair" || reports[0].Operations[0].Count == 0 {
		t.Errorf("%s", stdout)
	}
}
