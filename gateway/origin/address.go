package origin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/tidings-im/tidings/shared/im"
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
	switch {
	case err != nil:
		return ""
	case ip.Unmap().Is4():
		return ip.Unmap().String()
	}
	return im.Masked(ip)
}

// Networks returns the names of the networks that an address is counted by, the
// smallest first.
func Networks(address string) []string {
	networks := im.NetworksOf(address)
	names := make([]string, len(networks))
	for i, n := range networks {
		names[i] = n.Name
	}
	return names
}
