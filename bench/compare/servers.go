package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// startTimeout bounds how long a cluster may take to be ready.
	startTimeout = 30 * time.Second
	// stopTimeout is what SIGTERM may take, by the contract.
	stopTimeout = 10 * time.Second
	pollEvery   = 50 * time.Millisecond
)

// servers are processes that serve one API together.
type servers struct {
	addrs     []string
	processes []*exec.Cmd
}

func build(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator), "lockd/cmd/lockd", "lockd/bench/noop")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	return nil
}

// startNoop starts the server that does nothing. It prints its address.
func startNoop(ctx context.Context, dir string) (*servers, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "noop"), "-listen", "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &servers{processes: []*exec.Cmd{cmd}}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("address of the no-op server: %w", err)
	}
	s.addrs = []string{strings.TrimSpace(line)}
	return s, nil
}

// startCluster starts nodes with new data and waits until all are ready. Their
// logs are in dir.
func startCluster(ctx context.Context, dir string, nodes int) (*servers, error) {
	peers, err := freeAddrs(nodes)
	if err != nil {
		return nil, err
	}
	s := &servers{}
	if s.addrs, err = freeAddrs(nodes); err != nil {
		return nil, err
	}
	var members []string
	for i, addr := range peers {
		members = append(members, nodeName(i)+"="+addr)
	}
	for i := range nodes {
		if err := s.startNode(ctx, dir, i, peers[i], strings.Join(members, ",")); err != nil {
			s.stop()
			return nil, err
		}
	}
	if err := s.waitReady(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func nodeName(i int) string { return "n" + strconv.Itoa(i+1) }

func (s *servers) startNode(ctx context.Context, dir string, i int, peer, cluster string) error {
	name := nodeName(i)
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	data, err := os.MkdirTemp(dir, name+"-data-")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "lockd"), "serve", "--name", name, "--data-dir", data,
		"--listen", s.addrs[i], "--peer-listen", peer, "--cluster", cluster)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.processes = append(s.processes, cmd)
	return nil
}

// freeAddrs returns loopback addresses that nobody listens on. They were free
// a moment ago; a cluster whose port was taken meanwhile does not get ready.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // after all are chosen, so that they differ
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

func (s *servers) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for _, addr := range s.addrs {
		for !ready(ctx, addr) {
			select {
			case <-poll.C:
			case <-ctx.Done():
				return fmt.Errorf("%s is not ready: %w", addr, ctx.Err())
			}
		}
	}
	return nil
}

func ready(ctx context.Context, addr string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (s *servers) pids() string {
	var pids []string
	for _, p := range s.processes {
		pids = append(pids, strconv.Itoa(p.Process.Pid))
	}
	return strings.Join(pids, ",")
}

// stop ends the processes, those that do not heed SIGTERM by force.
func (s *servers) stop() {
	for _, p := range s.processes {
		// An error means that the process has ended, which Wait finds too.
		_ = p.Process.Signal(syscall.SIGTERM)
	}
	for _, p := range s.processes {
		kill := time.AfterFunc(stopTimeout, func() { _ = p.Process.Kill() })
		_ = p.Wait()
		kill.Stop()
	}
}
