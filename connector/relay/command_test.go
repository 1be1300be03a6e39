package relay

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/imtest"
)

func TestServingSaysHowItFares(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	env := imtest.Env(t, s.vars("CONNECTOR_ADDR", addr))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Command(nil, io.Discard)(ctx, env) }()
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			return 0, ""
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	imtest.Until(t, "it lives", func() bool { code, _ := get("/healthz"); return code == 200 })
	imtest.Until(t, "it is ready", func() bool { code, _ := get("/readyz"); return code == 200 })
	s.publish("k", 0, 3)
	imtest.Until(t, "it works", func() bool { return s.fn.count() == 3 })
	for _, want := range []string{
		`tidings_connector_delivered_total{function="` + s.fn.name + `"} 3`,
		`tidings_connector_lag_records{function="` + s.fn.name + `",partition="1",topic="` + s.topic + `"} 0`,
	} {
		imtest.Until(t, "the metrics have "+want, func() bool {
			_, metrics := get("/metrics")
			return strings.Contains(metrics, want)
		})
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(imtest.Patience(t)):
		t.Fatal("it does not end")
	}
	if n := s.committed(); n != 3 {
		t.Errorf("%d are committed", n)
	}
}

func TestOneThatHasNotJoinedIsNotReady(t *testing.T) {
	env := imtest.Env(t, map[string]string{"KAFKA_BROKERS": "localhost:1"})
	r, err := open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.ready(); err == nil || !strings.Contains(err.Error(), "persist-history") {
		t.Errorf("got %v", err)
	}
}
