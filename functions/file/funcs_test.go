package file

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/s3"
	"github.com/tidings-im/tidings/shared/token"
)

const (
	ann  = "aaaaaaaaaaaaaaaa"
	bob  = "bbbbbbbbbbbbbbbb"
	cleo = "cccccccccccccccc"
)

var all = []fn.Func{Create, Complete, Get, SetAvatar, Sweep}

// down are settings of services that are not there.
func down(t *testing.T) map[string]string {
	t.Helper()
	return fntest.Settings(t, map[string]string{
		"S3_URL":           "http://key:secret@127.0.0.1:1/bucket",
		"CALLS_PER_SECOND": "10000",
		"CALLS_BURST":      "10000",
		"FILES_PER_HOUR":   "10000",
	})
}

func TestFunctionsStartWithoutTheirServices(t *testing.T) {
	if _, err := fn.Mount(t.Context(), imtest.Env(t, down(t)), all...); err != nil {
		t.Error(err)
	}
}

func TestFunctionsSayWhichSettingIsWrong(t *testing.T) {
	for _, f := range all {
		wrong := map[string]string{"POSTGRES_URL": "", "S3_URL": ""}
		switch f.Name {
		case Create.Name:
			wrong["FILE_MAX_BYTES"], wrong["FILE_PART_BYTES"], wrong["FILE_QUOTA_BYTES"] = "0", "1", "much"
			wrong["FILE_UPLOAD_TTL"], wrong["FILE_UPLOAD_LINK_TTL"], wrong["FILES_PER_HOUR"] = "0", "soon", "0"
		case Complete.Name:
			wrong["FILE_CHECKS"] = "0"
		case Get.Name:
			wrong["FILE_LINK_TTL"], wrong["FILE_UPLOAD_LINK_TTL"] = "0", "0"
		case SetAvatar.Name:
			wrong["FILE_CHECKS"], wrong["FILES_PER_HOUR"] = "0", "0"
		case Sweep.Name:
			wrong["FUNCTION_URL"], wrong["KAFKA_RETENTION_MESSAGES"], wrong["PLACE_WINDOW"] = "nowhere", "long", "0"
		}
		for name, value := range wrong {
			vars := down(t)
			vars[name] = value
			if _, err := fn.Mount(t.Context(), imtest.Env(t, vars), f); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s with %s=%q: %v", f.Name, name, value, err)
			}
		}
	}
}

// system is the functions on real services, with their users.
type system struct {
	t     *testing.T
	env   *proc.Env
	db    *pgtest.DB
	store *s3.Store
	url   string
	token map[string]string // by user
}

func newSystem(t *testing.T, change map[string]string, users ...string) *system {
	t.Helper()
	vars := down(t)
	vars["POSTGRES_URL"], vars["REDIS_URL"], vars["S3_URL"] = imtest.Migrated(t, postgres.Migrate), imtest.Redis(t), imtest.S3(t)
	for k, v := range change {
		vars[k] = v
	}
	s := &system{t: t, env: imtest.Env(t, vars), token: map[string]string{}}
	if err := s3.EnsureBucket(t.Context(), s.env); err != nil {
		t.Fatal(err)
	}
	var err1, err2 error
	s.db, err1 = pgtest.Open(t.Context(), s.env)
	s.store, err2 = s3.Open(t.Context(), s.env)
	tokens, err := token.OpenIssuer(s.env)
	if err := errors.Join(err, err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		if err := s.db.CreateUser(t.Context(), im.User{ID: u, Account: "u" + u, Name: u}, "-"); err != nil {
			t.Fatal(err)
		}
		if s.token[u], _, err = tokens.Issue(im.Caller{User: u, Session: u, Device: "phone", Platform: "ios"}); err != nil {
			t.Fatal(err)
		}
	}
	h, err := fn.Mount(t.Context(), s.env, all...)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// call calls a function as a user; an answer that is an error is returned as
// one of its kind.
func call[Out any](s *system, user string, f fn.Func, in any, header ...string) (Out, error) {
	s.t.Helper()
	var out Out
	b, err := json.Marshal(in)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), "POST", s.url+"/"+f.Name, bytes.NewReader(b))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if user != "" {
		req.Header.Set("Authorization", "Bearer "+s.token[user])
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err = io.ReadAll(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode >= 300 {
		var p im.Problem
		if err := json.Unmarshal(b, &p); err != nil {
			s.t.Fatalf("%s answers %d %s", f.Name, resp.StatusCode, b)
		}
		return out, &im.Error{Kind: p.Kind, Msg: p.Detail}
	}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &out); err != nil {
			s.t.Fatalf("%s answers %d %s", f.Name, resp.StatusCode, b)
		}
	}
	return out, nil
}

func newFile(name, typ string, b []byte) createRequest {
	sum := sha256.Sum256(b)
	return createRequest{Name: name, Size: int64(len(b)), Type: typ, SHA256: hex.EncodeToString(sum[:])}
}

func (s *system) create(user string, in createRequest, header ...string) sending {
	s.t.Helper()
	out, err := call[sending](s, user, Create, in, header...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// follow does what a link says, and returns the ETag of what it sent or the
// bytes that it got.
func (s *system) follow(link im.Link, body []byte) (status int, etag string, got []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), link.Method, link.URL, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for k, v := range link.Headers {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err = io.ReadAll(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("ETag"), got
}

// send creates a file of a user and sends it, whole or in parts.
func (s *system) send(user, name, typ string, b []byte) im.File {
	s.t.Helper()
	out := s.create(user, newFile(name, typ, b))
	if out.Upload != nil {
		if status, _, answer := s.follow(*out.Upload, b); status != http.StatusOK {
			s.t.Fatalf("sending %s: %d %s", name, status, answer)
		}
	}
	for _, p := range out.Parts {
		s.sendPart(p, b[:p.Size])
		b = b[p.Size:]
	}
	return out.File
}

func (s *system) sendPart(p partLink, b []byte) (etag string) {
	s.t.Helper()
	status, etag, answer := s.follow(im.Link{Method: http.MethodPut, URL: p.URL, Headers: p.Headers}, b)
	if status != http.StatusOK {
		s.t.Fatalf("sending part %d: %d %s", p.Number, status, answer)
	}
	return etag
}

func (s *system) complete(user, id string) (im.File, error) {
	s.t.Helper()
	return call[im.File](s, user, Complete, completeRequest{File: id})
}

// file sends a file of a user and completes it.
func (s *system) file(user, name, typ string, b []byte) im.File {
	s.t.Helper()
	f, err := s.complete(user, s.send(user, name, typ, b).ID)
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

func (s *system) get(user, id string) (got, error) {
	s.t.Helper()
	return call[got](s, user, Get, getRequest{File: id})
}

// grant has a file in a message, as chat-ingest does, and returns the grant.
func (s *system) grant(f im.File, c im.Conversation) im.FileGrant {
	s.t.Helper()
	g := im.FileGrant{File: f.ID, Conversation: c, Message: im.NewMessageID(im.Now())}
	if err := s.db.GrantFiles(s.t.Context(), []im.FileGrant{g}); err != nil {
		s.t.Fatal(err)
	}
	return g
}

// revoke takes a grant back, as message-recall does.
func (s *system) revoke(g im.FileGrant) {
	s.t.Helper()
	_, _, err := s.db.Change(s.t.Context(), func(ctx context.Context, tx *pgtest.Tx) error { return tx.RevokeFile(ctx, g) },
		func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
	if err != nil {
		s.t.Fatal(err)
	}
}

// keys returns what is in the store under a prefix.
func (s *system) keys(prefix string) []string {
	s.t.Helper()
	keys, _, err := s.store.List(s.t.Context(), prefix, "", 0, 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	return keys
}

func TestP6NobodyCallsWithoutAToken(t *testing.T) {
	s := newSystem(t, nil, ann)
	for _, f := range []fn.Func{Create, Complete, Get, SetAvatar} {
		if _, err := call[json.RawMessage](s, "", f, map[string]string{}); !errors.Is(err, im.Unauthenticated) {
			t.Errorf("%s answers %v", f.Name, err)
		}
		if f.Accepts != event.CallType(f.Name) || !f.Public {
			t.Errorf("%s cannot be called", f.Name)
		}
	}
}
