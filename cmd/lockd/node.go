package main

import (
	"errors"
	"net"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"

	"lockd/consensus"
	"lockd/consensus/storage"
	"lockd/metrics"
	"lockd/sharding"
)

// openNode opens the data directory and this node's part of the cluster on it.
// The node closes peers.
func openNode(c Config, rest net.Addr, peers net.Listener, logger zerolog.Logger, m *metrics.Metrics, fatal func(error)) (*sharding.Node, error) {
	store, err := storage.OpenPebble(storage.PebbleConfig{FS: vfs.Default, Dir: c.DataDir, Logger: logger, OnFatal: fatal})
	if err != nil {
		return nil, err
	}
	listen, peerListen := c.advertised(rest.String(), peers.Addr().String())
	node, err := sharding.Open(sharding.Config{
		Name: c.Name, Members: c.members(peerListen), Groups: c.Groups,
		Listener: peers, Listen: listen, PeerListen: peerListen, Version: thisBuild().version,
		Store: store, Heartbeat: c.Heartbeat, Election: c.Election, SnapshotBytes: uint64(c.SnapshotAfter),
		Applied: func(id consensus.GroupID) func(time.Duration) { return m.Consensus.Applied(uint64(id)) },
		Fatal:   fatal, Fsync: m.Consensus.Fsynced, Logger: logger,
	})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return node, nil
}

// members are the first nodes of the cluster: this one alone, at the address
// given, if the configuration names none.
func (c Config) members(peerListen string) []sharding.Member {
	if len(c.Cluster) == 0 {
		return []sharding.Member{{Name: c.Name, Peer: peerListen}}
	}
	var members []sharding.Member
	for _, name := range c.Cluster.Names() {
		members = append(members, sharding.Member{Name: name, Peer: c.Cluster[name]})
	}
	return members
}

// register adds what is read from the node and the process at scrape time.
func register(registry *prometheus.Registry, m *metrics.Metrics, c Config, node *sharding.Node) {
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	b := thisBuild()
	m.AddNode(metrics.Node{Name: c.Name, Version: b.version, Revision: b.revision, GoVersion: b.goVersion}, node.Epoch)
	m.AddGroups(node.Samples)
	m.AddPeers(node.Peers)
}
