package lease

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"lockd/lease/leasepb"
)

func TestNewRanges(t *testing.T) {
	for _, test := range []struct {
		name       string
		from, want []Range
	}{
		{name: "none"},
		{name: "one hash", from: []Range{{7, 7}}, want: []Range{{7, 7}}},
		{name: "sorted", from: []Range{{20, 30}, {1, 5}}, want: []Range{{1, 5}, {20, 30}}},
		{name: "touching are joined", from: []Range{{1, 5}, {6, 9}}, want: []Range{{1, 9}}},
		{name: "one hash between", from: []Range{{1, 5}, {7, 9}}, want: []Range{{1, 5}, {7, 9}}},
		{name: "overlapping are joined", from: []Range{{1, 5}, {3, 9}, {4, 6}}, want: []Range{{1, 9}}},
		{name: "one inside the other", from: []Range{{1, 9}, {3, 4}}, want: []Range{{1, 9}}},
		{name: "all twice", from: []Range{{0, math.MaxUint64}, {0, math.MaxUint64}}, want: []Range{{0, math.MaxUint64}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var from []*leasepb.Range
			for _, r := range test.from {
				from = append(from, &leasepb.Range{First: r.First, Last: r.Last})
			}
			if got := newRanges(from); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestRangesContain(t *testing.T) {
	rs := ranges{{0, 0}, {10, 20}, {30, 30}, {math.MaxUint64, math.MaxUint64}}
	for hash, want := range map[uint64]bool{
		0: true, 1: false, 9: false, 10: true, 15: true, 20: true, 21: false, 30: true, 31: false,
		math.MaxUint64 - 1: false, math.MaxUint64: true,
	} {
		if got := rs.contain(hash); got != want {
			t.Errorf("contain(%d) = %v", hash, got)
		}
	}
	if (ranges)(nil).contain(0) {
		t.Error("nothing contains something")
	}
}

// TestOwnOnce: a late repeat of the first entry must not undo what happened
// since (R1).
func TestOwnOnce(t *testing.T) {
	s := New()
	s.Apply(1, 1, ownAll())
	s.Apply(2, 1, &leasepb.Command{Op: &leasepb.Command_Own{Own: &leasepb.Own{
		Ranges: []*leasepb.Range{{First: 1, Last: 2}},
	}}})
	if want := []Range{{0, math.MaxUint64}}; !slices.Equal(s.Ranges(), want) {
		t.Errorf("owns %v", s.Ranges())
	}
}

// TestR1LeaderCommands: a leader's commands that name many things pass over
// what the group does not own any more, whatever it still has of it.
func TestR1LeaderCommands(t *testing.T) {
	s := furnished(t)
	var commands []*leasepb.Command
	s.Timers(func(c TimerChange) bool {
		commands = append(commands, ending(c.ID))
		return true
	})
	s.ranges = ranges{{1, 1}}
	before := encode(t, s.Snapshot())
	for _, cmd := range commands {
		o := s.Apply(1000, 1, cmd)
		if len(o.Events)+len(o.Timers)+len(o.Answers) > 0 || !bytes.Equal(encode(t, s.Snapshot()), before) {
			t.Errorf("%v: changed something", cmd)
		}
	}
}
