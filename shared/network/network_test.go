package network

import (
	"slices"
	"testing"
)

func TestAnAddressIsCountedByAllThatACustomerMayHave(t *testing.T) {
	for address, want := range map[string][]Network{
		"":                   {{"", 1}},
		"unknown":            {{"unknown", 1}},
		"192.0.2.1":          {{"192.0.2.1", 1}},
		"::ffff:192.0.2.1":   {{"::ffff:192.0.2.1", 1}},
		"2001:db8:1:2::":     {{"2001:db8:1:2::/64", 1}, {"2001:db8:1::/56", 2}, {"2001:db8:1::/48", 3}},
		"2001:db8:1:fffe::7": {{"2001:db8:1:fffe::/64", 1}, {"2001:db8:1:ff00::/56", 2}, {"2001:db8:1::/48", 3}},
		"fe80::1%eth0":       {{"fe80::/64", 1}, {"fe80::/56", 2}, {"fe80::/48", 3}},
	} {
		if got := All(address); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", address, got, want)
		}
	}
	if got := Widest("2001:db8:1:fffe::7"); got != "2001:db8:1::/48" {
		t.Errorf("the widest is %s", got)
	}
}
