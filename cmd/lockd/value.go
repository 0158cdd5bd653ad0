package main

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Peers maps names of nodes to their peer addresses. As text it is
// n1=host:port,n2=host:port in the order of names.
type Peers map[string]string

// Names returns the names in order.
func (p Peers) Names() []string { return slices.Sorted(maps.Keys(p)) }

// String implements pflag.Value.
func (p *Peers) String() string {
	pairs := make([]string, 0, len(*p))
	for _, name := range p.Names() {
		pairs = append(pairs, name+"="+(*p)[name])
	}
	return strings.Join(pairs, ",")
}

// Set implements pflag.Value. It replaces what p held, so that a flag does not
// mix with the file.
func (p *Peers) Set(text string) error {
	peers := Peers{}
	for pair := range strings.SplitSeq(text, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		name, addr, found := strings.Cut(pair, "=")
		if !found {
			return fmt.Errorf("%q is not of the form name=host:port", pair)
		}
		if _, twice := peers[name]; twice {
			return fmt.Errorf("%s is given twice", name)
		}
		peers[name] = addr
	}
	*p = peers
	return nil
}

// Type implements pflag.Value.
func (p *Peers) Type() string { return "nodes" }

// ByteSize is a number of bytes. As text it may have a unit: 64MiB.
type ByteSize uint64

var byteUnits = []struct {
	suffix string
	size   uint64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// String implements pflag.Value: the largest unit that divides the size.
func (b ByteSize) String() string {
	for _, unit := range byteUnits {
		if b != 0 && uint64(b)%unit.size == 0 {
			return strconv.FormatUint(uint64(b)/unit.size, 10) + unit.suffix
		}
	}
	return "0"
}

// Set implements pflag.Value.
func (b *ByteSize) Set(text string) error {
	for _, unit := range byteUnits {
		digits, found := strings.CutSuffix(text, unit.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || n > ^uint64(0)/unit.size {
			break
		}
		*b = ByteSize(n * unit.size)
		return nil
	}
	return fmt.Errorf("%q is not a size such as 67108864, 65536KiB, 64MiB or 1GiB", text)
}

// Type implements pflag.Value.
func (b *ByteSize) Type() string { return "size" }

// checkAddress says what is wrong with host:port. An address to listen on may
// leave the host out and have port 0; one to connect to may not.
func checkAddress(addr string, anyPort, anyHost bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not of the form host:port", addr)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || (n == 0 && !anyPort) {
		return fmt.Errorf("%q: the port is not a number from 1 to 65535", addr)
	}
	if isWildcard(host) && !anyHost {
		return fmt.Errorf("%q: others need a host to connect to", addr)
	}
	return nil
}

// isWildcard tells whether listening on host means on every address.
func isWildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || (ip != nil && ip.IsUnspecified())
}

func port(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return port
}
