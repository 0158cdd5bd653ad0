package sharding

import (
	"context"
	"slices"
	"time"

	"lockd/consensus"
)

// Leaders are spread evenly, but calmly: leadership moves only to a node that
// has been there for a while, and not soon after an election, so that a
// cluster in trouble is left alone.
const (
	spreadEvery = time.Second
	calm        = 5 * time.Second
)

// spreadLeaders gives the groups that this node leads, and that another node
// should, to that node, for as long as the node runs.
func (n *Node) spreadLeaders(ctx context.Context) {
	ticker := time.NewTicker(spreadEvery)
	defer ticker.Stop()
	leads := make(map[consensus.GroupID]time.Time) // since when
	there := make(map[consensus.NodeID]time.Time)  // since when
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.stopping:
			return
		case now := <-ticker.C:
			up := n.connected()
			for id, connected := range up {
				since(there, id, connected, now)
			}
			for _, g := range n.raft.Groups() {
				st := g.Status()
				since(leads, g.ID(), st.Leading, now)
				to := preferred(g.ID(), st.Voters)
				if settled(leads, g.ID(), now) && to != n.self && settled(there, to, now) {
					g.TransferLeader(to)
					delete(leads, g.ID())
				}
			}
		}
	}
}

// since keeps in times since when something is so.
func since[K comparable](times map[K]time.Time, k K, is bool, now time.Time) {
	if !is {
		delete(times, k)
	} else if _, ok := times[k]; !ok {
		times[k] = now
	}
}

func settled[K comparable](times map[K]time.Time, k K, now time.Time) bool {
	at, ok := times[k]
	return ok && now.Sub(at) >= calm
}

// preferred is the node that should lead a group: they take turns.
func preferred(id consensus.GroupID, voters []consensus.NodeID) consensus.NodeID {
	if len(voters) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(voters))
	return sorted[(uint64(id)+uint64(len(sorted))-1)%uint64(len(sorted))]
}
