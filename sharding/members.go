package sharding

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"lockd/consensus"
	"lockd/consensus/storage"
)

// Member is a node of the cluster as this node can reach it.
type Member struct {
	ID   consensus.NodeID `json:"id"` // raft id; 0: not given yet
	Name string           `json:"name"`
	Peer string           `json:"peer"` // address for other nodes
}

const membersKey = "members"

// loadMembers returns who is in the cluster: what this node has stored, or, on
// its first start, what it was given. Raft ids are then the places of the names
// in alphabetical order, the same on all first nodes.
func loadMembers(store storage.Store, given []Member) ([]Member, error) {
	raw, err := store.Get(membersKey)
	if err != nil {
		return nil, fmt.Errorf("members: %w", err)
	}
	var members []Member
	if raw != nil {
		if err := json.Unmarshal(raw, &members); err != nil {
			return nil, fmt.Errorf("members: %w: %w", storage.ErrCorrupt, err)
		}
		return members, foreign(members, given)
	}
	members = slices.Clone(given)
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	for i := range members {
		members[i].ID = consensus.NodeID(i + 1)
	}
	return members, saveMembers(store, members)
}

// foreign refuses to start a node with the data of a cluster that has none of
// the others it was told of: stored membership wins, but two clusters that both
// believe to have this node would grant the same locks.
func foreign(stored, given []Member) error {
	common := 0
	for _, g := range given {
		if slices.ContainsFunc(stored, func(s Member) bool { return s.Name == g.Name }) {
			common++
		}
	}
	if len(given) == 1 || common > 1 {
		return nil
	}
	return fmt.Errorf("the data is of a cluster of %s, and --cluster names %s: start the node as it was started first, or give it an empty data directory", names(stored), names(given))
}

func names(members []Member) string {
	var all []string
	for _, m := range members {
		all = append(all, m.Name)
	}
	return strings.Join(all, ", ")
}

// reached returns the members with the addresses that this node was given for
// them now, where it was: they may have moved while all were down.
func reached(members, given []Member) []Member {
	members = slices.Clone(members)
	for i := range members {
		for _, g := range given {
			if g.Name == members[i].Name {
				members[i].Peer = g.Peer
			}
		}
	}
	return members
}

func saveMembers(store storage.Store, members []Member) error {
	raw, err := json.Marshal(members)
	if err != nil {
		return fmt.Errorf("members: %w", err)
	}
	if err := store.Set(membersKey, raw); err != nil {
		return fmt.Errorf("members: %w", err)
	}
	return nil
}

// membersOf returns the members as the system group knows them.
func membersOf(t *Topology) []Member {
	var members []Member
	for _, n := range t.Nodes {
		members = append(members, Member{ID: consensus.NodeID(n.Id), Name: n.Name, Peer: n.PeerListen})
	}
	return members
}
