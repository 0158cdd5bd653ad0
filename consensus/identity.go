package consensus

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"

	"lockd/consensus/storage"
	"lockd/consensus/transport"
)

// identity is who a node's data says it is.
type identity struct {
	Name    string `json:"name"`
	Node    NodeID `json:"node"`
	Store   string `json:"store"`             // random, made with the data directory
	Cluster string `json:"cluster,omitempty"` // "" until the cluster has made one
}

// IdentityError comes from Open when the data in the store is another node's.
type IdentityError struct {
	Stored, Given string
}

func (e *IdentityError) Error() string {
	return fmt.Sprintf("this data directory belongs to node %s, not to %s: start it under its own name, or give this node an empty directory", e.Stored, e.Given)
}

const identityKey = "identity"

// loadIdentity reads who the data is, or makes it so on a first start.
func loadIdentity(store storage.Store, name string, id NodeID) (identity, error) {
	raw, err := store.Get(identityKey)
	if err != nil {
		return identity{}, fmt.Errorf("identity: %w", err)
	}
	if raw == nil {
		me := identity{Name: name, Node: id, Store: rand.Text()}
		return me, me.save(store)
	}
	var me identity
	if err := json.Unmarshal(raw, &me); err != nil {
		return identity{}, fmt.Errorf("identity: %w: %w", storage.ErrCorrupt, err)
	}
	if me.Name != name || me.Node != id {
		return identity{}, &IdentityError{
			Stored: fmt.Sprintf("%q (raft id %d)", me.Name, me.Node), Given: fmt.Sprintf("%q (raft id %d)", name, id)}
	}
	return me, nil
}

func (me identity) save(store storage.Store) error {
	raw, err := json.Marshal(me)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if err := store.Set(identityKey, raw); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

// checkPeer tells whether a process may talk to this node. A raft id belongs
// for ever to the data directory with which it was first seen: one that comes
// back with other data has forgotten what it voted for and acknowledged, and
// must come back under a new id (F18).
func (n *Node) checkPeer(h transport.Hello) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.Cluster != "" && n.me.Cluster != "" && h.Cluster != n.me.Cluster {
		return fmt.Errorf("node %q is of cluster %s, node %q of cluster %s: give one of them the other's --cluster, or an empty data directory", h.Name, h.Cluster, n.me.Name, n.me.Cluster)
	}
	if h.Node == uint64(n.me.Node) {
		return fmt.Errorf("two nodes have raft id %d: %q and %q; check --name and --cluster", h.Node, h.Name, n.me.Name)
	}
	switch name, ok := n.cfg.Names[NodeID(h.Node)]; {
	case !ok:
		return fmt.Errorf("node %q (raft id %d) is no member of the cluster of %d whose data node %q has; the data of a node counts, not its --cluster. Give node %q an empty data directory if it is to be part of a new cluster", h.Name, h.Node, len(n.cfg.Names), n.me.Name, n.me.Name)
	case name != h.Name:
		return fmt.Errorf("raft id %d is that of node %q here, not of %q: all first nodes of a cluster need the same --cluster", h.Node, name, h.Name)
	}
	key := "peer/" + strconv.FormatUint(h.Node, 10)
	known, ok := n.peerStores[key]
	if !ok {
		raw, err := n.store.Get(key)
		if err != nil {
			return fmt.Errorf("peer %d: %w", h.Node, err)
		}
		if raw == nil {
			if err := n.store.Set(key, []byte(h.Store)); err != nil {
				return fmt.Errorf("peer %d: %w", h.Node, err)
			}
			raw = []byte(h.Store)
		}
		known = string(raw)
		n.peerStores[key] = known
	}
	if known != h.Store {
		return fmt.Errorf("node %q (raft id %d) was part of this cluster with another data directory; what it acknowledged then is not in this one. Start it with its old data, or remove it and let it join under a new name", h.Name, h.Node)
	}
	return nil
}
