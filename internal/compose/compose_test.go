//go:build docker

// Package compose runs docker-compose.yml as it is, with images that are made
// on this machine: no registry is needed.
package compose

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lockd/internal/proc"
)

const project = "lockdtest"

// run runs a command in the repository's root and returns what it prints.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = "../.."
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out.String())
	}
	return strings.TrimSpace(out.String())
}

func TestComposeClusterSurvivesALeader(t *testing.T) {
	buildImages(t)
	run(t, "docker-compose", "-p", project, "up", "-d", "--no-build")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(run(t, "docker-compose", "-p", project, "logs", "--tail=40"))
		}
		run(t, "docker-compose", "-p", project, "down", "-v")
	})
	urls := []string{"http://127.0.0.1:8081", "http://127.0.0.1:8082", "http://127.0.0.1:8083"}
	for _, url := range urls {
		proc.Eventually(t, 60*time.Second, url+" is ready", func() bool { return proc.Get(url, "/readyz").Status == 200 })
	}
	proc.Eventually(t, 60*time.Second, "docker sees healthy nodes", func() bool {
		return strings.Count(run(t, "docker", "ps", "--filter", "health=healthy", "--format", "{{.Names}}"), project) == 3
	})

	const acquire = "/v1/namespaces/jobs/locks/deploy/acquire"
	got := proc.Post(urls[0], acquire, map[string]any{"ttl": "120s", "owner": "n1's client"}).Must(t, 200)
	awaitTargets(t, 3)

	leader := proc.Leader(urls[0], "jobs")
	container := run(t, "docker-compose", "-p", project, "ps", "-q", leader)
	run(t, "docker", "kill", container)
	alive := urls[1]
	if leader == "n2" {
		alive = urls[2]
	}
	proc.Eventually(t, 20*time.Second, "the lock is still held, as another node sees it", func() bool {
		a := proc.Get(alive, "/v1/namespaces/jobs/locks/deploy")
		return a.Status == 200 && a.Body["held"] == true && a.Number("last_token") == got.Number("token")
	})
	if a := proc.Post(alive, acquire, nil); a.Status != 409 {
		t.Errorf("a second acquire: %d %s, want 409 lock_held", a.Status, a.Code)
	}
	run(t, "docker", "start", container)
	awaitTargets(t, 3)
}

// buildImages makes the two images that the file names: lockd from a binary
// built here, with the last stage of the Dockerfile, and Prometheus from
// Debian's binary.
func buildImages(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "out", "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CGO_ENABLED", "0")
	run(t, "go", "build", "-trimpath", "-o", filepath.Join(dir, "out", "lockd"), "./cmd/lockd")
	dockerfile, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, last, found := strings.Cut(string(dockerfile), "\nFROM scratch\n")
	if !found {
		t.Fatal("the Dockerfile's last stage is not FROM scratch")
	}
	last = "FROM scratch\n" + strings.NewReplacer("--from=build ", "", "/out/", "out/").Replace(last)
	buildImage(t, dir, "lockd:latest", last)

	prom := t.TempDir()
	script := `set -e
mkdir -p "$1/root/etc/prometheus" "$1/root/prometheus" "$1/root/tmp"
for f in $(command -v prometheus) $(ldd "$(command -v prometheus)" | grep -o '/[^ ]*'); do
  cp -L --parents "$f" "$1/root"
done`
	run(t, "bash", "-c", script, "bash", prom)
	buildImage(t, prom, "prom/prometheus:latest", "FROM scratch\nCOPY root /\nENTRYPOINT [\"/usr/bin/prometheus\"]\n")
}

func buildImage(t *testing.T, dir, tag, dockerfile string) {
	t.Helper()
	file := filepath.Join(dir, "Dockerfile")
	if err := os.WriteFile(file, []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "docker", "build", "-q", "-t", tag, "-f", file, dir)
}

// awaitTargets waits until Prometheus scrapes so many nodes.
func awaitTargets(t *testing.T, want int) {
	t.Helper()
	var last string
	proc.Eventually(t, 60*time.Second, fmt.Sprintf("Prometheus sees %d targets up", want), func() bool {
		up, err := targetsUp()
		last = fmt.Sprint(up, err)
		return err == nil && up == want
	})
	t.Log("targets up:", last)
}

func targetsUp() (int, error) {
	res, err := http.Get("http://127.0.0.1:9090/api/v1/targets")
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var body struct {
		Data struct {
			ActiveTargets []struct {
				Health string `json:"health"`
			} `json:"activeTargets"`
		} `json:"data"`
	}
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		return 0, err
	}
	up := 0
	for _, target := range body.Data.ActiveTargets {
		if target.Health == "up" {
			up++
		}
	}
	return up, nil
}
