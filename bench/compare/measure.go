package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"lockd/bench/load"
)

// measurement is one thing to compare.
type measurement struct {
	workload string
	clients  int
	alone    bool // the no-op server has no counterpart
}

func (m measurement) String() string { return m.workload + "/" + strconv.Itoa(m.clients) }

func measurements() []measurement {
	return []measurement{
		{"pair", 256, false},
		{"pair", 16, false},
		{"pair", 1, false},
		{"pair-oneshot", 256, false},
		{"keepalive", 256, false},
		{"keepalive-batch", 16, false},
		{"contend", 16, true},
	}
}

// selected returns the measurements of a list, all for an empty one.
func selected(list string) ([]measurement, error) {
	if list == "" {
		return measurements(), nil
	}
	var chosen []measurement
	for item := range strings.SplitSeq(list, ",") {
		workload, count, _ := strings.Cut(item, "/")
		clients, err := strconv.Atoi(count)
		if err != nil || !slices.Contains(load.Workloads(), workload) {
			return nil, fmt.Errorf("%q is not of the form pair/256", item)
		}
		chosen = append(chosen, measurement{workload, clients, workload == "contend"})
	}
	return chosen, nil
}

// result are the reports of all rounds of a measurement.
type result struct {
	noop   []*load.Report
	places [][]*load.Report // of the cluster, by place
}

// measure adds one round.
func (r *result) measure(ctx context.Context, o options, m measurement, noop, cluster *servers) error {
	if !m.alone {
		reports, err := bench(ctx, o, m, noop)
		if err != nil {
			return err
		}
		r.noop = append(r.noop, reports[0])
	}
	reports, err := bench(ctx, o, m, cluster)
	if err != nil {
		return err
	}
	if r.places == nil {
		r.places = make([][]*load.Report, len(reports))
	}
	if len(reports) != len(r.places) {
		return fmt.Errorf("%d places, %d in the round before", len(reports), len(r.places))
	}
	for i, report := range reports {
		r.places[i] = append(r.places[i], report)
	}
	return nil
}

// bench runs lockd bench in a process of its own, whose CPU is then the
// clients' alone.
func bench(ctx context.Context, o options, m measurement, s *servers) ([]*load.Report, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(o.dir, "lockd"), "bench", "--output", "json",
		"--addr", strings.Join(s.addrs, ","), "--workload", m.workload, "--clients", strconv.Itoa(m.clients),
		"--client", o.client, "--duration", o.duration.String(), "--warmup", o.warmup.String(), "--server-pids", s.pids())
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	var reports []*load.Report
	if err := json.Unmarshal(stdout.Bytes(), &reports); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return reports, nil
}

// figures are the medians over the rounds of one measurement at one place.
type figures struct {
	perSecond, leases, p50, p99 float64
	clientCPU, serverCPU        float64 // microseconds a request
	written                     uint64  // bytes a round, the most
	served                      float64 // most to least, the worst
	errors, lost                int     // over all rounds
}

func medians(reports []*load.Report) (f figures) {
	of := func(value func(*load.Report) float64) float64 {
		var values []float64
		for _, r := range reports {
			values = append(values, value(r))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	f.perSecond = of(func(r *load.Report) float64 { return r.Operations[0].PerSecond })
	f.leases = of(func(r *load.Report) float64 { return r.LeasesPerSecond })
	f.p50 = of(func(r *load.Report) float64 { return r.Operations[0].P50 })
	f.p99 = of(func(r *load.Report) float64 { return r.Operations[0].P99 })
	f.clientCPU = of(func(r *load.Report) float64 { return 1e6 * r.ClientCPUSeconds / float64(max(r.Requests(), 1)) })
	f.serverCPU = of(func(r *load.Report) float64 { return 1e6 * r.ServerCPUSeconds() / float64(max(r.Requests(), 1)) })
	for _, r := range reports {
		var written uint64
		for _, s := range r.Servers {
			written += s.WrittenBytes
		}
		f.written = max(f.written, written)
		if r.Served != nil {
			f.served = max(f.served, r.Served.Ratio)
		}
		for _, n := range r.Errors {
			f.errors += n
		}
		f.lost += r.LostExclusions
	}
	return f
}

func writeResults(out io.Writer, todo []measurement, results []result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "measurement\tserver\tops/s\tof no-op\tp50 ms\tp99 ms\tof no-op\tclient us/req\tserver us/req\twritten\terrors\tlost\t")
	for i, m := range todo {
		var ceiling figures
		if len(results[i].noop) > 0 {
			ceiling = medians(results[i].noop)
			writeRow(w, m, "no-op", ceiling, figures{})
		}
		for _, reports := range results[i].places {
			f := medians(reports)
			writeRow(w, m, "lockd ("+reports[0].Place+")", f, ceiling)
			if f.leases > 0 {
				fmt.Fprintf(w, "\t\t%.0f leases/s\t\t\t\t\t\t\t\t\t\t\n", f.leases)
			}
			if f.served > 0 {
				fmt.Fprintf(w, "\t\tmost/least %.2f\t\t\t\t\t\t\t\t\t\t\n", f.served)
			}
		}
	}
	return w.Flush()
}

func writeRow(w io.Writer, m measurement, server string, f, ceiling figures) {
	rate, tail := "", ""
	if ceiling.perSecond > 0 {
		rate = fmt.Sprintf("%.1f %%", 100*f.perSecond/ceiling.perSecond)
		tail = fmt.Sprintf("%.1f x", f.p99/ceiling.p99)
	}
	fmt.Fprintf(w, "%v\t%s\t%.0f\t%s\t%.3f\t%.3f\t%s\t%.1f\t%.1f\t%d\t%d\t%d\t\n",
		m, server, f.perSecond, rate, f.p50, f.p99, tail, f.clientCPU, f.serverCPU, f.written, f.errors, f.lost)
}
