package user

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/redis"
)

// settings are of services that are not there.
func settings(t *testing.T) map[string]string {
	t.Helper()
	return fntest.Settings(t, map[string]string{
		"INBOX_STORE":                 "postgres",
		"ONE_CONNECTION_PER_PLATFORM": "false",
	})
}

// all are the functions of the area.
var all = []fn.Func{Register, Login, Refresh, Logout, Get, Update, Search, ChangePassword, Sessions, Revoke, Delete, Sweep}

// a world is the functions of the area, on real services but for Kafka, with a
// gateway that holds the sockets of whoever connects.
type world struct {
	t        *testing.T
	url      string
	db       *pgtest.DB
	sql      *pgxpool.Pool
	box      *outbox.Outbox
	redis    *redis.Client
	presence *redis.Presence
	ended    chan event.Ended
}

func newWorld(t *testing.T, more map[string]string) *world {
	t.Helper()
	vars := settings(t)
	vars["POSTGRES_URL"], vars["REDIS_URL"] = imtest.Migrated(t, postgres.Migrate), imtest.Redis(t)
	maps.Copy(vars, more)
	env := imtest.Env(t, vars)
	h, err := fn.Mount(t.Context(), env, all...)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	w := &world{t: t, url: srv.URL, ended: make(chan event.Ended, 16)}
	gateway := httptest.NewServer(http.HandlerFunc(w.push))
	t.Cleanup(gateway.Close)
	var errs [5]error
	w.db, errs[0] = pgtest.Open(t.Context(), env)
	w.sql, errs[1] = pgxpool.New(t.Context(), vars["POSTGRES_URL"])
	w.box, errs[2] = outbox.Open(t.Context(), env)
	w.redis, errs[3] = redis.Open(t.Context(), env)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.sql.Close)
	if w.presence, err = w.redis.NewPresence(env, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := w.redis.RegisterGateway(t.Context(), "gw", gateway.URL, time.Minute); err != nil {
		t.Fatal(err)
	}
	return w
}

// push takes what a gateway is told.
func (w *world) push(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var events []event.Event
	if r.Header.Get("Content-Type") == event.Batch {
		events, err = event.ParseBatch(body)
	} else {
		events = []event.Event{{Type: r.Header.Get("Ce-Type"), Seal: r.Header.Get("Ce-Seal"), Data: body}}
	}
	if err != nil || r.URL.Path != "/push" {
		w.t.Errorf("%s %v: %v", r.URL, r.Header, err)
	}
	for _, e := range events {
		var ended event.Ended
		if err := json.Unmarshal(e.Data, &ended); err != nil || e.Type != event.SessionEnded || e.Seal == "" {
			w.t.Errorf("%+v: %v", e, err)
		}
		w.ended <- ended
	}
	rw.WriteHeader(http.StatusNoContent)
}

// callFrom calls a function as a gateway does for somebody at a network address,
// and returns the status.
func (w *world) callFrom(address, function string, in, out any) (status int) {
	w.t.Helper()
	answer := fntest.PostFrom(w.t, w.url, settings(w.t)["SEAL_KEYS"], address, function, in)
	if out != nil {
		if err := json.Unmarshal(answer.Body, out); err != nil {
			w.t.Fatal(err)
		}
	}
	return answer.Status
}

// call calls a function that is to answer with a status.
func (w *world) call(function, token string, status int, in, out any) {
	w.t.Helper()
	answer, err := fntest.Post(w.t.Context(), w.url+"/"+function, token, in)
	if err != nil {
		w.t.Fatal(err)
	}
	if answer.Status != status {
		w.t.Fatalf("%s answers %d %s, want %d", function, answer.Status, answer.Body, status)
	}
	if status == http.StatusTooManyRequests && answer.Header.Get("Retry-After") == "" {
		w.t.Errorf("%s does not say when to try again", function)
	}
	if out != nil {
		if err := json.Unmarshal(answer.Body, out); err != nil {
			w.t.Fatal(err)
		}
	}
}

// join registers and signs in.
func (w *world) join(account string, devices ...string) (in []signedIn) {
	w.t.Helper()
	w.call("user-register", "", 200, registration{account, "", "correct horse"}, nil)
	for _, d := range devices {
		var s signedIn
		w.call("user-login", "", 200, credentials{Account: account, Password: "correct horse", Device: d, Platform: "ios"}, &s)
		in = append(in, s)
	}
	return in
}

func (w *world) connect(sessions ...signedIn) {
	w.t.Helper()
	for _, s := range sessions {
		c := im.Conn{ID: im.NewID(), User: s.User.ID, Gateway: "gw", Device: s.Session, Platform: "ios", Session: s.Session}
		if _, _, err := w.presence.Connect(w.t.Context(), c); err != nil {
			w.t.Fatal(err)
		}
	}
}

// hasEnded reports it unless the gateway was told why, and everybody knows, that
// sessions have ended, and nothing more can be had by them.
func (w *world) hasEnded(why frame.Close, sessions ...signedIn) {
	w.t.Helper()
	ids := map[string]bool{}
	for range sessions {
		select {
		case e := <-w.ended:
			ids[e.Session] = true
			if e.Reason != why.Reason {
				w.t.Errorf("the gateway is told %+v", e)
			}
		case <-time.After(imtest.Patience(w.t)):
			w.t.Fatalf("the gateway is told of %v alone", ids)
		}
	}
	for _, s := range sessions {
		if got, err := w.redis.Ended(w.t.Context(), []string{s.Session}); err != nil || !got[s.Session] || !ids[s.Session] {
			w.t.Errorf("%s is not known to have ended: %v, the gateway was told of %v", s.Session, err, ids)
		}
		w.call("token-refresh", "", 401, refreshRequest{s.RefreshToken}, nil)
		w.call("user-get", s.AccessToken, 401, getRequest{"me"}, nil)
	}
	w.none(`SELECT count(*) FROM sessions WHERE ended IS NOT NULL AND NOT told`)
}

// none reports it unless a query counts nothing.
func (w *world) none(query string, args ...any) {
	w.t.Helper()
	var n int
	if err := w.sql.QueryRow(w.t.Context(), query, args...).Scan(&n); err != nil || n != 0 {
		w.t.Errorf("%s: %d, %v", query, n, err)
	}
}

// A user registers, signs in, searches, refreshes, has a token stolen and signs
// out.
func TestTheLifeOfASession(t *testing.T) {
	w := newWorld(t, map[string]string{"SIGN_INS_PER_MINUTE": "4", "REFRESH_GRACE": "0"})
	var u im.User
	w.call("user-register", "", 200, registration{"Ann", "", "correct horse"}, &u)
	w.call("user-register", "", 409, registration{"ann", "", "correct horse"}, nil)
	w.call("user-register", "", 400, map[string]string{"acount": "bob", "password": "correct horse"}, nil)

	in := credentials{Account: "ann", Password: "correct horse", Device: "phone", Platform: "ios"}
	var first, second signedIn
	w.call("user-login", "", 401, credentials{Account: "ann", Password: "wrong horse", Device: "phone", Platform: "ios"}, nil)
	w.call("user-login", "", 200, in, &first)
	w.connect(first)
	var list found
	w.call("user-search", first.AccessToken, 200, searchRequest{Account: "ann"}, &list)
	if len(list.Users) != 1 || list.Users[0] != (im.Profile{ID: u.ID, Account: u.Account, Name: u.Name}) || first.User != u {
		t.Errorf("found %+v, signed in %+v, registered %+v", list, first.User, u)
	}
	w.call("user-search", "", 401, searchRequest{Account: "ann"}, nil)
	w.call("user-logout", "x.y.z", 401, nothing{}, nil)

	var next issued
	w.call("token-refresh", "", 200, refreshRequest{first.RefreshToken}, &next)
	w.call("token-refresh", "", 401, refreshRequest{first.RefreshToken}, nil) // stolen
	first.RefreshToken = next.RefreshToken
	w.hasEnded(frame.CloseRevoked, first)

	w.call("user-login", "", 200, in, &second)
	w.connect(second)
	w.call("user-logout", second.AccessToken, 200, nothing{}, nil)
	w.hasEnded(frame.CloseSignedOut, second)

	w.call("user-login", "", 200, in, nil)
	w.call("user-login", "", 429, in, nil) // the fifth in a minute
}

// Strangers guess at a password from everywhere. Its owner signs in on a device
// that was signed in before, changes the password and goes on; on another device
// they have to wait.
func TestP7StrangersWhoGuessDoNotLockTheOwnerOut(t *testing.T) {
	w := newWorld(t, map[string]string{"SIGN_INS_PER_MINUTE": "2"})
	w.call("user-register", "", 200, registration{"ann", "", "correct horse"}, nil)
	in := credentials{Account: "ann", Password: "correct horse", Device: "phone", Platform: "ios"}
	var first, again, other signedIn
	if status := w.callFrom("192.0.2.1", "user-login", in, &first); status != 200 {
		t.Fatal(status)
	}
	guess := in
	guess.Password = "correct house"
	for i, status := 0, 0; status != 429; i++ {
		if status = w.callFrom(fmt.Sprint("198.51.100.", i), "user-login", guess, nil); status != 401 && status != 429 || i > 40 {
			t.Fatalf("guess %d: %d", i, status)
		}
	}
	if status := w.callFrom("192.0.2.2", "user-login", in, nil); status != 429 {
		t.Errorf("a device that nobody knows: %d", status)
	}
	in.Proof = first.Proof
	if status := w.callFrom("198.51.100.0", "user-login", in, &again); status != 200 { // though it is at the address of one who guessed
		t.Fatalf("a device that was signed in: %d", status)
	}
	w.call("password-change", again.AccessToken, 200, passwordRequest{Old: "correct horse", New: "battery staple"}, nil)
	in.Password = "battery staple"
	if status := w.callFrom("192.0.2.1", "user-login", in, &other); status != 200 {
		t.Errorf("after another password: %d", status)
	}
}

// New tokens are had so often of a session, and while nobody counts.
func TestP7ASessionGetsNewTokensOnlySoOften(t *testing.T) {
	w := newWorld(t, map[string]string{"REFRESHES_PER_MINUTE": "3", "SIGN_INS_PER_MINUTE": "60"})
	s := w.join("ann", "phone", "desk")
	token := s[0].RefreshToken
	for range 3 {
		var next issued
		w.call("token-refresh", "", 200, refreshRequest{token}, &next)
		token = next.RefreshToken
	}
	w.call("token-refresh", "", 429, refreshRequest{token}, nil)
	w.call("token-refresh", "", 200, refreshRequest{s[1].RefreshToken}, nil) // of another session
	for range 200 {                                                          // it is at its address that these count
		if w.callFrom("192.0.2.1", "token-refresh", refreshRequest{strings.Repeat("A", 43)}, nil) == 429 {
			return
		}
	}
	t.Error("tokens that are none are tried without end")
}

// A user says who they are, is found as they allow it, changes the password,
// signs devices out and is deleted; their account is taken by another.
func TestTheLifeOfAUser(t *testing.T) {
	w := newWorld(t, map[string]string{"SIGN_INS_PER_MINUTE": "60", "SEARCHES_PER_MINUTE": "6", "ACCOUNT_HOLD": "0"})
	ctx := t.Context()
	ann, bob := w.join("ann", "phone", "desk", "old"), w.join("bob", "phone")[0]
	phone, desk := ann[0], ann[1]
	id := phone.User.ID
	w.connect(ann...)

	var self im.Self
	w.call("user-update", phone.AccessToken, 200, map[string]any{"bio": "Hi", "email": "Ann@Example.org", "phone": "+49 30 901820"}, &self)
	if self.Email != "ann@example.org" || self.Phone != "+4930901820" || self.Settings.Presence != im.Friends {
		t.Errorf("%+v", self)
	}
	search := func(by searchRequest, want int) {
		t.Helper()
		var list found
		w.call("user-search", bob.AccessToken, 200, by, &list)
		if len(list.Users) != want || want > 0 && list.Users[0] != self.Profile {
			t.Errorf("%+v finds %+v", by, list.Users)
		}
	}
	search(searchRequest{Email: "ann@example.org"}, 0) // she has not allowed it
	w.call("user-update", phone.AccessToken, 200, map[string]any{"settings": map[string]any{"find_by_email": true, "find_by_phone": true}}, nil)
	search(searchRequest{Email: "ANN@example.org"}, 1)
	search(searchRequest{Phone: "+4930901820"}, 1)
	var seen map[string]any
	w.call("user-get", bob.AccessToken, 200, getRequest{id}, &seen)
	if len(seen) != 4 || seen["bio"] != "Hi" {
		t.Errorf("others see %v", seen)
	}

	w.call("password-change", phone.AccessToken, 403, passwordRequest{Old: "wrong horse", New: "battery staple"}, nil)
	old := phone
	w.call("password-change", phone.AccessToken, 200, passwordRequest{Old: "correct horse", New: "battery staple"}, &phone.issued)
	w.hasEnded(frame.CloseRevoked, old, desk, ann[2])
	w.connect(phone)
	w.call("user-login", "", 401, credentials{Account: "ann", Password: "correct horse", Device: "desk", Platform: "web"}, nil)
	w.call("user-login", "", 200, credentials{Account: "ann", Password: "battery staple", Device: "desk", Platform: "web"}, &desk)
	w.connect(desk)
	var list sessionList
	w.call("session-list", phone.AccessToken, 200, nothing{}, &list)
	if len(list.Sessions) != 2 || list.Sessions[0].ID != desk.Session || list.Sessions[0].Current || !list.Sessions[1].Current {
		t.Errorf("%+v", list)
	}
	w.call("session-revoke", bob.AccessToken, 404, revokeRequest{desk.Session}, nil)
	w.call("session-revoke", phone.AccessToken, 200, revokeRequest{desk.Session}, nil)
	w.hasEnded(frame.CloseRevoked, desk)

	group := im.NewID()
	if err := w.box.Change(ctx, func(ctx context.Context, in *postgres.Tx) error {
		tx := pgtest.TxOf(in)
		if _, err := tx.LockPair(ctx, id, bob.User.ID); err != nil {
			return err
		}
		_, _, err := tx.Befriend(ctx, id, bob.User.ID)
		if err != nil {
			return err
		}
		_, err = tx.CreateGroup(ctx, im.GroupInfo{ID: group, Name: "G", Owner: id, Policy: im.PolicyInvite, Created: im.Now()}, []string{bob.User.ID})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.db.Inbox().Insert(ctx, []im.Entry{{User: id, Seq: 1, ID: im.NewMessageID(im.Now()), Message: []byte("{}"), Conversation: im.Group(group)}}); err != nil {
		t.Fatal(err)
	}
	if err := w.redis.RaiseHeads(ctx, map[string]int64{id: 1}); err != nil {
		t.Fatal(err)
	}
	w.call("user-delete", phone.AccessToken, 403, deleteRequest{Password: "wrong horse"}, nil)
	w.call("user-delete", phone.AccessToken, 200, deleteRequest{Password: "battery staple"}, nil)
	w.hasEnded(frame.CloseDeleted, phone)
	w.call("user-login", "", 401, credentials{Account: "ann", Password: "battery staple", Device: "desk", Platform: "web"}, nil)
	for _, by := range []searchRequest{{Account: "ann"}, {Email: "ann@example.org"}, {Phone: "+4930901820"}} {
		search(by, 0)
	}
	w.call("user-search", bob.AccessToken, 429, searchRequest{Account: "ann"}, nil) // the seventh in a minute
	clear(seen)
	w.call("user-get", bob.AccessToken, 200, getRequest{id}, &seen)
	if len(seen) != 4 || seen["deleted"] != true || seen["account"] != "" || seen["name"] != "" {
		t.Errorf("others see %v of who was deleted", seen)
	}
	for _, table := range []string{"inbox", "sessions", "friendships", "group_members"} {
		w.none(`SELECT count(*) FROM `+table+` WHERE user_id = $1`, id)
	}
	if heads, err := w.redis.Heads(ctx, []string{id}); err != nil || len(heads) > 0 {
		t.Errorf("heads %v, %v", heads, err)
	}
	rows, err := w.sql.Query(ctx, `SELECT notice::jsonb->>'type' FROM outbox ORDER BY 1`) // Kafka is not there to take them
	if err != nil {
		t.Fatal(err)
	}
	if told, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || !slices.Equal(told, []string{im.FriendDeleted, im.GroupLeft, im.GroupRole}) {
		t.Errorf("told %q, %v", told, err)
	}

	var other im.User
	w.call("user-register", "", 200, registration{"ann", "", "correct horse"}, &other)
	if other.ID == id {
		t.Error("an id comes back")
	}
	// What strays into the inbox meanwhile is gone an hour later.
	if _, err := w.db.Inbox().Insert(ctx, []im.Entry{{User: id, Seq: 2, ID: im.NewMessageID(im.Now()), Message: []byte("{}"), Conversation: im.Group(group)}}); err != nil {
		t.Fatal(err)
	}
	w.call("session-sweep", "", 204, nothing{}, nil)
	if left, err := w.db.Inbox().After(ctx, id, 0, 9); err != nil || len(left) != 1 {
		t.Errorf("%d entries before the time has come, %v", len(left), err)
	}
	if _, err := w.sql.Exec(ctx, `UPDATE erasures SET due = due - interval '1 hour'`); err != nil {
		t.Fatal(err)
	}
	w.call("session-sweep", "", 204, nothing{}, nil)
	w.none(`SELECT count(*) FROM inbox WHERE user_id = $1`, id)
	w.none(`SELECT count(*) FROM erasures`)
}

// Friends who share groups are deleted at once: they wait for each other, and
// all are deleted.
func TestFriendsAreDeletedAtOnce(t *testing.T) {
	w := newWorld(t, map[string]string{"SIGN_INS_PER_MINUTE": "60"})
	var in []signedIn
	var ids []string
	for _, account := range []string{"ann", "bob", "cyd"} {
		in = append(in, w.join(account, "phone")...)
		ids = append(ids, in[len(in)-1].User.ID)
	}
	change := func(f func(context.Context, *pgtest.Tx) error) {
		t.Helper()
		if err := w.box.Change(t.Context(), func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, pgtest.TxOf(tx)) }); err != nil {
			t.Fatal(err)
		}
	}
	for i, a := range ids {
		b, c := ids[(i+1)%len(ids)], ids[(i+2)%len(ids)]
		change(func(ctx context.Context, tx *pgtest.Tx) error {
			_, err := tx.LockPair(ctx, a, b)
			_, _, befriendErr := tx.Befriend(ctx, a, b)
			_, groupErr := tx.CreateGroup(ctx, im.GroupInfo{ID: im.NewID(), Name: "G", Owner: a, Policy: im.PolicyInvite, Created: im.Now()}, []string{b, c})
			return errors.Join(err, befriendErr, groupErr)
		})
	}
	var deleting sync.WaitGroup
	for _, s := range in {
		deleting.Go(func() {
			if answer, err := fntest.Post(t.Context(), w.url+"/user-delete", s.AccessToken, deleteRequest{Password: "correct horse"}); err != nil || answer.Status != 200 {
				t.Errorf("%d %s, %v", answer.Status, answer.Body, err)
			}
		})
	}
	deleting.Wait()
	for _, table := range []string{"friendships", "group_members", "friend_requests", "blocks"} {
		w.none(`SELECT count(*) FROM ` + table)
	}
	w.none(`SELECT count(*) FROM users WHERE deleted IS NULL`)
	w.none(`SELECT count(*) FROM groups WHERE dissolved IS NULL`)
}

func TestFunctionsStartWithoutTheirServicesButNotWithoutTheirSettings(t *testing.T) {
	vars := settings(t)
	if _, err := fn.Mount(t.Context(), imtest.Env(t, vars), all...); err != nil {
		t.Error(err)
	}
	for f, needs := range map[*fn.Func][]string{
		&Register: {"POSTGRES_URL"},
		&Login:    {"POSTGRES_URL", "REDIS_URL", "TOKEN_PRIVATE_KEY"},
		&Refresh:  {"POSTGRES_URL", "REDIS_URL", "TOKEN_PRIVATE_KEY", "SEAL_KEYS"},
		&Logout:   {"POSTGRES_URL", "REDIS_URL", "TOKEN_PUBLIC_KEYS", "SEAL_KEYS"},

		&Get:            {"POSTGRES_URL", "TOKEN_PUBLIC_KEYS"},
		&Update:         {"POSTGRES_URL", "TOKEN_PUBLIC_KEYS"},
		&Search:         {"POSTGRES_URL", "REDIS_URL", "TOKEN_PUBLIC_KEYS"},
		&ChangePassword: {"POSTGRES_URL", "REDIS_URL", "TOKEN_PUBLIC_KEYS", "SEAL_KEYS"},
		&Sessions:       {"POSTGRES_URL", "TOKEN_PUBLIC_KEYS"},
		&Revoke:         {"POSTGRES_URL", "REDIS_URL", "TOKEN_PUBLIC_KEYS", "SEAL_KEYS"},
		&Delete:         {"POSTGRES_URL", "REDIS_URL", "KAFKA_BROKERS", "TOKEN_PUBLIC_KEYS", "SEAL_KEYS"},
		&Sweep:          {"POSTGRES_URL", "REDIS_URL", "SEAL_KEYS"},
	} {
		for _, need := range needs {
			vars := maps.Clone(vars)
			delete(vars, need)
			_, err := fn.Mount(t.Context(), imtest.Env(t, vars), *f)
			if err == nil || !strings.Contains(err.Error(), need) {
				t.Errorf("%s without %s: %v", f.Name, need, err)
			}
		}
	}
}
