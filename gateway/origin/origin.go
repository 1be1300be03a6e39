// Package origin says pages of which origins may use a gateway from a browser
// (RFC 6454).
package origin

import (
	"net/url"
	"strings"
)

// A List holds origins as a browser writes them, such as
// https://chat.example.org; "*" is all of them.
type List []string

// Allows reports whether l holds origin.
func (l List) Allows(origin string) bool {
	for _, o := range l {
		if o == "*" || strings.EqualFold(o, origin) {
			return true
		}
	}
	return false
}

// SameHost reports whether a page of origin came from host.
func SameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}
