package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingPrivate = proc.Setting{Name: "WEBHOOK_PRIVATE", Default: "false", Doc: "whether webhooks and push services may be on addresses that are not public, and of plain HTTP: for tests and intranets. Who registers one can then reach whatever the functions can"}
	settingTimeout = proc.Setting{Name: "WEBHOOK_TIMEOUT", Default: "10s", Doc: "how long one attempt to deliver to a webhook may take, from the first packet to the end of the answer"}
)

// ErrPrivate is why an address is not dialled.
var ErrPrivate = errors.New("the address is not public")

// OpenClient returns an HTTP client for endpoints that users name, as the
// process is set up. See NewClient.
func OpenClient(env *proc.Env) (*http.Client, error) {
	s, err := Open(env)
	if err != nil {
		return nil, err
	}
	return s.client, nil
}

// NewClient returns an HTTP client for endpoints that users name. It dials
// public addresses only, unless private: what a name leads to is looked at when
// it is dialled, so that it makes no difference what it led to before. It
// follows no redirects, which it returns instead, and uses no proxy, which
// would do the dialling. It reads headers of 16 KiB at most; who reads the body
// of an answer bounds it.
func NewClient(timeout time.Duration, private bool) *http.Client {
	dialer := &net.Dialer{Timeout: timeout}
	if !private {
		dialer.Control = control
	}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    timeout,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			ResponseHeaderTimeout:  timeout,
			MaxResponseHeaderBytes: 16 << 10,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true, // push services speak it
			MaxIdleConns:           64,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// control refuses to connect a socket to an address that is not public.
func control(network, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dialling %s: %w", network, ErrPrivate)
	}
	if !Public(to.Addr()) {
		return ErrPrivate
	}
	return nil
}

// notPublic are the blocks of addresses that are not globally reachable, and
// those that lead to others inside this network
// (https://www.iana.org/assignments/iana-ipv4-special-registry and
// iana-ipv6-special-registry). Of IPv6 everything outside 2000::/3 is refused anyway.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carriers' NAT, and some clouds' metadata
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), // clouds' metadata
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"), // relays to IPv6
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("224.0.0.0/3"), // multicast, reserved, broadcast

	netip.MustParsePrefix("2001::/23"), // Teredo, ORCHID, benchmarks
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4
	netip.MustParsePrefix("3fff::/20"),
}

var (
	global6 = netip.MustParsePrefix("2000::/3")
	nat64   = netip.MustParsePrefix("64:ff9b::/96") // of networks that have IPv6 only
)

// Public reports whether anybody on the Internet could reach an address.
func Public(addr netip.Addr) bool {
	if addr.Zone() != "" {
		return false
	}
	if addr = addr.Unmap(); nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	if addr.Is6() && !global6.Contains(addr) || !addr.IsGlobalUnicast() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

func isTLS(err error) bool {
	var (
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
	)
	return errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &alert) ||
		errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &unknown)
}
