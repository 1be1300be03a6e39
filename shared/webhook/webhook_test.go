package webhook_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/webhook"
)

func sender(t *testing.T, private string) *webhook.Sender {
	t.Helper()
	env := imtest.Env(t, map[string]string{"WEBHOOK_PRIVATE": private, "WEBHOOK_TIMEOUT": "3s"})
	s, err := webhook.Open(env)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReceiversVerifyASignatureByTheStandardsOwnLibrary(t *testing.T) {
	first, second := webhook.NewSecret(), webhook.NewSecret()
	body := []byte(`{"type":"message"}`)
	var header http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		if got, _ := io.ReadAll(r.Body); string(got) != string(body) || r.Method != http.MethodPost {
			t.Errorf("%s %s", r.Method, got)
		}
	}))
	defer srv.Close()
	if err := sender(t, "true").Send(t.Context(), srv.URL, first, "id_1", time.Now(), body, second); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{first, second} {
		w, err := standard.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Verify(body, header); err != nil {
			t.Errorf("while a secret is replaced, one of the two does not verify: %v", err)
		}
		if w.Verify([]byte(`{"type":"other"}`), header) == nil {
			t.Error("another body verifies")
		}
	}
	stranger, _ := standard.NewWebhook(webhook.NewSecret())
	if stranger.Verify(body, header) == nil {
		t.Error("a secret verifies that was not signed with")
	}
	if header.Get("Content-Type") != "application/json" || header.Get("webhook-id") != "id_1" {
		t.Errorf("headers: %v", header)
	}
}

// The vector of the specification.
func TestASignatureIsThatOfTheSpecification(t *testing.T) {
	got, err := webhook.Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want || err != nil {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	for _, secret := range []string{"", "whsec_", "whsec_%%%"} {
		if _, err := webhook.Sign("id", time.Now(), nil, secret); err == nil || strings.Contains(err.Error(), "%%%") {
			t.Errorf("%q signs, or is told: %v", secret, err)
		}
	}
}

func TestAnswersThatAreNoneOfTwoHundredAreFailures(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		status int
		after  time.Duration
		gone   bool
		reason string
	}{
		{"an error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, 500, 0, false, "it answered 500"},
		{"it wants no more", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }, 410, 0, true, "it answered 410"},
		{"it wants to be left alone", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "90")
			w.WriteHeader(503)
		}, 503, 90 * time.Second, false, "it answered 503"},
		{"it asks for more than there is", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "99999999")
			w.WriteHeader(429)
		}, 429, 24 * time.Hour, false, "it answered 429"},
		{"it hangs", func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, 0, 0, false, "it did not answer in time"},
		{"it dies mid-way", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, 0, false, "it could not be reached"},
		{"it sends headers without end", func(w http.ResponseWriter, _ *http.Request) {
			for range 64 {
				w.Header().Add("X", strings.Repeat("x", 1024))
			}
		}, 0, 0, false, "it could not be reached"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(tt.answer)
			defer srv.Close()
			defer srv.CloseClientConnections()
			err := sender(t, "true").Send(t.Context(), srv.URL, webhook.NewSecret(), "id", time.Now(), []byte("{}"))
			var f *webhook.Failure
			if !errors.As(err, &f) || f.Status != tt.status || f.RetryAfter != tt.after || f.Gone() != tt.gone || f.Reason != tt.reason {
				t.Errorf("%v: %+v", err, f)
			}
		})
	}
}

func TestABodyWithoutEndIsNotRead(t *testing.T) {
	var written atomic.Int64
	done := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(done)
		b := make([]byte, 64<<10)
		for range 1 << 12 {
			n, err := w.Write(b)
			if written.Add(int64(n)); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	if err := sender(t, "true").Send(t.Context(), srv.URL, webhook.NewSecret(), "id", time.Now(), []byte("{}")); err != nil {
		t.Error(err)
	}
	<-done
	if n := written.Load(); n > 64<<20 {
		t.Errorf("%d bytes were taken", n)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	followed := false
	to := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	defer to.Close()
	srv := httptest.NewServer(http.RedirectHandler(to.URL, http.StatusTemporaryRedirect))
	defer srv.Close()
	err := sender(t, "true").Send(t.Context(), srv.URL, webhook.NewSecret(), "id", time.Now(), []byte("{}"))
	var f *webhook.Failure
	if !errors.As(err, &f) || f.Status != http.StatusTemporaryRedirect || followed {
		t.Errorf("%v, followed: %v", err, followed)
	}
}

// What a name leads to is looked at when it is dialled: a name that leads to
// this machine is as good as its address.
func TestP6OnlyPublicAddressesAreDialled(t *testing.T) {
	reached := false
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer srv.Close()
	client := webhook.NewClient(time.Second, false)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "2130706433", "127.1"} {
		resp, err := client.Get("https://" + host + ":" + port + "/")
		if err == nil {
			resp.Body.Close()
			t.Errorf("%s was reached", host)
		} else if strings.ContainsAny(host[:1], "1l0[") && host != "127.1" && !errors.Is(err, webhook.ErrPrivate) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if reached {
		t.Error("the server was reached")
	}
	t.Setenv("HTTPS_PROXY", srv.URL)
	t.Setenv("HTTP_PROXY", srv.URL)
	if _, err := client.Get("https://localhost:" + port + "/"); !errors.Is(err, webhook.ErrPrivate) {
		t.Errorf("by a proxy: %v", err)
	}
	err := sender(t, "false").Send(t.Context(), "https://localhost.example.invalid:"+port, webhook.NewSecret(), "id", time.Now(), nil)
	var f *webhook.Failure
	if !errors.As(err, &f) || f.Status != 0 || strings.Contains(f.Reason, port) {
		t.Errorf("%v", err)
	}
}

// What an owner is told makes no difference between a name that leads nowhere
// and one that leads into this network.
func TestP6AFailureDoesNotTellNamesOfThisNetworkFromOthers(t *testing.T) {
	s := sender(t, "false")
	reasons := map[string]string{}
	for _, to := range []string{"https://nobody.invalid/", "https://ip6-localhost:1/", "https://127.1:1/", "https://0x7f000001:1/"} {
		var f *webhook.Failure
		if err := s.Send(t.Context(), to, webhook.NewSecret(), "id", time.Now(), []byte("{}")); !errors.As(err, &f) {
			t.Fatalf("%s: %v", to, err)
		}
		reasons[f.Reason] = to
	}
	if len(reasons) != 1 || reasons["it could not be reached"] == "" {
		t.Errorf("told apart: %v", reasons)
	}
	var f *webhook.Failure
	if err := s.Send(t.Context(), "https://localhost/", webhook.NewSecret(), "id", time.Now(), nil); !errors.As(err, &f) || f.Reason != "it could not be sent" {
		t.Errorf("of a URL that is refused: %v, %+v", err, f)
	}
	if err := s.Send(t.Context(), "https://example.org/", "no secret", "id", time.Now(), nil); !errors.As(err, &f) || f.Reason != "it could not be sent" {
		t.Errorf("of a secret that cannot be read: %v, %+v", err, f)
	}
}

func TestPublicAddresses(t *testing.T) {
	for addr, want := range map[string]bool{
		"1.1.1.1": true, "93.184.216.34": true, "172.32.0.1": true, "192.0.1.1": true, "100.128.0.1": true,
		"2606:4700:4700::1111": true, "64:ff9b::1.1.1.1": true, "::ffff:1.1.1.1": true,

		"127.0.0.1": false, "127.255.0.1": false, "10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false,
		"192.168.1.1": false, "169.254.169.254": false, "100.100.100.200": false, "0.0.0.0": false, "0.1.2.3": false,
		"224.0.0.1": false, "239.1.1.1": false, "255.255.255.255": false, "240.0.0.1": false, "192.0.2.1": false,
		"198.18.0.1": false, "198.51.100.1": false, "203.0.113.1": false, "192.0.0.1": false, "192.88.99.1": false,
		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd00:ec2::254": false,
		"fec0::1": false, "ff02::1": false, "100::1": false, "2001::1": false, "2001:db8::1": false, "2002:7f00:1::": false,
		"3fff::1": false, "5f00::1": false, "::ffff:127.0.0.1": false, "::127.0.0.1": false,
		"64:ff9b::127.0.0.1": false, "64:ff9b::10.0.0.1": false, "64:ff9b:1::1.1.1.1": false,
	} {
		if got := webhook.Public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s is public: %v", addr, got)
		}
	}
}

func TestURLsThatNothingCouldBeSentTo(t *testing.T) {
	public, private := sender(t, "false"), sender(t, "true")
	for _, tt := range []struct {
		url             string
		public, private bool
	}{
		{"https://example.org/hook?a=b", true, true},
		{"https://example.org:8443/", true, true},
		{"https://[2606:4700::1]/", true, true},
		{"http://example.org/", false, true},
		{"https://127.0.0.1/", false, true},
		{"https://[::1]/", false, true},
		{"https://localhost/", false, true},
		{"https://LOCALHOST./", false, true},
		{"https://user:pass@example.org/", false, false},
		{"https://example.org/#x", false, false},
		{"https://example.org:0/", false, false},
		{"https://example.org:99999/", false, false},
		{"https:///path", false, false},
		{"https:example.org", false, false},
		{"ftp://example.org/", false, false},
		{"example.org", false, false},
		{"", false, false},
		{"https://example.org/" + strings.Repeat("x", webhook.MaxURL), false, false},
	} {
		for s, want := range map[*webhook.Sender]bool{public: tt.public, private: tt.private} {
			err := s.CheckURL(tt.url)
			if (err == nil) != want || err != nil && !errors.Is(err, im.Invalid) {
				t.Errorf("%.60q: %v", tt.url, err)
			}
		}
	}
}

func TestAnAttemptEndsWithItsContext(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer srv.Close()
	defer srv.CloseClientConnections()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var f *webhook.Failure
	if err := sender(t, "true").Send(ctx, srv.URL, webhook.NewSecret(), "id", time.Now(), nil); !errors.As(err, &f) || f.Reason != "the attempt was cut off" {
		t.Errorf("%v", err)
	}
}
