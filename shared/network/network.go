// Package network says which addresses may be those of one customer of a
// provider, so that limits by address hold for who has many. It does not know
// what is limited.
package network

import "net/netip"

// A Network is a set of addresses that one customer of a provider may have.
type Network struct {
	Name  string // an address, or a prefix such as 2001:db8::/48; "" is not known
	Share int    // how many times the budget of one address it has
}

// prefixes are what customers are given of IPv6: a /64 at the least, a /56 at
// home, a /48 as a company (RFC 6177; RIPE-690, 4.2). All of a /48 may be one
// customer, or, where phones have a /64 each, very many: so it has more than one
// of them, and not more than a few.
var prefixes = []struct{ bits, share int }{{64, 1}, {56, 2}, {48, 3}}

// All returns what an address, of IPv6 one of which the first 64 bits
// are known, is counted by: itself, or the prefixes that it is of, the smallest
// first. What is no address is counted as it is.
func All(address string) []Network {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return []Network{{address, 1}}
	}
	networks := make([]Network, len(prefixes))
	for i, p := range prefixes {
		networks[i] = Network{netip.PrefixFrom(ip.WithZone(""), p.bits).Masked().String(), p.share}
	}
	return networks
}

// Masked returns what is known of an address of IPv6: that of the smallest of
// its networks.
func Masked(ip netip.Addr) string {
	return netip.PrefixFrom(ip.WithZone(""), prefixes[0].bits).Masked().Addr().String()
}

// Widest returns the name of the largest network that an address is
// of.
func Widest(address string) string {
	networks := All(address)
	return networks[len(networks)-1].Name
}
