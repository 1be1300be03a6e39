package origin

import (
	"net"
	"net/http"
	"slices"
	"testing"
)

func TestAnAddressIsCountedByTheNetworksOfACustomer(t *testing.T) {
	for address, want := range map[string][]string{
		"192.0.2.7":        {"192.0.2.7"},
		"2001:db8:1:2::":   {"2001:db8:1:2::/64", "2001:db8:1::/56", "2001:db8:1::/48"},
		"2001:db8:1:fff::": {"2001:db8:1:fff::/64", "2001:db8:1:f00::/56", "2001:db8:1::/48"},
		"":                 {""},
	} {
		if got := Networks(address); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

// Behind a translator all clients of IPv4 would be one network, of which anybody
// uses up what it may try.
func TestP7ClientsOfIPv4AreToldApartHoweverTheyAreWritten(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":            "192.0.2.7",
		"::ffff:192.0.2.7":     "192.0.2.7",
		"64:ff9b::192.0.2.7":   "192.0.2.7",
		"64:ff9b::c000:207":    "192.0.2.7",
		"64:ff9b:1::192.0.2.7": "64:ff9b:1::", // a network of one's own (RFC 8215)
		"2001:db8:1:2:3::7":    "2001:db8:1:2::",
		"fe80::7%eth0":         "fe80::",
	} {
		header := http.Header{"X-Real-Ip": {address}}
		for from, got := range map[string]string{
			"connection": AddressOf(&http.Request{RemoteAddr: net.JoinHostPort(address, "443"), Header: http.Header{"X-Real-Ip": {"198.51.100.1"}}}, ""),
			"header":     AddressOf(&http.Request{RemoteAddr: "198.51.100.1:443", Header: header}, "X-Real-Ip"),
		} {
			if got != want {
				t.Errorf("%s of the %s is %q, want %q", address, from, got, want)
			}
		}
	}
}
