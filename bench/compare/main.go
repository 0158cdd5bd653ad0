// Command compare measures a cluster of lockd side by side with a server that
// does nothing (bench/noop), on this machine and over loopback, so that what it
// prints are ratios: they mean something on any machine.
//
//	go run ./bench/compare
//
// It builds both, starts them with data in a temporary directory, lets
// "lockd bench" drive one and then the other, round after round, and prints the
// median of the rounds. While one works the other is idle.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"lockd/bench/load"
)

// options are what the command line may change.
type options struct {
	nodes, rounds    int
	duration, warmup time.Duration
	client, only     string
	dir              string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.IntVar(&o.nodes, "nodes", 3, "`number` of nodes of the cluster")
	flag.IntVar(&o.rounds, "rounds", 3, "`number` of rounds; medians are printed")
	flag.DurationVar(&o.duration, "duration", 8*time.Second, "`time` measured each time")
	flag.DurationVar(&o.warmup, "warmup", 2*time.Second, "`time` worked before that")
	flag.StringVar(&o.client, "client", load.ClientKinds[0], "`kind` of client, as of lockd bench")
	flag.StringVar(&o.only, "only", "", "`list` of what to measure, such as pair/256,contend/16; default: all")
	flag.StringVar(&o.dir, "dir", "", "`directory` for binaries and data; default: a temporary one, removed at the end")
	flag.Parse()
	if err := compare(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func compare(ctx context.Context, o options) (err error) {
	todo, err := selected(o.only)
	if err != nil {
		return err
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "lockd-compare-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir)
	}
	if err := build(ctx, o.dir); err != nil {
		return err
	}
	noop, err := startNoop(ctx, o.dir)
	if err != nil {
		return err
	}
	defer noop.stop()
	cluster, err := startCluster(ctx, o.dir, o.nodes)
	if err != nil {
		return err
	}
	defer cluster.stop()

	results := make([]result, len(todo))
	for round := range o.rounds {
		for i, m := range todo {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s, %d clients\n", round+1, o.rounds, m.workload, m.clients)
			if err := results[i].measure(ctx, o, m, noop, cluster); err != nil {
				return fmt.Errorf("%s, %d clients: %w", m.workload, m.clients, err)
			}
		}
	}
	return writeResults(os.Stdout, todo, results)
}
