package server

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func TestConnecting(t *testing.T) {
	s := newSystem(t)
	g := s.gateway("ALLOWED_ORIGINS", "https://chat.example.org")
	host := strings.TrimPrefix(g.URL, "http://")
	good := s.token(someone("web"), time.Hour)
	ended := someone("web")
	if err := s.redis.MarkEnded(t.Context(), ended.Session, time.Minute); err != nil {
		t.Fatal(err)
	}

	for _, tt := range []struct {
		name      string
		path      string
		header    []string
		protocols []string // nil: tidings.v1
		status    int
		detail    string
	}{
		{name: "a token in the header", header: []string{"Authorization", "Bearer " + good}, status: 101},
		{name: "a token as a subprotocol", protocols: []string{"tidings.v1", "bearer." + good}, status: 101},
		{name: "a token as the first subprotocol", protocols: []string{"bearer." + good, "tidings.v1"}, status: 101},
		{name: "a page of an allowed origin", header: []string{"Authorization", "Bearer " + good, "Origin", "https://chat.example.org"}, status: 101},
		{name: "a page of the same host", header: []string{"Authorization", "Bearer " + good, "Origin", "http://" + host}, status: 101},
		{name: "a page of another origin", header: []string{"Authorization", "Bearer " + good, "Origin", "https://evil.example.org"}, status: 403, detail: "origin"},
		{name: "a sandboxed page", header: []string{"Authorization", "Bearer " + good, "Origin", "null"}, status: 403, detail: "origin"},
		{name: "no token", status: 401, detail: "access token is needed"},
		{name: "an empty token", header: []string{"Authorization", "Bearer "}, status: 401, detail: "access token is needed"},
		{name: "a token of another scheme", header: []string{"Authorization", "Basic " + good}, status: 401, detail: "access token is needed"},
		{name: "nonsense as a token", header: []string{"Authorization", "Bearer nonsense"}, status: 401, detail: "not valid"},
		{name: "an expired token", header: []string{"Authorization", "Bearer " + s.token(someone("web"), -time.Hour)}, status: 401, detail: "expired"},
		{name: "a session that has ended", header: []string{"Authorization", "Bearer " + s.token(ended, time.Hour)}, status: 401, detail: "has ended"},
		{name: "a token in the URL", path: "?token=" + good, status: 400, detail: "does not belong in the URL"},
		{name: "a token in the URL by another name", path: "?access_token=" + good, header: []string{"Authorization", "Bearer " + good}, status: 400, detail: "does not belong in the URL"},
		{name: "no subprotocol", header: []string{"Authorization", "Bearer " + good}, protocols: []string{}, status: 400, detail: "tidings.v1"},
		{name: "a subprotocol of another version", header: []string{"Authorization", "Bearer " + good}, protocols: []string{"tidings.v2"}, status: 400, detail: "tidings.v1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := websocket.Dialer{Subprotocols: tt.protocols, HandshakeTimeout: patience}
			if tt.protocols == nil {
				d.Subprotocols = []string{frame.Subprotocol}
			}
			h := http.Header{}
			for i := 0; i < len(tt.header); i += 2 {
				h.Set(tt.header[i], tt.header[i+1])
			}
			ws, resp, err := d.DialContext(t.Context(), "ws://"+host+"/ws"+tt.path, h)
			if resp == nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status {
				t.Fatalf("status %d, want %d", resp.StatusCode, tt.status)
			}
			if err == nil {
				defer ws.Close()
				if ws.Subprotocol() != frame.Subprotocol {
					t.Errorf("subprotocol %q, want only %q", ws.Subprotocol(), frame.Subprotocol)
				}
				return
			}
			checkProblem(t, resp, tt.detail)
		})
	}
}

func TestWhatIsNoUpgradeIsToldSo(t *testing.T) {
	s := newSystem(t)
	g := s.gateway()
	resp, err := http.Get(g.URL + "/ws")
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusUpgradeRequired || resp.Header.Get("Upgrade") != "websocket" {
		t.Errorf("%s, Upgrade %q", resp.Status, resp.Header.Get("Upgrade"))
	}
	checkProblem(t, resp, "WebSocket")
}

func TestMoreConnectionsThanAGatewayHoldsComeLater(t *testing.T) {
	s := newSystem(t)
	g := s.gateway("MAX_CONNECTIONS", "1")
	p := s.dial(g, someone("web"))
	h := http.Header{"Authorization": {"Bearer " + s.token(someone("web"), time.Hour)}}
	_, resp, err := s.tryDial(g, h, "/ws")
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Fatalf("%v %v, want 503 with Retry-After", err, resp)
	}
	p.ws.Close()
	imtest.Eventually(t, "there is room again", func() error {
		_, _, err := s.tryDial(g, h, "/ws")
		return err
	})
}

func checkProblem(t *testing.T, resp *http.Response, detail string) {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var p im.Problem
	if err := json.Unmarshal(b, &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%s is not a problem: %s", resp.Header.Get("Content-Type"), b)
	}
	if !strings.Contains(p.Detail, detail) || p.Kind == "" || p.Status != resp.StatusCode {
		t.Errorf("problem %+v, want one that says %q", p, detail)
	}
}
