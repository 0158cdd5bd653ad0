package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// lockd runs a command line and returns what it prints.
func lockd(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestCommandLine(t *testing.T) {
	for name, tt := range map[string]struct {
		args           []string
		status         int
		stdout, stderr string // a part of it
	}{
		"help":               {[]string{"help"}, exitOK, "completion", ""},
		"--help":             {[]string{"--help"}, exitOK, "Commands:", ""},
		"help serve":         {[]string{"help", "serve"}, exitOK, "--data-dir directory", ""},
		"serve --help":       {[]string{"serve", "--help"}, exitOK, "--peer-listen address", ""},
		"bench --help":       {[]string{"bench", "--help"}, exitOK, "keepalive-batch", ""},
		"help of nothing":    {[]string{"help", "serv"}, exitUsage, "", "serve"},
		"version":            {[]string{"version"}, exitOK, "lockd ", ""},
		"--version":          {[]string{"--version"}, exitOK, "go1.", ""},
		"version of what":    {[]string{"version", "--long"}, exitUsage, "", "unknown flag --long"},
		"unknown command":    {[]string{"sevre"}, exitUsage, "", "lockd sevre: unknown command; the nearest known is serve"},
		"unknown flag":       {[]string{"--nme", "x"}, exitUsage, "", "lockd serve: unknown flag --nme; the nearest known is --name"},
		"every problem":      {[]string{"serve", "--groups=0", "--log-level=x"}, exitUsage, "", "lockd serve: log-level:"},
		"bench of nothing":   {[]string{"bench", "--workload=x", "--clients=0"}, exitUsage, "", "0 clients"},
		"bench as what":      {[]string{"bench", "--output=xml"}, exitUsage, "", `"xml" is neither`},
		"completion of what": {[]string{"completion", "cmd"}, exitUsage, "", "bash, zsh or fish"},
		"completion":         {[]string{"completion", "bash"}, exitOK, "--data-dir", ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := lockd(t, tt.args...)
			if status != tt.status || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("status %d\nstdout: %s\nstderr: %s", status, stdout, stderr)
			}
			if (status == exitOK) != (stderr == "") {
				t.Errorf("status %d with stderr %q", status, stderr)
			}
		})
	}
}

func TestCompletionScriptsAreAccepted(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				missing(t, shell)
			}
			_, script, _ := lockd(t, "completion", shell)
			check := exec.Command(path, "-n")
			check.Stdin = strings.NewReader(script)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		missing(t, "bash")
	}
	_, script, _ := lockd(t, "completion", "bash")
	for words, want := range map[string]string{
		"lockd ver":             "version",
		"lockd serve --data":    "--data-dir",
		"lockd bench --workl":   "--workload",
		"lockd --peer-l":        "--peer-listen",
		"lockd serve --data --": "--name",
	} {
		ask := exec.Command(bash, "-c", script+`
COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _lockd; printf '%s\n' "${COMPREPLY[@]}"`, "bash", words)
		out, err := ask.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want+"\n") {
			t.Errorf("%s: %v, %s", words, err, out)
		}
	}
}

func TestHealth(t *testing.T) {
	ready := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(ready)
		w.Write([]byte("group 2 has no leader"))
	}))
	defer server.Close()
	addr := server.Listener.Addr().String()
	if status, stdout, stderr := lockd(t, "health", "--listen", addr); status != exitOK || stdout != "ready\n" {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	// As a container has it: by environment, and listening on every address.
	t.Setenv("LOCKD_LISTEN", "0.0.0.0:"+port(addr))
	if status, _, stderr := lockd(t, "health"); status != exitOK {
		t.Errorf("status %d, %q", status, stderr)
	}
	ready = http.StatusServiceUnavailable
	if status, _, stderr := lockd(t, "health"); status != exitFailed || !strings.Contains(stderr, "group 2 has no leader") {
		t.Errorf("status %d, %q", status, stderr)
	}
	server.Close()
	if status, _, _ := lockd(t, "health"); status != exitFailed {
		t.Errorf("status %d of no server", status)
	}
}

func TestHealthIsBoundByItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if status := run(ctx, []string{"health"}, &out, &out); status != exitFailed {
		t.Errorf("status %d", status)
	}
}

// missing skips a test whose tool is not there, but not where CI has installed
// all of them.
func missing(t *testing.T, tool string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(tool, "is not installed")
	}
	t.Skip(tool, "is not installed")
}
