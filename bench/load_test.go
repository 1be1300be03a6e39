package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// A server is a small Tidings in memory, whose faults the benchmark must find.
type server struct {
	mu      sync.Mutex
	time    im.Time
	inboxes map[string][]im.Entry
	conns   map[string]*serverConn
	fault   func(n int) string // what to do wrong with the nth message
	n       int
	held    *im.Message
	members map[string][]string // of groups
	revoked map[string]bool
}

type serverConn struct {
	mu sync.Mutex
	ws *websocket.Conn
}

func (c *serverConn) write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ws.WriteMessage(websocket.TextMessage, b)
}

// answerWith answers as a function does.
func answerWith(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", event.JSON)
	json.NewEncoder(w).Encode(v) // a client that is gone reads no answer
}

func startFake(t *testing.T) (*server, string) {
	s := &server{inboxes: map[string][]im.Entry{}, conns: map[string]*serverConn{}, members: map[string][]string{}, revoked: map[string]bool{}, fault: func(int) string { return "" }}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", s.socket)
	mux.HandleFunc("GET /v1/inbox", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		user := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if s.revoked[user] {
			fn.WriteProblem(w, http.StatusUnauthorized, im.Errorf(im.Unauthenticated, "sign in again"))
			return
		}
		after, _ := strconv.ParseInt(r.FormValue("after"), 10, 64)
		page := client.InboxPage{Entries: []im.Entry{}}
		for _, e := range s.inboxes[user] {
			page.Head = e.Seq
			if e.Seq > after && len(page.Entries) < 100 {
				page.Entries = append(page.Entries, e)
			}
		}
		page.More = len(page.Entries) > 0 && page.Entries[len(page.Entries)-1].Seq < page.Head
		answerWith(w, page)
	})
	mux.HandleFunc("POST /v1/users", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Account string }
		json.NewDecoder(r.Body).Decode(&in)
		answerWith(w, im.User{ID: strings.TrimPrefix(in.Account, "bench-"), Account: in.Account})
	})
	mux.HandleFunc("POST /v1/sessions", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Account string }
		json.NewDecoder(r.Body).Decode(&in)
		id := strings.TrimPrefix(in.Account, "bench-")
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.revoked[id] {
			fn.WriteProblem(w, http.StatusUnauthorized, im.Errorf(im.Unauthenticated, "sign in again"))
			return
		}
		answerWith(w, client.Tokens{User: im.User{ID: id}, AccessToken: id, RefreshToken: id, ExpiresAt: im.TimeOf(time.Now().Add(time.Hour))})
	})
	mux.HandleFunc("POST /v1/sessions/refresh", func(w http.ResponseWriter, r *http.Request) {
		fn.WriteProblem(w, http.StatusUnauthorized, im.Errorf(im.Unauthenticated, "sign in again"))
	})
	mux.HandleFunc("POST /v1/groups", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Members []string }
		json.NewDecoder(r.Body).Decode(&in)
		id := im.NewID()
		s.mu.Lock()
		s.members[id] = append(in.Members, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		s.mu.Unlock()
		answerWith(w, im.GroupInfo{ID: id, Conversation: im.Group(id)})
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

func (s *server) socket(w http.ResponseWriter, r *http.Request) {
	user := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	up := websocket.Upgrader{Subprotocols: []string{frame.Subprotocol}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	c := &serverConn{ws: ws}
	s.mu.Lock()
	s.conns[user] = c
	head := int64(len(s.inboxes[user]))
	s.mu.Unlock()
	c.write(frame.FromServer{Type: frame.Welcome, Head: head}.Encode())
	for {
		_, b, err := ws.ReadMessage()
		if err != nil {
			return
		}
		f, err := frame.Parse(b)
		if err != nil {
			c.write(frame.FromServer{Type: frame.Error, Detail: err.Error()}.Encode())
			continue
		}
		s.send(c, user, f.Draft)
	}
}

func (s *server) send(c *serverConn, from string, d im.Draft) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conv, err := d.Conversation(from)
	if err != nil {
		c.write(frame.NewRefused(d.ClientID, im.ProblemOf(err), 0).Encode())
		return
	}
	s.n++
	fault := s.fault(s.n)
	if fault == "refuse" {
		c.write(frame.NewRefused(d.ClientID, im.Problem{Kind: im.Overloaded, Detail: "too fast"}, 0).Encode())
		return
	}
	if fault == "say nothing" {
		return
	}
	s.time++
	m := im.Message{ID: im.NewMessageID(s.time), Conversation: conv, Time: s.time, From: from, ClientID: d.ClientID, Kind: im.KindText, Text: d.Text}
	c.write(frame.AppendAccepted(nil, d.ClientID, m.ID, conv, m.Time))
	switch {
	case fault == "lose":
	case fault == "swap":
		s.held = &m
	case s.held != nil:
		s.put(m, fault)
		s.put(*s.held, fault)
		s.held = nil
	default:
		s.put(m, fault)
		if fault == "double" {
			s.put(m, fault)
		}
	}
}

func (s *server) put(m im.Message, fault string) {
	to := m.Recipients()
	if to == nil {
		to = s.members[m.Conversation.Group()]
	}
	b, _ := json.Marshal(m)
	for i, user := range to {
		seq := int64(len(s.inboxes[user])) + 1
		s.inboxes[user] = append(s.inboxes[user], im.Entry{Seq: seq, ID: m.ID, Message: b})
		if c := s.conns[user]; c != nil && !(fault == "lose a push" && i == 0) {
			c.write(frame.AppendMessage(nil, seq, b))
		}
	}
}

func quickBench(t *testing.T, url string) *bench {
	t.Helper()
	b := &bench{report: report{columns: loadColumns}, options: options{url: url, duration: 200 * time.Millisecond, pairs: 1, group: 10}, warmUp: 50 * time.Millisecond, patience: 300 * time.Millisecond, use: new(usage)}
	b.api = &client.API{URL: url}
	var err error
	if b.crew, err = openCrew(b.api, filepath.Join(t.TempDir(), "state", "bench.json")); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAServerThatKeepsItsPromisesPasses(t *testing.T) {
	_, url := startFake(t)
	b := quickBench(t, url)
	runs := map[string]func() error{
		"window 1":    func() error { return b.chat(t.Context(), 1, 0) },
		"window 8":    func() error { return b.chat(t.Context(), 8, 0) },
		"paced":       func() error { return b.chat(t.Context(), 0, 500) },
		"group":       func() error { return b.groupChat(t.Context(), 2, 0) },
		"group paced": func() error { return b.groupChat(t.Context(), 0, 100) },
	}
	for name, run := range runs {
		if err := run(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.verdict(); err != nil {
		t.Error(err)
	}
	var table strings.Builder
	b.report.print(&table)
	if strings.Count(table.String(), "\n") != len(runs)+2 || strings.Contains(table.String(), "**0") {
		t.Errorf("the table is\n%s", table.String())
	}
}

func TestFaultsAreFound(t *testing.T) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	once := func(what string) func(int) string {
		return func(n int) string {
			if n == 20 {
				return what
			}
			return ""
		}
	}
	tests := []struct {
		fault string
		want  string // in the error, or in the verdict
	}{
		{"double", "doubled: "},
		{"swap", "out of order: "},
		{"refuse", "raise SEND_RATE"},
	}
	for _, tt := range tests {
		t.Run(tt.fault, func(t *testing.T) {
			s, url := startFake(t)
			s.fault = once(tt.fault)
			b := quickBench(t, url)
			err := b.chat(t.Context(), 2, 0)
			if err == nil {
				err = b.verdict()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("found %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("lose a push", func(t *testing.T) {
		t.Parallel() // it waits for a push that does not come
		s, url := startFake(t)
		s.fault = once("lose a push")
		b := quickBench(t, url)
		if err := b.chat(t.Context(), 2, 0); err != nil || b.verdict() != nil {
			t.Fatal(err, b.verdict())
		}
		if note := fmt.Sprint(b.report.rows); !strings.Contains(note, "1 pushes did not come") {
			t.Errorf("the report is %s", note)
		}
	})
	t.Run("say nothing", func(t *testing.T) {
		t.Parallel()
		s, url := startFake(t)
		s.fault = once("say nothing")
		if err := quickBench(t, url).chat(t.Context(), 2, 0); err == nil || !strings.Contains(err.Error(), "1 messages were never answered") {
			t.Errorf("found %v", err)
		}
	})
	t.Run("lose", func(t *testing.T) {
		t.Parallel()
		s, url := startFake(t)
		s.fault = once("lose")
		b := quickBench(t, url)
		if err := b.chat(t.Context(), 2, 0); err != nil {
			t.Fatal(err)
		}
		if err := b.verdict(); err == nil || !strings.Contains(err.Error(), "lost: 1 accepted") {
			t.Errorf("found %v", err)
		}
	})
}

func TestUsersAreMadeOnce(t *testing.T) {
	s, url := startFake(t)
	b := quickBench(t, url)
	first, err := b.crew.muster(t.Context(), 20)
	if err != nil {
		t.Fatal(err)
	}
	again, err := openCrew(b.api, b.crew.file)
	if err != nil {
		t.Fatal(err)
	}
	second, err := again.muster(t.Context(), 10)
	if err != nil || second[3].ID != first[3].ID {
		t.Errorf("made anew: %v", err)
	}
	s.mu.Lock() // another server with none of them
	for _, u := range first {
		s.revoked[u.ID] = true
	}
	s.mu.Unlock()
	third, err := again.muster(t.Context(), 20)
	if err != nil || third[3].ID == first[3].ID || len(third) != 20 {
		t.Errorf("not made anew: %v", err)
	}
	if other, err := openCrew(&client.API{URL: "http://elsewhere"}, b.crew.file); err != nil || len(other.Users) != 0 {
		t.Errorf("users of one server are taken for another's: %v", err)
	}
}

func TestLimitsOfSockets(t *testing.T) {
	d := 100 * time.Millisecond
	echo, err := limitEcho(t.Context(), d, 200)
	if err != nil || echo.count == 0 {
		t.Errorf("echo: %+v, %v", echo, err)
	}
	post, err := limitHTTP(t.Context(), d)
	if err != nil || post.count == 0 {
		t.Errorf("http: %+v, %v", post, err)
	}
	r := report{columns: loadColumns}
	r.limit(echo)
	r.print(io.Discard)
}
