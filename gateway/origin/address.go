package origin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/tidings-im/tidings/shared/network"
)

// AddressOf returns the network address of who sent r, as a balancer says in a
// header of the name of forwarded, or, if that is "", as the connection has it.
// Of a list that a balancer wrote, the last is the only one that it saw itself.
// It is "" if there is none that can be read.
func AddressOf(r *http.Request, forwarded string) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if forwarded != "" {
		list := strings.Split(strings.Join(r.Header.Values(forwarded), ","), ",")
		host = strings.TrimSpace(list[len(list)-1])
		if at, err := netip.ParseAddrPort(host); err == nil { // some balancers write the port too
			host = at.Addr().String()
		}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	if ip = unmap(ip); ip.Is4() {
		return ip.String()
	}
	return network.Masked(ip)
}

// translated is where clients of IPv4 are for a service that has IPv6 only (RFC
// 6052, 2.1; RFC 7755): they are as many as there are, and not one network.
var translated = netip.MustParsePrefix("64:ff9b::/96")

// unmap returns the address of IPv4 that an address of IPv6 stands for, if it does.
func unmap(ip netip.Addr) netip.Addr {
	if translated.Contains(ip) {
		b := ip.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip.Unmap()
}

// Networks returns the names of the networks that an address is counted by, the
// smallest first.
func Networks(address string) []string {
	networks := network.All(address)
	names := make([]string, len(networks))
	for i, n := range networks {
		names[i] = n.Name
	}
	return names
}
