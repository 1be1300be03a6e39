package origin

import (
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
