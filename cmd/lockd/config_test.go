package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// writeFile returns the path of a configuration file.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lockd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNothingSetIsTheDefault(t *testing.T) {
	c, err := loadConfig(nil, []string{"PATH=/bin"})
	if err != nil {
		t.Fatal(err)
	}
	if want := defaultConfig(); !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v\nwant %+v", c, want)
	}
}

func TestFlagWinsOverEnvironmentOverFileOverDefault(t *testing.T) {
	file := writeFile(t, "name: from-file\ngroups: 9\n")
	for name, tt := range map[string]struct {
		args, environ []string
		wantName      string
		wantGroups    int
	}{
		"default":           {nil, nil, "n1", 4},
		"file":              {[]string{"--config", file}, nil, "from-file", 9},
		"file by variable":  {nil, []string{"LOCKD_CONFIG=" + file}, "from-file", 9},
		"environment":       {[]string{"--config", file}, []string{"LOCKD_NAME=from-env"}, "from-env", 9},
		"flag":              {[]string{"--config", file, "--name=from-flag"}, []string{"LOCKD_NAME=from-env"}, "from-flag", 9},
		"flag as default":   {[]string{"--config", file, "--groups=4"}, nil, "from-file", 4},
		"empty environment": {[]string{"--config", file}, []string{"LOCKD_NAME="}, "from-file", 9},
		"clients' variable": {nil, []string{"LOCKD_ADDR=elsewhere:8080"}, "n1", 4},
		"set by Kubernetes": {nil, []string{"LOCKD_SERVICE_HOST=10.0.0.1", "LOCKD_PORT_8080_TCP_ADDR=10.0.0.1", "LOCKD_PEERS_PORT=tcp://10.0.0.1:7080", "LOCKD_SERVICE_PORT_HTTP=8080"}, "n1", 4},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := loadConfig(tt.args, tt.environ)
			if err != nil {
				t.Fatal(err)
			}
			if c.Name != tt.wantName || c.Groups != tt.wantGroups {
				t.Errorf("name %s, groups %d", c.Name, c.Groups)
			}
		})
	}
}

// Each kind of value must be readable from each place, and lists must be
// replaced, not extended, by the place that wins.
func TestEverySettingCanComeFromEveryPlace(t *testing.T) {
	values := map[string]string{
		"name": "n2", "data-dir": "/d", "listen": "0.0.0.0:1", "peer-listen": "0.0.0.0:2",
		"advertise-listen": "h:3", "advertise-peer": "h:4", "cluster": "n1=a:1,n2=b:2", "groups": "7",
		"heartbeat": "20ms", "election": "2s", "snapshot-after": "3MiB", "allowed-hosts": "a.example,b.example",
		"log-level": "debug", "log-format": "json",
	}
	want := Config{
		Name: "n2", DataDir: "/d", Listen: "0.0.0.0:1", PeerListen: "0.0.0.0:2",
		AdvertiseListen: "h:3", AdvertisePeer: "h:4", Cluster: Peers{"n1": "a:1", "n2": "b:2"}, Groups: 7,
		Heartbeat: 20 * time.Millisecond, Election: 2 * time.Second, SnapshotAfter: 3 << 20,
		AllowedHosts: []string{"a.example", "b.example"}, LogLevel: "debug", LogFormat: "json",
	}
	var args, environ []string
	var file strings.Builder
	new(Config).flags().VisitAll(func(f *pflag.Flag) {
		value, listed := values[f.Name]
		if !listed {
			t.Errorf("this test does not set %s", f.Name)
		}
		args = append(args, "--"+f.Name, value)
		environ = append(environ, variable(f.Name)+"="+value)
		file.WriteString(f.Name + ": " + value + "\n")
	})
	path := writeFile(t, file.String())
	others := writeFile(t, "allowed-hosts: [c.example, d.example]\ncluster: {n1: x:1, n2: b:2}\nadvertise-peer: y:1\n")
	for name, tt := range map[string]struct{ args, environ []string }{
		"flags":                     {args, nil},
		"environment":               {nil, environ},
		"file":                      {[]string{"--config", path}, nil},
		"flags over a file":         {append([]string{"--config", others}, args...), nil},
		"environment over a file":   {[]string{"--config", others}, environ},
		"flags over an environment": {args, []string{"LOCKD_ALLOWED_HOSTS=c.example", "LOCKD_CLUSTER=n2=z:9"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := loadConfig(tt.args, tt.environ)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(c, want) {
				t.Errorf("got  %+v\nwant %+v", c, want)
			}
		})
	}
}

func TestFileMayHoldListsAndMappings(t *testing.T) {
	path := writeFile(t, "cluster:\n  n1: 127.0.0.1:7080\n  n2: b:7080\nallowed-hosts:\n  - a.example\n  - b.example\n")
	c, err := loadConfig([]string{"--config", path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Cluster.String(); got != "n1=127.0.0.1:7080,n2=b:7080" {
		t.Errorf("cluster %s", got)
	}
	if len(c.AllowedHosts) != 2 || c.AllowedHosts[1] != "b.example" {
		t.Errorf("allowed hosts %q", c.AllowedHosts)
	}
}

func TestUnknownNamesAreErrorsThatNameTheNearest(t *testing.T) {
	for name, tt := range map[string]struct {
		args, environ []string
		file          string
		want          []string
	}{
		"flag":               {args: []string{"--data-dri", "x"}, want: []string{"unknown flag --data-dri", "--data-dir"}},
		"flag as in a file":  {args: []string{"--data_dir", "x"}, want: []string{"--data-dir"}},
		"join, a later flag": {args: []string{"--join", "x"}, want: []string{"unknown flag --join"}},
		"variable":           {environ: []string{"LOCKD_DATADIR=x"}, want: []string{"LOCKD_DATADIR", "LOCKD_DATA_DIR"}},
		"empty variable":     {environ: []string{"LOCKD_NAMEN="}, want: []string{"LOCKD_NAMEN", "LOCKD_NAME"}},
		"key":                {file: "name: n1\nelecton: 1s\n", want: []string{"line 2", "electon", "election"}},
		"key config":         {file: "config: other.yaml\n", want: []string{"unknown key config"}},
		"two at once":        {environ: []string{"LOCKD_X=1", "LOCKD_Y=2"}, want: []string{"LOCKD_X", "LOCKD_Y"}},
		"argument":           {args: []string{"now"}, want: []string{`"now" is not a flag`}},
		"key twice":          {file: "name: a\nname: b\n", want: []string{"name"}},
		"no such file":       {args: []string{"--config", "/does/not/exist"}, want: []string{"/does/not/exist"}},
		"bad flag":           {args: []string{"--heartbeat", "fast"}, want: []string{"fast", "--heartbeat"}},
		"bad variable":       {environ: []string{"LOCKD_GROUPS=many"}, want: []string{"LOCKD_GROUPS", "many"}},
		"bad key":            {file: "groups: many\n", want: []string{"lockd.yaml", "groups", "many"}},
		"nothing as a value": {file: "groups:\n", want: []string{"groups"}},
		"bad size":           {args: []string{"--snapshot-after", "64 MB"}, want: []string{"64 MB", "64MiB"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := tt.args
			if tt.file != "" {
				args = append(args, "--config", writeFile(t, tt.file))
			}
			_, err := loadConfig(args, tt.environ)
			if !errors.As(err, new(usageError)) {
				t.Fatalf("err = %v", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not mention %q", err, part)
				}
			}
		})
	}
}

func TestValidateReportsEveryProblem(t *testing.T) {
	c := Config{
		Name: "-", Listen: "8080", PeerListen: "h:x", AdvertiseListen: "0.0.0.0:80", AdvertisePeer: "h:0",
		Cluster: Peers{"n1": "h:1"}, Groups: 0, Heartbeat: time.Millisecond, Election: time.Hour,
		SnapshotAfter: 1, AllowedHosts: []string{"http://x"}, LogLevel: "loud", LogFormat: "xml",
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	new(Config).flags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains("\n"+err.Error(), "\n"+f.Name+": ") {
			t.Errorf("nothing about %s in:\n%v", f.Name, err)
		}
	})
}

func TestValidate(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string // "" is valid
	}{
		"default":                    {func(*Config) {}, ""},
		"any port":                   {func(c *Config) { c.Listen, c.PeerListen = "127.0.0.1:0", "[::1]:0" }, ""},
		"election of five beats":     {func(c *Config) { c.Heartbeat, c.Election = 200*time.Millisecond, time.Second }, ""},
		"election under five beats":  {func(c *Config) { c.Heartbeat = 101 * time.Millisecond }, "election: 500ms is under 5 heartbeats (505ms)"},
		"election of 7.1 beats":      {func(c *Config) { c.Heartbeat = 70 * time.Millisecond }, "election: 500ms is not a multiple"},
		"cluster with this node":     {func(c *Config) { c.Cluster = Peers{"n1": "127.0.0.1:7080", "n2": "b:7080"} }, ""},
		"cluster without this node":  {func(c *Config) { c.Cluster = Peers{"n2": "b:7080", "n3": "c:7080"} }, "cluster: this node, n1, is not among n2, n3"},
		"cluster with other port":    {func(c *Config) { c.Cluster = Peers{"n1": "127.0.0.1:7081"} }, "peer-listen is 127.0.0.1:7080"},
		"other port, as meant":       {func(c *Config) { c.Cluster, c.AdvertisePeer = Peers{"n1": "a:7081"}, "a:7081" }, ""},
		"two nodes at one address":   {func(c *Config) { c.Cluster = Peers{"n1": "a:7080", "n2": "a:7080"} }, "n1 and n2 have the same address"},
		"a node without a host":      {func(c *Config) { c.Cluster = Peers{"n1": "a:7080", "n2": ":7080"} }, "others need a host"},
		"an allowed host with port":  {func(c *Config) { c.AllowedHosts = []string{"a:80"} }, "without scheme and port"},
		"more groups than there are": {func(c *Config) { c.Groups = maxGroups + 1 }, "groups: 1025"},
	} {
		t.Run(name, func(t *testing.T) {
			c := defaultConfig()
			tt.change(&c)
			err := c.Validate()
			if tt.want == "" && err != nil {
				t.Error(err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAdvertisedAddresses(t *testing.T) {
	for name, tt := range map[string]struct {
		c          Config
		rest, peer string
	}{
		"as listened on":     {Config{Name: "n1"}, "127.0.0.1:8080", "127.0.0.1:7080"},
		"peer from cluster":  {Config{Name: "n1", Cluster: Peers{"n1": "n1.local:7080"}}, "127.0.0.1:8080", "n1.local:7080"},
		"as said":            {Config{Name: "n1", AdvertiseListen: "x:1", AdvertisePeer: "y:2", Cluster: Peers{"n1": "z:3"}}, "x:1", "y:2"},
		"rest on every host": {Config{Name: "n1", AdvertisePeer: "n1.local:7080", Listen: "all"}, "n1.local:8080", "n1.local:7080"},
	} {
		t.Run(name, func(t *testing.T) {
			listen := "127.0.0.1:8080"
			if tt.c.Listen == "all" {
				listen = "[::]:8080"
			}
			if rest, peer := tt.c.advertised(listen, "127.0.0.1:7080"); rest != tt.rest || peer != tt.peer {
				t.Errorf("got %s and %s", rest, peer)
			}
		})
	}
}

func TestConfigTableHasEverySetting(t *testing.T) {
	table := configTable()
	for _, row := range []string{
		"| `--data-dir` | `LOCKD_DATA_DIR` | `./lockd-data` | directory of this node's data |\n",
		"| `--snapshot-after` | `LOCKD_SNAPSHOT_AFTER` | `64MiB` |",
		"| `--allowed-hosts` | `LOCKD_ALLOWED_HOSTS` |  |",
	} {
		if !strings.Contains(table, row) {
			t.Errorf("no %q in\n%s", row, table)
		}
	}
}
