package main

import (
	"bytes"
	"strings"
	"testing"

	"lockd/bench/load"
)

func report(perSecond, p99 float64) *load.Report {
	return &load.Report{
		Place: "all", Seconds: 1, ClientCPUSeconds: 0.02, Errors: map[string]int{"unavailable": 1},
		Operations: []load.Operation{
			{Name: "pair", Count: 500, PerSecond: perSecond, P50: 1, P99: p99},
			{Name: "acquire", Count: 500}, {Name: "release", Count: 500},
		},
		Servers: []load.Server{{CPUSeconds: .01, WrittenBytes: 100}, {CPUSeconds: .02, WrittenBytes: 200}},
	}
}

func TestMedians(t *testing.T) {
	f := medians([]*load.Report{report(100, 9), report(300, 1), report(200, 5)})
	want := figures{perSecond: 200, p50: 1, p99: 5, clientCPU: 20, serverCPU: 30, written: 300, errors: 3}
	if f != want {
		t.Errorf("got  %+v\nwant %+v", f, want)
	}
}

func TestResultsShowRatios(t *testing.T) {
	var out bytes.Buffer
	err := writeResults(&out, []measurement{{"pair", 256, false}}, []result{{
		noop:   []*load.Report{report(1000, 2)},
		places: [][]*load.Report{{report(450, 7)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"pair/256", "45.0 %", "3.5 x", "lockd (all)"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %q in\n%s", part, out.String())
		}
	}
}

func TestSelection(t *testing.T) {
	all, err := selected("")
	if err != nil || len(all) < 5 {
		t.Errorf("%v, %v", all, err)
	}
	some, err := selected("pair/3,contend/16")
	if err != nil || len(some) != 2 || some[0] != (measurement{"pair", 3, false}) || !some[1].alone {
		t.Errorf("%v, %v", some, err)
	}
	for _, list := range []string{"pair", "nothing/1", "pair/x"} {
		if _, err := selected(list); err == nil {
			t.Errorf("%q selects something", list)
		}
	}
}
