package origin

import "testing"

func TestAllows(t *testing.T) {
	for _, tt := range []struct {
		name   string
		list   List
		origin string
		want   bool
	}{
		{"nobody", nil, "https://a.example", false},
		{"one of them", List{"https://b.example", "https://a.example"}, "https://a.example", true},
		{"in capitals", List{"https://a.example"}, "HTTPS://A.example", true},
		{"another scheme", List{"https://a.example"}, "http://a.example", false},
		{"another port", List{"https://a.example"}, "https://a.example:8443", false},
		{"a host below", List{"https://a.example"}, "https://x.a.example", false},
		{"a host that begins alike", List{"https://a.example"}, "https://a.example.evil", false},
		{"a sandboxed page", List{"https://a.example"}, "null", false},
		{"everybody", List{"*"}, "https://a.example", true},
	} {
		if got := tt.list.Allows(tt.origin); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestSameHost(t *testing.T) {
	for _, tt := range []struct {
		origin, host string
		want         bool
	}{
		{"https://a.example", "a.example", true},
		{"http://localhost:8080", "LOCALHOST:8080", true},
		{"http://localhost:8080", "localhost:8081", false},
		{"https://a.example.evil", "a.example", false},
		{"https://evil/a.example", "a.example", false},
		{"https://a.example@evil", "a.example", false},
		{"null", "", false},
		{"", "", false},
		{"://", "", false},
	} {
		if got := SameHost(tt.origin, tt.host); got != tt.want {
			t.Errorf("%s is of the host %s: %v", tt.origin, tt.host, got)
		}
	}
}
