package group

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/token"
)

var functions = []fn.Func{Create, List, Get, Update, Dissolve, Members, Invite, Remove, Leave, Role, Mute, JoinRequest, JoinRequests, JoinRespond}

// settings are of services that are not there.
func settings(t testing.TB) map[string]string {
	t.Helper()
	return fntest.Settings(t, map[string]string{"STRANGERS_ADDED_PER_HOUR": "1000000"})
}

func TestFunctionsStartWithoutTheirServicesButNotWithoutTheirSettings(t *testing.T) {
	vars := settings(t)
	if _, err := fn.Mount(t.Context(), imtest.Env(t, vars), functions...); err != nil {
		t.Error(err)
	}
	for _, f := range functions {
		needs := []string{"POSTGRES_URL", "REDIS_URL", "KAFKA_BROKERS", "SEAL_KEYS", "TOKEN_PUBLIC_KEYS"}
		if slices.Contains([]string{"group-list", "group-get", "group-members", "group-join-requests"}, f.Name) {
			needs = []string{"POSTGRES_URL", "REDIS_URL", "TOKEN_PUBLIC_KEYS"}
		}
		for _, need := range needs {
			vars := maps.Clone(vars)
			delete(vars, need)
			if _, err := fn.Mount(t.Context(), imtest.Env(t, vars), f); err == nil || !strings.Contains(err.Error(), need) {
				t.Errorf("%s without %s: %v", f.Name, need, err)
			}
		}
	}
}

// A town is functions on real services, and what they write to Kafka.
type town struct {
	t     *testing.T
	env   *proc.Env
	db    *pgtest.DB
	redis string
	url   string
	sign  *token.Issuer
	read  map[string]bool // ids of notices
}

func newTown(t *testing.T, funcs ...fn.Func) *town {
	t.Helper()
	vars := settings(t)
	vars["POSTGRES_URL"], vars["REDIS_URL"], vars["KAFKA_BROKERS"] = imtest.Migrated(t, postgres.Migrate), imtest.Redis(t), strings.Join(imtest.Kafka(t), ",")
	env := imtest.Env(t, vars)
	if err := kafka.EnsureTopics(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	db, err := pgtest.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	h, err := fn.Mount(t.Context(), env, funcs...)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	sign, err := token.OpenIssuer(env)
	if err != nil {
		t.Fatal(err)
	}
	return &town{t: t, env: env, db: db, redis: vars["REDIS_URL"], url: srv.URL, sign: sign, read: map[string]bool{}}
}

func (w *town) user(name string) string {
	w.t.Helper()
	id := im.NewID()
	if err := w.db.CreateUser(w.t.Context(), im.User{ID: id, Account: name, Name: strings.ToUpper(name)}, "-"); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// call calls a function as a user, wants a status, and reads the answer.
func (w *town) call(user, function string, status int, in map[string]any, out any) {
	w.t.Helper()
	w.callUnder("", user, function, status, in, out)
}

func (w *town) callUnder(key, user, function string, status int, in map[string]any, out any) {
	w.t.Helper()
	access, _, err := w.sign.Issue(im.Caller{User: user, Session: "s" + user[1:], Device: "phone", Platform: "ios", Proved: im.Now()})
	if err != nil {
		w.t.Fatal(err)
	}
	var header []string
	if key != "" {
		header = []string{fn.IdempotencyKey, key}
	}
	answer, err := fntest.Post(w.t.Context(), w.url+"/"+function, access, in, header...)
	if err != nil {
		w.t.Fatal(err)
	}
	if answer.Status != status {
		w.t.Fatalf("%s %v answers %d %s, want %d", function, in, answer.Status, answer.Body, status)
	}
	if out != nil {
		if err := json.Unmarshal(answer.Body, out); err != nil {
			w.t.Fatalf("%s answers %s: %v", function, answer.Body, err)
		}
	}
}

// tells wants these notices to be new in Kafka, in this order: "from type {data} recipients", with
// names in place of ids.
func (w *town) tells(group string, names map[string]string, want ...string) {
	w.t.Helper()
	var got []string
	err := kafka.Scan(w.t.Context(), w.env, event.TopicMessages, nil, func(rec kafka.Record) error {
		var a event.Accepted
		if err := json.Unmarshal(rec.Value, &a); err != nil {
			return err
		}
		if a.Message.Conversation != im.Group(group) || w.read[a.Message.ID] {
			return nil
		}
		w.read[a.Message.ID] = true
		if a.Message.Kind != im.KindNotice || rec.Header("ce_seal") == "" {
			w.t.Errorf("%+v is no sealed notice", a)
		}
		to := make([]string, len(a.Recipients))
		for i, u := range a.Recipients {
			to[i] = names[u]
		}
		slices.Sort(to)
		s := fmt.Sprintf("%s %s %s", a.Message.From, a.Message.Data, to)
		if a.Quiet {
			s += " quietly"
		}
		for id, name := range names {
			s = strings.ReplaceAll(s, id, name)
		}
		got = append(got, s)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTheLifeOfAGroup(t *testing.T) {
	w := newTown(t, functions...)
	ann, bob, cat, dan, eve := w.user("ann"), w.user("bob"), w.user("cat"), w.user("dan"), w.user("eve")
	names := map[string]string{ann: "ann", bob: "bob", cat: "cat", dan: "dan", eve: "eve"}

	// Made once, however often it is asked for; who is nobody is skipped.
	type in = map[string]any
	var made, again created
	nobody := im.NewID()
	making := in{"name": "Lunch", "about": "Every day", "policy": "approval", "members": []string{bob, nobody, bob, ann}}
	w.callUnder("k1", ann, "group-create", 200, making, &made)
	w.callUnder("k1", ann, "group-create", 200, making, &again)
	if err := w.forget(); err != nil {
		t.Fatal(err)
	}
	w.callUnder("k1", ann, "group-create", 200, making, &again) // it is known by its id
	if made.ID != again.ID || made.Members != 2 || made.Owner != ann ||
		made.Me.Role != im.RoleOwner || made.Conversation != im.Group(made.ID) || made.Version != 1 || !slices.Equal(made.Skipped, []string{nobody}) {
		t.Errorf("made %+v, again %+v", made, again)
	}
	g := made.ID
	w.tells(g, names, `ann {"type":"group.created","name":"Lunch","version":1} []`)

	// Asked, refused, asked again, let in.
	var s state
	var asking requestsPage
	for range 2 {
		w.call(cat, "group-join-request", 200, in{"group": g, "message": "may I"}, &s)
		if s.State != pending {
			t.Errorf("%+v", s)
		}
	}
	w.call(ann, "group-join-requests", 200, in{"group": g}, &asking)
	if len(asking.Requests) != 1 || asking.Requests[0].User.Account != "cat" || asking.Requests[0].Message != "may I" || asking.Requests[0].RequestedAt == 0 {
		t.Errorf("%+v", asking)
	}
	w.call(bob, "group-join-requests", 403, in{"group": g}, nil)
	w.call(ann, "group-join-respond", 200, in{"group": g, "user": cat, "accept": false}, &s)
	if s.State != refused {
		t.Errorf("%+v", s)
	}
	w.call(ann, "group-join-respond", 404, in{"group": g, "user": cat, "accept": true}, nil)
	w.call(cat, "group-join-request", 200, in{"group": g}, nil)
	w.call(ann, "group-join-respond", 200, in{"group": g, "user": cat, "accept": true}, &s)
	if s.State != joined {
		t.Errorf("%+v", s)
	}
	w.tells(g, names,
		`cat {"type":"group.join-requested","message":"may I","user":"cat"} [ann cat] quietly`,
		`ann {"type":"group.join-refused"} [ann cat] quietly`,
		`cat {"type":"group.join-requested","message":"","user":"cat"} [ann cat] quietly`,
		`ann {"type":"group.joined","users":["cat"],"version":2} []`)

	// Roles, muting, changing.
	w.call(ann, "group-role", 200, in{"group": g, "user": bob, "role": "admin"}, nil)
	w.call(bob, "group-mute", 200, in{"group": g, "user": cat, "until": "2099-01-02T03:04:05Z"}, nil)
	w.call(bob, "group-mute", 200, in{"group": g, "all": true}, nil)
	w.call(cat, "group-mute", 403, in{"group": g, "user": cat, "until": nil}, nil)
	w.call(bob, "group-update", 200, in{"group": g, "name": "Dinner", "policy": "open"}, nil)
	w.call(dan, "group-join-request", 200, in{"group": g}, &s)
	if s.State != joined {
		t.Errorf("%+v", s)
	}
	var got im.GroupInfo
	w.call(cat, "group-get", 200, in{"group": g}, &got)
	if got.Name != "Dinner" || got.About != "Every day" || !got.Muted || got.Members != 4 || got.Me.Role != im.RoleMember || got.Me.MutedUntil.String() != "2099-01-02T03:04:05.000000Z" {
		t.Errorf("%+v %+v", got, got.Me)
	}
	w.call(eve, "group-get", 200, in{"group": g}, &got)
	w.tells(g, names,
		`ann {"type":"group.role","role":"admin","user":"bob","version":3} []`,
		`bob {"type":"group.muted","until":"2099-01-02T03:04:05.000000Z","user":"cat","version":4} []`,
		`bob {"type":"group.muted","all":true,"version":5} []`,
		`bob {"type":"group.updated","name":"Dinner","policy":"open","version":6} []`,
		`dan {"type":"group.joined","users":["dan"],"version":7} []`)

	// Who there is, and what has changed of it.
	var page membersPage
	w.call(dan, "group-members", 200, in{"group": g, "since": 4}, &page)
	if len(page.Members) != 1 || page.Members[0].User.Name != "DAN" || page.Version != 7 {
		t.Errorf("%+v", page)
	}
	w.call(ann, "group-remove", 200, in{"group": g, "users": []string{cat}}, nil)
	w.call(dan, "group-leave", 200, in{"group": g}, nil)
	w.call(dan, "group-leave", 200, in{"group": g}, nil)
	w.call(dan, "group-members", 404, in{"group": g}, nil)
	page = membersPage{}
	w.call(ann, "group-members", 200, in{"group": g, "since": 7}, &page)
	if len(page.Members) != 0 || !slices.Equal(page.Removed, []string{cat, dan}) || page.Version != 9 {
		t.Errorf("%+v", page)
	}
	var added invited
	w.call(ann, "group-invite", 200, in{"group": g, "users": []string{cat, bob, nobody}}, &added)
	if !slices.Equal(added.Added, []string{cat}) || !slices.Equal(added.Skipped, []string{nobody}) {
		t.Errorf("%+v", added)
	}
	page = membersPage{}
	w.call(ann, "group-members", 200, in{"group": g, "since": 7}, &page)
	if len(page.Members) != 1 || page.Members[0].User.ID != cat || page.Members[0].MutedUntil == 0 || !slices.Equal(page.Removed, []string{dan}) {
		t.Errorf("who was muted and comes back: %+v", page)
	}
	w.tells(g, names,
		`ann {"type":"group.removed","users":["cat"],"version":8} [ann bob cat dan]`,
		`dan {"type":"group.left","user":"dan","version":9} [ann bob dan] quietly`, // all saw dan come
		`ann {"type":"group.joined","users":["cat"],"version":10} [] quietly`)

	// The owner hands over and goes; the other ends it.
	w.call(ann, "group-leave", 409, in{"group": g}, nil)
	w.call(ann, "group-role", 200, in{"group": g, "user": bob, "role": "owner"}, nil)
	w.call(ann, "group-leave", 200, in{"group": g}, nil)
	var mine groupPage
	w.call(ann, "group-list", 200, in{}, &mine)
	if len(mine.Groups) != 0 {
		t.Errorf("%+v", mine)
	}
	w.call(bob, "group-list", 200, in{}, &mine)
	if len(mine.Groups) != 1 || mine.Groups[0].Owner != bob || mine.Groups[0].Me.Role != im.RoleOwner {
		t.Errorf("%+v", mine)
	}
	w.call(cat, "group-dissolve", 403, in{"group": g}, nil)
	w.call(bob, "group-dissolve", 200, in{"group": g}, nil)
	w.tells(g, names,
		`ann {"type":"group.role","role":"owner","user":"bob","version":11} []`,
		`ann {"type":"group.left","user":"ann","version":12} [ann bob cat]`,
		`bob {"type":"group.dissolved","version":13} [bob cat]`)
	for _, user := range []string{bob, cat, eve} {
		w.call(user, "group-get", 404, in{"group": g}, nil)
		w.call(user, "group-members", 404, in{"group": g}, nil)
		w.call(user, "group-join-request", 404, in{"group": g}, nil)
		w.call(user, "group-dissolve", 404, in{"group": g}, nil)
	}
	// Its id never comes back, even if nobody remembers what was answered to
	// the key that it was made under.
	if err := w.forget(); err != nil {
		t.Fatal(err)
	}
	w.callUnder("k1", ann, "group-create", 404, making, nil)
	w.tells(g, names)
}

// forget empties Redis.
func (w *town) forget() error {
	opt, err := goredis.ParseURL(w.redis)
	if err != nil {
		return err
	}
	c := goredis.NewClient(opt)
	defer c.Close()
	return c.FlushAll(w.t.Context()).Err()
}
