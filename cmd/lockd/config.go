package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"
)

// Config is everything that can be set about a node. A field's flag, its
// environment variable and its key in the file are made from one name, in
// flags; loadConfig says which of them wins.
type Config struct {
	// Name is the node's name, unique in its cluster and part of its data:
	// data written under another name is refused.
	Name string
	// DataDir is where the node keeps everything. One process at a time.
	DataDir string
	// Listen is the REST address. Port 0 takes any free one.
	Listen string
	// PeerListen is the address for the other nodes.
	PeerListen string
	// AdvertiseListen is where clients and other nodes reach Listen, where
	// that differs; empty: see advertised.
	AdvertiseListen string
	// AdvertisePeer is where other nodes reach PeerListen, where that differs;
	// empty: see advertised.
	AdvertisePeer string
	// Cluster names the first nodes of a new cluster, this one among them.
	// Empty: a cluster of one. Once the node has data, that wins.
	Cluster Peers
	// Groups is how many data groups a new cluster starts with.
	Groups int
	// Heartbeat is how often a leader shows that it lives.
	Heartbeat time.Duration
	// Election is the shortest time without a heartbeat after which a follower
	// stands for election; the longest is twice that. It is counted in
	// heartbeats, so it must be a multiple of them.
	Election time.Duration
	// SnapshotAfter is how large a group's log may grow, in bytes, before it
	// is replaced by a snapshot.
	SnapshotAfter ByteSize
	// AllowedHosts are Host values, besides loopback ones, that a REST
	// listener on a loopback address answers.
	AllowedHosts []string
	// LogLevel is the least level that is logged.
	LogLevel string
	// LogFormat is "json", "console", or "auto": console on a terminal.
	LogFormat string
}

// defaultConfig is one node on loopback.
func defaultConfig() Config {
	return Config{
		Name:          "n1",
		DataDir:       "./lockd-data",
		Listen:        "127.0.0.1:8080",
		PeerListen:    "127.0.0.1:7080",
		Groups:        4,
		Heartbeat:     100 * time.Millisecond,
		Election:      500 * time.Millisecond,
		SnapshotAfter: 64 << 20,
		LogLevel:      "info",
		LogFormat:     "auto",
	}
}

// flags binds each field to its name and its line in the help and the README.
// What c holds now are the defaults.
func (c *Config) flags() *pflag.FlagSet {
	f := newFlagSet("serve")
	f.StringVar(&c.Name, "name", c.Name, "this node's `name`, unique in the cluster")
	f.StringVar(&c.DataDir, "data-dir", c.DataDir, "`directory` of this node's data")
	f.StringVar(&c.Listen, "listen", c.Listen, "REST `address`")
	f.StringVar(&c.PeerListen, "peer-listen", c.PeerListen, "`address` for the other nodes")
	f.StringVar(&c.AdvertiseListen, "advertise-listen", c.AdvertiseListen, "REST `address` as seen from outside; default: the host of the peer address if --listen is for all hosts, else --listen")
	f.StringVar(&c.AdvertisePeer, "advertise-peer", c.AdvertisePeer, "peer `address` as seen by the other nodes; default: this node's in --cluster, else --peer-listen")
	f.Var(&c.Cluster, "cluster", "the first `nodes` of a new cluster and their peer addresses, n1=host:port,n2=…; default: this node alone; stored membership wins")
	f.IntVar(&c.Groups, "groups", c.Groups, "`number` of data groups of a new cluster")
	f.DurationVar(&c.Heartbeat, "heartbeat", c.Heartbeat, "`time` between two heartbeats of a leader")
	f.DurationVar(&c.Election, "election", c.Election, "shortest `time` without a leader before an election, a multiple of the heartbeat; the longest is twice that")
	f.Var(&c.SnapshotAfter, "snapshot-after", "`size` of a group's log (bytes, KiB, MiB, GiB) after which a snapshot replaces it")
	f.StringSliceVar(&c.AllowedHosts, "allowed-hosts", c.AllowedHosts, "`hosts` that a loopback --listen answers to, besides loopback names")
	f.StringVar(&c.LogLevel, "log-level", c.LogLevel, "least `level` logged: debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", c.LogFormat, "`format` of logs: json, console, or auto (console on a terminal)")
	return f
}

var (
	namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	logLevels   = []string{"debug", "info", "warn", "error"}
	logFormats  = []string{"auto", "json", "console"}
)

// Bounds of what Validate lets pass.
const (
	maxGroups        = 1024
	minHeartbeat     = 10 * time.Millisecond
	maxElection      = time.Minute
	heartbeatsMissed = 4 // a leader may miss so many and one more before an election
	minSnapshotAfter = 1 << 20
)

// Validate reports every problem of c at once, each with the name to change.
func (c Config) Validate() error {
	var problems []error
	report := func(setting, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: %s", setting, fmt.Sprintf(format, args...)))
	}
	address := func(setting, value string, anyPort, anyHost bool) {
		if err := checkAddress(value, anyPort, anyHost); err != nil {
			report(setting, "%v", err)
		}
	}

	if !namePattern.MatchString(c.Name) {
		report("name", "%q is not a name: 1 to 63 of A-Z a-z 0-9 . _ -, beginning with a letter or digit", c.Name)
	}
	if c.DataDir == "" {
		report("data-dir", "must name a directory")
	}
	address("listen", c.Listen, true, true)
	address("peer-listen", c.PeerListen, true, true)
	if c.AdvertiseListen != "" {
		address("advertise-listen", c.AdvertiseListen, false, false)
	}
	if c.AdvertisePeer != "" {
		address("advertise-peer", c.AdvertisePeer, false, false)
	}
	for _, problem := range c.clusterProblems() {
		report("cluster", "%s", problem)
	}
	if c.Groups < 1 || c.Groups > maxGroups {
		report("groups", "%d is not from 1 to %d", c.Groups, maxGroups)
	}
	if c.Heartbeat < minHeartbeat {
		report("heartbeat", "%v is under %v", c.Heartbeat, minHeartbeat)
	}
	if c.Election > maxElection {
		report("election", "%v is over %v", c.Election, maxElection)
	}
	if least := (heartbeatsMissed + 1) * c.Heartbeat; c.Election < least {
		report("election", "%v is under %d heartbeats (%v): a short delay would depose a healthy leader", c.Election, heartbeatsMissed+1, least)
	} else if c.Heartbeat > 0 && c.Election%c.Heartbeat != 0 {
		report("election", "%v is not a multiple of the heartbeat, %v", c.Election, c.Heartbeat)
	}
	if c.SnapshotAfter < minSnapshotAfter {
		report("snapshot-after", "%v is under %v", c.SnapshotAfter, ByteSize(minSnapshotAfter))
	}
	for _, host := range c.AllowedHosts {
		if host == "" || strings.ContainsAny(host, ":/ ") {
			report("allowed-hosts", "%q is not a host name; write it without scheme and port", host)
		}
	}
	if !slices.Contains(logLevels, c.LogLevel) {
		report("log-level", "%q is none of %s", c.LogLevel, strings.Join(logLevels, ", "))
	}
	if !slices.Contains(logFormats, c.LogFormat) {
		report("log-format", "%q is none of %s", c.LogFormat, strings.Join(logFormats, ", "))
	}
	return errors.Join(problems...)
}

func (c Config) clusterProblems() (problems []string) {
	if len(c.Cluster) == 0 {
		return nil
	}
	nodeAt := map[string]string{}
	for _, name := range c.Cluster.Names() {
		addr := c.Cluster[name]
		if !namePattern.MatchString(name) {
			problems = append(problems, fmt.Sprintf("%q is not a name", name))
		}
		if err := checkAddress(addr, false, false); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", name, err))
		}
		if other, taken := nodeAt[addr]; taken {
			problems = append(problems, fmt.Sprintf("%s and %s have the same address %s", other, name, addr))
		}
		nodeAt[addr] = name
	}
	own, listed := c.Cluster[c.Name]
	if !listed {
		return append(problems, fmt.Sprintf("this node, %s, is not among %s", c.Name, strings.Join(c.Cluster.Names(), ", ")))
	}
	// The usual slip of a cluster on one machine: --peer-listen forgotten.
	if c.AdvertisePeer == "" && port(own) != port(c.PeerListen) {
		problems = append(problems, fmt.Sprintf("the others would look for %s at %s, but peer-listen is %s; set peer-listen, or advertise-peer if that is meant",
			c.Name, own, c.PeerListen))
	}
	return problems
}

// advertised returns the addresses under which others reach this node, given
// those that it listens on.
func (c Config) advertised(listen, peerListen string) (rest, peer string) {
	peer = cmp.Or(c.AdvertisePeer, c.Cluster[c.Name], peerListen)
	rest = cmp.Or(c.AdvertiseListen, listen)
	if host, port, err := net.SplitHostPort(rest); err == nil && isWildcard(host) {
		peerHost, _, _ := net.SplitHostPort(peer)
		rest = net.JoinHostPort(peerHost, port)
	}
	return rest, peer
}

// level is LogLevel as zerolog has it. Validate has seen it.
func (c Config) level() zerolog.Level {
	level, err := zerolog.ParseLevel(c.LogLevel)
	if err != nil {
		return zerolog.InfoLevel
	}
	return level
}
