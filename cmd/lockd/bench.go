package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"lockd/bench/load"
)

// defaultAddr is where a node listens if nothing else is said.
const defaultAddr = "127.0.0.1:8080"

// benchFlags are the flags of lockd bench.
type benchFlags struct {
	load.Config
	output string
}

func (b *benchFlags) flags() *pflag.FlagSet {
	f := newFlagSet("bench")
	f.StringSliceVar(&b.Addrs, addrFlag, addresses(os.Getenv(variable(addrFlag))), "REST `addresses` of the nodes, also LOCKD_ADDR")
	f.StringVar(&b.Workload, "workload", "pair", "`kind` of work: "+strings.Join(load.Workloads(), ", "))
	f.IntVar(&b.Clients, "clients", 16, "`number` of clients at work at once; 1 runs on the leader's node and on another")
	f.StringVar(&b.Client, "client", load.ClientKinds[0], "how requests are `sent`: lean (by hand, least CPU) or net/http (what a Go program usually pays)")
	f.DurationVar(&b.Duration, "duration", 10*time.Second, "`time` measured")
	f.DurationVar(&b.Warmup, "warmup", 2*time.Second, "`time` worked before")
	f.IntSliceVar(&b.ServerPIDs, "server-pids", nil, "`processes` on this machine to report CPU and written bytes of")
	f.StringVar(&b.output, "output", "table", "`format`: table or json")
	return f
}

// addresses splits a list as LOCKD_ADDR has it.
func addresses(list string) []string {
	return strings.Split(cmp.Or(list, defaultAddr), ",")
}

// benchmark measures a running cluster.
func benchmark(ctx context.Context, args []string, stdout, _ io.Writer) error {
	var b benchFlags
	if err := parseFlags(b.flags(), args); err != nil {
		return err
	}
	if b.output != "table" && b.output != "json" {
		return usageError{fmt.Errorf("output %q is neither table nor json", b.output)}
	}
	for i, addr := range b.Addrs {
		b.Addrs[i] = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(addr), "http://"), "/")
	}
	if err := b.Validate(); err != nil {
		return usageError{err}
	}
	reports, err := load.Run(ctx, b.Config)
	if err != nil {
		return err
	}
	if b.output == "json" {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(reports)
	}
	return load.WriteTable(stdout, reports)
}
