package consensus

import (
	"slices"
	"time"
)

// orphanTimeout is how long a proposal of a lost leadership may wait for the
// log to tell its outcome.
const orphanTimeout = 1500 * time.Millisecond

// pending is a proposal that was appended and not yet applied.
type pending struct {
	index, term uint64
	deadline    time.Duration // of an orphan
	done        func(any, error)
}

// proposals follows what this replica appended until the log tells what became
// of it (R20): applied, or certainly not, because an entry of another term was
// committed at its index; unknown only when a snapshot jumped over the index,
// or an orphan's time ran out.
type proposals struct {
	current []pending // of the present leadership, by index
	orphans []pending // of lost ones
}

func (p *proposals) appended(index, term uint64, done func(any, error)) {
	p.current = append(p.current, pending{index: index, term: term, done: done})
}

// lost turns all that are open into orphans: the leadership is over.
func (p *proposals) lost(now time.Duration) {
	for _, o := range p.current {
		o.deadline = now + orphanTimeout
		p.orphans = append(p.orphans, o)
	}
	p.current = nil
}

// applied answers whoever waits for the entry at index: with the result if the
// entry is theirs, with notDone if another one took its place.
func (p *proposals) applied(index, term uint64, result any, notDone error) {
	if len(p.current) > 0 && p.current[0].index == index {
		p.current[0].done(result, nil)
		p.current[0] = pending{}
		p.current = p.current[1:]
	}
	if len(p.orphans) == 0 {
		return
	}
	p.orphans = slices.DeleteFunc(p.orphans, func(o pending) bool {
		switch {
		case o.index != index:
			return false
		case o.term == term:
			o.done(result, nil)
		default:
			o.done(nil, notDone)
		}
		return true
	})
}

// jumped gives up on proposals that a snapshot passed over.
func (p *proposals) jumped(index uint64) {
	p.giveUp(func(o pending) bool { return o.index <= index })
}

// expire gives up on orphans whose time is over.
func (p *proposals) expire(now time.Duration) {
	if len(p.orphans) > 0 {
		p.giveUp(func(o pending) bool { return o.deadline <= now })
	}
}

// stop gives up on everything.
func (p *proposals) stop() {
	p.lost(0)
	p.giveUp(func(pending) bool { return true })
}

func (p *proposals) giveUp(which func(pending) bool) {
	p.orphans = slices.DeleteFunc(p.orphans, func(o pending) bool {
		if !which(o) {
			return false
		}
		o.done(nil, ErrOutcomeUnknown)
		return true
	})
}
