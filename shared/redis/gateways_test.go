package redis

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/imtest"
)

func TestGateways(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		c := open(t, url)
		g := c.NewGateways(env(t, url))
		now := time.Now()
		g.now = func() time.Time { return now }
		check := func(when string, want map[string]string) {
			t.Helper()
			got, err := g.URLs(t.Context(), []string{"a", "b"})
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("%s: %v, %v, want %v", when, got, err, want)
			}
		}
		register := func(id, url string) {
			t.Helper()
			if err := c.RegisterGateway(t.Context(), id, url, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		check("at first", map[string]string{})
		register("a", "http://a:1")
		check("one that has just registered is there", map[string]string{"a": "http://a:1"})
		register("a", "http://a:2")
		register("b", "http://b:1")
		check("a change is seen late", map[string]string{"a": "http://a:1", "b": "http://b:1"})
		now = now.Add(gatewaysTTL + 1)
		check("by a second", map[string]string{"a": "http://a:2", "b": "http://b:1"})
		if err := c.DeregisterGateway(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		now = now.Add(gatewaysTTL + 1)
		check("one that is gone is not there", map[string]string{"b": "http://b:1"})
		if len(g.known) != 1 {
			t.Errorf("%v is remembered", g.known)
		}
	})
}

func TestAGatewayThatDoesNotRegisterAgainIsGone(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		c := open(t, url)
		if err := c.RegisterGateway(t.Context(), "a", "http://a:1", 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		imtest.Eventually(t, "its lease ends", func() error {
			got, err := c.NewGateways(env(t, url)).URLs(t.Context(), []string{"a"})
			if err == nil && len(got) > 0 {
				err = errors.New("it is there")
			}
			return err
		})
	})
}
