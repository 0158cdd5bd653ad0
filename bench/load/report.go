package load

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is the outcome of one measurement. Times are in milliseconds.
type Report struct {
	Workload string `json:"workload"`
	// Place is "all" nodes, the "leader"'s or an "other" one.
	Place   string  `json:"place"`
	Clients int     `json:"clients"`
	Seconds float64 `json:"seconds"`
	// Operations begins with the one that the workload is about.
	Operations []Operation `json:"operations"`
	// LeasesPerSecond is of the keepalive workloads.
	LeasesPerSecond float64        `json:"leases_per_second,omitempty"`
	Errors          map[string]int `json:"errors"`
	// LostExclusions counts grants that overlapped or had no growing token.
	LostExclusions int `json:"lost_exclusions"`
	// Served is how evenly a contended lock went around.
	Served *Served `json:"served,omitempty"`
	// ClientCPUSeconds is of this process, in which all clients run.
	ClientCPUSeconds float64  `json:"client_cpu_seconds"`
	Servers          []Server `json:"servers,omitempty"`
}

// Operation is how often something was done, and how long that took.
type Operation struct {
	Name      string  `json:"name"`
	Count     uint64  `json:"count"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P90       float64 `json:"p90_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p999_ms"`
	Max       float64 `json:"max_ms"`
}

// Served is how often the most and the least served client got the lock.
type Served struct {
	Most  uint64  `json:"most"`
	Least uint64  `json:"least"`
	Ratio float64 `json:"ratio"` // 0 if Least is
}

// Server is what a server process used meanwhile.
type Server struct {
	PID          int     `json:"pid"`
	CPUSeconds   float64 `json:"cpu_seconds"`
	WrittenBytes uint64  `json:"written_bytes"`
}

func newReport(c Config, place string, k kind, clients []*client) *Report {
	r := &Report{Workload: c.Workload, Place: place, Clients: c.Clients, Errors: map[string]int{}}
	sums := make([]histogram, len(k.operations))
	served := Served{Least: ^uint64(0)}
	for _, client := range clients {
		for i := range sums {
			sums[i].add(&client.times[i])
		}
		for code, n := range client.errors {
			r.Errors[code] += n
		}
		r.LostExclusions += client.lost
		served.Most = max(served.Most, client.times[0].total)
		served.Least = min(served.Least, client.times[0].total)
	}
	for i, name := range k.operations {
		r.Operations = append(r.Operations, newOperation(name, &sums[i]))
	}
	if k.shared {
		if served.Least > 0 {
			served.Ratio = float64(served.Most) / float64(served.Least)
		}
		r.Served = &served
	}
	r.LeasesPerSecond = float64(k.perStep) // made a rate by use
	return r
}

func newOperation(name string, h *histogram) Operation {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return Operation{
		Name: name, Count: h.total, Max: ms(h.max),
		P50: ms(h.quantile(.50)), P90: ms(h.quantile(.90)), P99: ms(h.quantile(.99)), P999: ms(h.quantile(.999)),
	}
}

// use fills in what follows from the usage before and after: time, rates and
// CPU.
func (r *Report) use(before, after usage) {
	r.Seconds = after.at.Sub(before.at).Seconds()
	for i := range r.Operations {
		r.Operations[i].PerSecond = float64(r.Operations[i].Count) / r.Seconds
	}
	r.LeasesPerSecond *= r.Operations[0].PerSecond
	r.ClientCPUSeconds = (after.own - before.own).Seconds()
	for i, s := range after.servers {
		r.Servers = append(r.Servers, Server{
			PID: s.pid, CPUSeconds: (s.cpu - before.servers[i].cpu).Seconds(), WrittenBytes: s.written - before.servers[i].written,
		})
	}
}

// Requests is how many requests were answered: one for each operation that is
// not made of others.
func (r *Report) Requests() uint64 {
	if len(r.Operations) == 1 {
		return r.Operations[0].Count
	}
	var n uint64
	for _, op := range r.Operations {
		if op.Name != "pair" {
			n += op.Count
		}
	}
	return n
}

// ServerCPUSeconds is of all server processes together.
func (r *Report) ServerCPUSeconds() (sum float64) {
	for _, s := range r.Servers {
		sum += s.CPUSeconds
	}
	return sum
}

// WriteTable writes reports for people.
func WriteTable(out io.Writer, reports []*Report) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "workload\tclients\tnodes\toperation\tops/s\tp50 ms\tp90 ms\tp99 ms\tp99.9 ms\tmax ms\t")
	for _, r := range reports {
		for _, op := range r.Operations {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%.0f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t\n",
				r.Workload, r.Clients, r.Place, op.Name, op.PerSecond, op.P50, op.P90, op.P99, op.P999, op.Max)
		}
	}
	w.Flush() // into b, which cannot fail
	for _, r := range reports {
		r.writeNotes(&b)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// writeNotes writes what has no place in the table.
func (r *Report) writeNotes(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s, %d clients, nodes: %s, %.1f s\n", r.Workload, r.Clients, r.Place, r.Seconds)
	if r.LeasesPerSecond > 0 {
		fmt.Fprintf(b, "  leases renewed: %.0f/s\n", r.LeasesPerSecond)
	}
	fmt.Fprintf(b, "  errors: %s\n", countsText(r.Errors))
	fmt.Fprintf(b, "  lost exclusions: %d\n", r.LostExclusions)
	if r.Served != nil {
		fmt.Fprintf(b, "  grants of the most and the least served client: %d and %d (ratio %.2f)\n", r.Served.Most, r.Served.Least, r.Served.Ratio)
	}
	fmt.Fprintf(b, "  CPU of the clients: %s\n", r.cpuText(r.ClientCPUSeconds))
	for _, s := range r.Servers {
		fmt.Fprintf(b, "  CPU of process %d: %s; written to disk: %d bytes\n", s.PID, r.cpuText(s.CPUSeconds), s.WrittenBytes)
	}
}

func (r *Report) cpuText(seconds float64) string {
	return fmt.Sprintf("%.2f s (%.0f %% of a core, %.1f us a request)", seconds, 100*seconds/r.Seconds, 1e6*seconds/float64(max(r.Requests(), 1)))
}

func countsText(counts map[string]int) string {
	if len(counts) == 0 {
		return "none"
	}
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", code, counts[code]))
	}
	return strings.Join(parts, ", ")
}
