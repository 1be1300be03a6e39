package account

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// A provider that hangs takes from each who signs in by it what one request to it
// may take, however many they are.
func TestP7AProviderThatHangsIsAskedOnceForAll(t *testing.T) {
	var asked atomic.Int32
	end := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(end); srv.Close() })
	client := newProviderClient()
	client.Timeout = 500 * time.Millisecond
	p, err := newOIDC(providerSetting{Name: "hangs", Issuer: srv.URL, ClientID: "c", ClientSecret: "s"}, client)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := p.begin(t.Context(), flow{}, "state"); im.KindOf(err) != im.Unavailable {
				t.Errorf("it is %v", err)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 10*client.Timeout {
		t.Errorf("it took %s for all of them", took)
	}
	if n := asked.Load(); n > 4 { // a slow machine may come to ask again
		t.Errorf("it was asked %d times", n)
	}
}

// A code is of the account that asked for it, not of whoever comes to have its
// address.
func TestP6ACodeDoesNotGoOverToWhoTakesTheAddressNext(t *testing.T) {
	w := newWorld(t, nil)
	ann := w.verified("ann", "ann@example.org")
	w.call("password-forgot", "", 200, fields{"email": "ann@example.org"}, nil)
	code := w.mail("ann@example.org")
	w.call("user-update", ann.AccessToken, 200, fields{"email": "ann@example.net"}, nil)
	bob := w.verified("bob", "ann@example.org")
	w.call("password-reset", "", 403, fields{"email": "ann@example.org", "code": code, "new": "battery staple"}, nil)
	w.call("user-get", bob.AccessToken, 200, fields{"user": "me"}, nil)
	w.login("bob", "correct horse")
	w.login("ann", "correct horse")

	// Nor does one that waits to be mailed: it is for whoever has the address then.
	w.call("user-update", ann.AccessToken, 200, fields{"email": "both@example.org"}, nil)
	w.call("email-verify", ann.AccessToken, 200, fields{"password": "correct horse"}, nil)
	w.call("user-update", ann.AccessToken, 200, fields{"email": "ann@example.net"}, nil)
	w.noMail()
}
