package origin

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
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
	return prefix(ip, prefixes[0])
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

// prefixes are the parts of an IPv6 address by which customers are told apart:
// what one link has, what a household is given and what a site is (RFC 6177).
var prefixes = [...]int{64, 56, 48}

// Networks returns the networks that an address is counted by, the narrowest
// first: of IPv4 itself alone, of IPv6 those of its prefixes.
func Networks(address string) []string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Is4() {
		return []string{address}
	}
	all := make([]string, len(prefixes))
	for i, bits := range prefixes {
		all[i] = prefix(ip, bits)
		if i > 0 {
			all[i] += "/" + strconv.Itoa(bits) // ::/56 is not ::/48
		}
	}
	return all
}

func prefix(ip netip.Addr, bits int) string {
	return netip.PrefixFrom(ip.WithZone(""), bits).Masked().Addr().String()
}
