package user

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/vault"
)

const (
	ann  = "aaaaaaaaaaaaaaaa"
	bob  = "bbbbbbbbbbbbbbbb"
	sess = "ssssssssssssssss"
)

var down = &im.Error{Kind: im.Unavailable, Msg: "it is down", Err: errors.New("dial tcp: refused")}

// directory keeps users and sessions in memory.
type directory struct {
	users    map[string]im.User // by account
	hashes   map[string]string  // by account
	sessions []im.Session
	refresh  map[string]string // hash of a refresh token → session, "" if it is used up
	ended    []string
	most     int           // sessions that a user is to have
	grace    time.Duration // for which a refresh token is to be good
	factor   *im.Factor    // of everybody
	recovery [][]byte
	also     im.Revocation // of ChangePassword
	avatar   string        // of everybody
	err      error
}

func (d *directory) Factor(context.Context, string) (im.Factor, error) {
	if d.factor == nil {
		return im.Factor{}, im.Errorf(im.NotFound, "none")
	}
	return *d.factor, nil
}

func (d *directory) UseStep(_ context.Context, _ string, step int64, secret string) (bool, error) {
	if step <= d.factor.LastStep {
		return false, nil
	}
	d.factor.LastStep, d.factor.Secret = step, secret
	return true, nil
}

func (d *directory) UseRecoveryCode(_ context.Context, _ string, hash []byte) (bool, error) {
	n := len(d.recovery)
	d.recovery = slices.DeleteFunc(d.recovery, func(h []byte) bool { return bytes.Equal(h, hash) })
	return len(d.recovery) < n, nil
}

func (d *directory) ProveSession(_ context.Context, user, session string) (im.Session, error) {
	for i, s := range d.sessions {
		if s.User == user && s.ID == session {
			d.sessions[i].Proved = im.Now()
			return d.sessions[i], d.err
		}
	}
	return im.Session{}, im.Errorf(im.NotFound, "no such session")
}

func testVault(t testing.TB) *vault.Vault {
	t.Helper()
	v, err := vault.New("k:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// busy returns a hasher that sends away whoever comes.
func busy(t testing.TB) *hasher {
	t.Helper()
	h := newHasher(1, 0)
	if err := h.line.enter(t.Context(), "the first"); err != nil {
		t.Fatal(err)
	}
	return h
}

func newDirectory() *directory {
	return &directory{users: map[string]im.User{}, hashes: map[string]string{}, refresh: map[string]string{}}
}

func (d *directory) CreateUser(_ context.Context, u im.User, hash string) error {
	if _, ok := d.users[u.Account]; ok {
		return im.Errorf(im.Conflict, "the account %q is taken", u.Account)
	}
	d.users[u.Account], d.hashes[u.Account] = u, hash
	return d.err
}

func (d *directory) UserByAccount(_ context.Context, account string) (im.User, string, error) {
	if d.err != nil {
		return im.User{}, "", d.err
	}
	u, ok := d.users[account]
	if !ok {
		return im.User{}, "", im.Errorf(im.NotFound, "no such account")
	}
	return u, d.hashes[account], nil
}

func (d *directory) Password(_ context.Context, user string) (account, hash string, err error) {
	for account, u := range d.users {
		if u.ID == user {
			return account, d.hashes[account], d.err
		}
	}
	return "", "", im.Errorf(im.NotFound, "no such user")
}

func (d *directory) Self(_ context.Context, user string) (im.Self, error) {
	for _, u := range d.users {
		if u.ID == user {
			return im.Self{Profile: im.Profile{ID: u.ID, Account: u.Account, Name: u.Name, Avatar: d.avatar}, Email: u.Account + "@example.org"}, d.err
		}
	}
	return im.Self{}, im.Errorf(im.NotFound, "no such user")
}

func (d *directory) RefreshSession(_ context.Context, hash []byte) (string, error) {
	return d.refresh[string(hash)], d.err
}

func (d *directory) ChangePassword(ctx context.Context, next im.Session, oldHash, newHash string, refresh []byte, _ time.Time, also im.Revocation) (ended []im.Session, err error) {
	account, hash, err := d.Password(ctx, next.User)
	if err != nil {
		return nil, err
	}
	if hash != oldHash {
		return nil, im.Errorf(im.Conflict, "changed meanwhile")
	}
	d.hashes[account], d.also = newHash, also
	ended = d.sessions
	d.sessions = []im.Session{next}
	d.refresh[string(refresh)] = next.ID
	return ended, nil
}

func (d *directory) CreateSession(_ context.Context, s im.Session, passwordHash string, hash []byte, _ time.Time, most int) (ended []string, err error) {
	d.most = most
	if !slices.Contains(slices.Collect(maps.Values(d.hashes)), passwordHash) {
		return nil, im.Errorf(im.NotFound, "no such user")
	}
	for _, had := range d.sessions {
		if had.User == s.User && had.Device == s.Device {
			ended = append(ended, had.ID)
		}
	}
	d.sessions = append(d.sessions, s)
	d.refresh[string(hash)] = s.ID
	return ended, d.err
}

func (d *directory) RotateRefresh(_ context.Context, old, next []byte, _ time.Time, grace time.Duration) (im.Session, error) {
	d.grace = grace
	if d.err != nil {
		return im.Session{}, d.err
	}
	id, ok := d.refresh[string(old)]
	if !ok {
		return im.Session{}, im.Errorf(im.Unauthenticated, "not known")
	}
	if id == "" {
		return d.sessions[0], im.Errorf(im.Denied, "used before")
	}
	d.refresh[string(old)], d.refresh[string(next)] = "", id
	return d.sessions[0], nil
}

func (d *directory) EndSession(_ context.Context, user, session string) error {
	d.ended = append(d.ended, session)
	if d.err == nil && !slices.ContainsFunc(d.sessions, func(s im.Session) bool { return s.User == user && s.ID == session }) {
		return im.Errorf(im.NotFound, "no such session")
	}
	return d.err
}

func (d *directory) Sessions(_ context.Context, user string, limit int) (of []im.Session, err error) {
	for _, s := range d.sessions {
		if s.User == user && len(of) < limit {
			of = append(of, s)
		}
	}
	return of, d.err
}

// gate counts attempts and refuses when it is closed.
type gate struct {
	asked []string
	err   error

	codes    int
	codesErr error
	lanes    []string // in which codes were tried
	marked   []string // accounts that are new

	formerErr error // of devices from before the last change of the password
}

func (g *gate) AllowKnown(_ context.Context, account, lane string) error {
	g.asked = append(g.asked, account+" known "+lane)
	return g.err
}

func (g *gate) AllowDevice(_ context.Context, account, lane, address string) error {
	g.asked = append(g.asked, account+" known "+lane)
	if lane == former && g.formerErr != nil {
		return g.formerErr
	}
	return g.err
}

func (g *gate) Mark(_ context.Context, user string) error {
	g.marked = append(g.marked, user)
	return g.err
}

func (g *gate) AllowSignIn(_ context.Context, account, address string) error {
	g.asked = append(g.asked, account+"@"+address)
	return g.err
}

// AllowIn counts codes of second factors.
func (g *gate) AllowIn(_ context.Context, _, lane string) error {
	g.lanes = append(g.lanes, lane)
	g.codes++
	return g.codesErr
}

func (g *gate) AllowRegistration(_ context.Context, address string) error {
	g.asked = append(g.asked, "@"+address)
	return g.err
}

// unlimited lets everybody refresh.
type unlimited struct{}

func (unlimited) AllowFrom(context.Context, string) error { return nil }
func (unlimited) Allow(context.Context, string) error     { return nil }

// stamp issues tokens that say who.
type stamp struct{}

var expiry = time.Date(2026, 1, 31, 12, 15, 0, 0, time.UTC)

func (stamp) Issue(c im.Caller) (string, time.Time, error) {
	return strings.Join([]string{c.User, c.Session, c.Device, c.Platform}, "/"), expiry, nil
}

// street is where gateways are, and who is at them.
type street struct {
	t    testing.TB
	ring *event.Keyring

	mu     sync.Mutex // gateways are told at once
	told   []string   // "<url> <session>"
	marked []string
	noted  []string // of Told

	markErr, lookupErr, toErr, noteErr error
}

func newStreet(t testing.TB) (*street, *ender) {
	t.Helper()
	ring, err := event.ParseKeyring("k:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))))
	if err != nil {
		t.Fatal(err)
	}
	s := &street{t: t, ring: ring}
	return s, &ender{marks: s, told: s, conns: s, gateways: s, post: s.post, seal: ring, log: slog.New(slog.DiscardHandler)}
}

func (s *street) MarkEnded(_ context.Context, session string, ttl time.Duration) error {
	if ttl < time.Hour {
		s.t.Errorf("marked for %s", ttl)
	}
	s.marked = append(s.marked, session)
	return s.markErr
}

func (s *street) Told(_ context.Context, sessions []string) error {
	s.noted = append(s.noted, sessions...)
	return s.noteErr
}

func (s *street) Lookup(_ context.Context, users []string) (map[string][]im.Conn, error) {
	return map[string][]im.Conn{users[0]: {
		{ID: "1", Gateway: "one", Session: sess},
		{ID: "2", Gateway: "two", Session: "another"},
		{ID: "3", Gateway: "gone", Session: sess},
	}}, s.lookupErr
}

func (s *street) URLs(_ context.Context, ids []string) (map[string]string, error) {
	out := map[string]string{}
	for _, id := range ids {
		if id != "gone" {
			out[id] = "http://" + id
		}
	}
	return out, nil
}

func (s *street) post(_ context.Context, url string, events []event.Event) ([]fn.Result, error) {
	for _, e := range events {
		if err := s.ring.Verify(&e); err != nil || e.Type != event.SessionEnded {
			s.t.Errorf("%+v: %v", e, err)
		}
		s.mu.Lock()
		s.told = append(s.told, url+" "+string(e.Data))
		s.mu.Unlock()
	}
	return make([]fn.Result, len(events)), s.toErr
}
