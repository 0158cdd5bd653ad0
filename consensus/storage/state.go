package storage

import (
	"cmp"
	"fmt"
	"slices"

	"go.etcd.io/etcd/raft/v3"
)

// newGroupState is the state of a group that nothing was written of.
func newGroupState(group uint64) GroupState {
	return GroupState{Group: group, First: 1, Last: 0}
}

// isEmpty tells whether a group has nothing on disk, so that it is none.
func (s GroupState) isEmpty() bool {
	return raft.IsEmptyHardState(s.HardState) && s.Snapshot.Index == 0 && s.First == 1 && s.Last == 0
}

// sortStates brings what is not empty of states into the order of group ids.
func sortStates(states []GroupState) []GroupState {
	states = slices.DeleteFunc(states, GroupState.isEmpty)
	slices.SortFunc(states, func(a, b GroupState) int { return cmp.Compare(a.Group, b.Group) })
	return states
}

// next returns the state after w, or what makes w impossible. The parts take
// effect in this order: an installed snapshot, entries, a snapshot of the own
// log, compaction, hard state. A refusal is a bug of the caller (or a group
// whose data were damaged) and never passes.
func (s GroupState) next(w *GroupWrite) (GroupState, error) {
	old := s
	if w.Install {
		if w.Snapshot == nil {
			return old, fmt.Errorf("group %d: install without a snapshot", s.Group)
		}
		if w.Snapshot.Index < s.Snapshot.Index || w.Snapshot.Index < s.HardState.Commit {
			return old, fmt.Errorf("group %d: installed snapshot at %d is older than snapshot %d or commit %d",
				s.Group, w.Snapshot.Index, s.Snapshot.Index, s.HardState.Commit)
		}
		s.Snapshot = *w.Snapshot
		s.First, s.Last, s.FirstTerm = w.Snapshot.Index+1, w.Snapshot.Index, w.Snapshot.Term
	}
	if len(w.Entries) > 0 {
		first := w.Entries[0].Index
		if first < s.First || first > s.Last+1 {
			return old, fmt.Errorf("group %d: append at %d to a log of [%d, %d]", s.Group, first, s.First, s.Last)
		}
		if first <= s.HardState.Commit {
			return old, fmt.Errorf("group %d: append at %d over entries committed up to %d", s.Group, first, s.HardState.Commit)
		}
		for i := range w.Entries {
			if w.Entries[i].Index != first+uint64(i) {
				return old, fmt.Errorf("group %d: entry %d follows entry %d", s.Group, w.Entries[i].Index, first+uint64(i)-1)
			}
		}
		s.Last = first + uint64(len(w.Entries)) - 1
	}
	if w.Snapshot != nil && !w.Install {
		if i := w.Snapshot.Index; i < s.Snapshot.Index || i < s.First-1 || i > s.Last {
			return old, fmt.Errorf("group %d: snapshot at %d of a log of [%d, %d] with a snapshot at %d",
				s.Group, i, s.First, s.Last, s.Snapshot.Index)
		}
		s.Snapshot = *w.Snapshot
	}
	if w.CompactTo >= s.First {
		if w.CompactTo > s.Snapshot.Index {
			return old, fmt.Errorf("group %d: compaction to %d with a snapshot at %d", s.Group, w.CompactTo, s.Snapshot.Index)
		}
		s.First, s.FirstTerm = w.CompactTo+1, w.CompactToTerm
	}
	if !raft.IsEmptyHardState(w.HardState) {
		s.HardState = w.HardState
	}
	if err := s.check(); err != nil {
		return old, err
	}
	return s, nil
}

// check verifies what holds between the parts of a state.
func (s GroupState) check() error {
	switch {
	case s.First == 0 || s.Last < s.First-1:
		return fmt.Errorf("group %d: log of [%d, %d]", s.Group, s.First, s.Last)
	case s.First-1 > s.Snapshot.Index:
		return fmt.Errorf("group %d: log begins at %d, its snapshot ends at %d", s.Group, s.First, s.Snapshot.Index)
	case s.Snapshot.Index > s.Last:
		return fmt.Errorf("group %d: snapshot at %d, log ends at %d", s.Group, s.Snapshot.Index, s.Last)
	case s.HardState.Commit > s.Last:
		return fmt.Errorf("group %d: committed up to %d, log ends at %d", s.Group, s.HardState.Commit, s.Last)
	}
	return nil
}

// bounds tells whether the entries of [lo, hi) are in the log.
func (s GroupState) bounds(lo, hi uint64) error {
	switch {
	case lo < s.First:
		return ErrCompacted
	case hi > s.Last+1:
		return ErrUnavailable
	}
	return nil
}

// mustSync tells whether a Write is synced whatever its caller says.
func mustSync(writes []GroupWrite) bool {
	return slices.ContainsFunc(writes, func(w GroupWrite) bool { return w.Snapshot != nil })
}
