package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/e2e/system"
	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/proc"
)

func TestMain(m *testing.M) { os.Exit(system.Main(m)) }

func TestWhatIsNoCommandIsSaidToBeNone(t *testing.T) {
	for _, tt := range []struct {
		args  string
		usage bool
		says  string
	}{
		{"", true, "FUNCTIONS"},
		{"serve", true, "serve"},
		{"gateway now", true, "gateway now"},
		{"function", true, "function"},
		{"function user-get user-login", true, "user-login"},
		{"function user-*", false, "tidings list"},
		{"list all", true, "list all"},
		{"health", true, "health"},
	} {
		err := dispatch(strings.Fields(tt.args), new(bytes.Buffer))
		if err == nil || errors.Is(err, errUsage) != tt.usage || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: %v", tt.args, err)
		}
	}
}

func TestItPrintsItsFunctions(t *testing.T) {
	var out bytes.Buffer
	if err := dispatch([]string{"list"}, &out); err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(out.String())
	if len(got) != len(functions.All) || !slices.Contains(got, "chat-ingest") {
		t.Errorf("%q", got)
	}
}

// Patterns that name nothing end the program: nobody waits for functions that
// are not there.
func TestPatternsHaveToNameSomething(t *testing.T) {
	for _, patterns := range [][]string{{"user-*,usr-*"}, {"user-*", "usr-*"}} {
		err := serveChosen(t.Context(), imtest.Env(t, nil), patterns)
		if err == nil || !strings.Contains(err.Error(), "usr-*") {
			t.Errorf("%q: %v", patterns, err)
		}
	}
}

// In one process, on stores that hold nothing yet, two people chat; it ends well
// when it is told to, and what was said is there when it starts again.
func TestAllIsAWholeSite(t *testing.T) {
	vars := system.Settings(t, strings.Join(imtest.Kafka(t), ","), imtest.Postgres(t), imtest.Redis(t))
	public, metrics := fmt.Sprintf("127.0.0.1:%d", imtest.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", imtest.FreePort(t))
	vars["GATEWAY_ADDR"], vars["METRICS_ADDR"] = public, metrics
	var env []string
	for k, v := range vars {
		env = append(env, k+"="+v)
	}
	url := "http://" + public
	p := imtest.Run(t, env, system.Binary(t), "all")
	ready := func() {
		imtest.Eventually(t, "the site is ready", func() error { return proc.Health(url + "/readyz") })
	}
	ready()

	heard := make(chan string, 10)
	join := func(account string, listens bool) *client.Client {
		opt := client.Options{URL: url, Account: account, Password: "correct horse battery", Device: "d", Platform: "desktop"}
		if listens {
			opt.OnMessage = func(_ context.Context, _ *client.Client, m client.Message) error {
				heard <- m.Text
				return nil
			}
		}
		c, err := client.Connect(t.Context(), opt)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	api := &client.API{URL: url}
	for _, account := range []string{"ann", "bob"} {
		if _, err := api.Register(t.Context(), account, "", "correct horse battery"); err != nil {
			t.Fatal(err)
		}
	}
	ann, bob := join("ann", false), join("bob", true)
	say := func(text string) {
		t.Helper()
		if _, err := ann.Send(t.Context(), "u:"+bob.User(), text); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-heard:
			if got != text {
				t.Errorf("bob heard %q, not %q", got, text)
			}
		case <-time.After(imtest.Patience(t)):
			t.Fatalf("bob never heard %q", text)
		}
	}
	say("hello")
	resp, err := http.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var page bytes.Buffer
	if _, err := page.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tidings_function_events_total", "tidings_gateway_connections", "tidings_connector_lag_records"} {
		if !strings.Contains(page.String(), name) {
			t.Errorf("no metric %s", name)
		}
	}
	p.Stop()
	p.Restart()
	ready()
	say("and again")
}
