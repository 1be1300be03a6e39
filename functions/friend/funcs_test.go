package friend

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
	"github.com/tidings-im/tidings/shared/token"
)

var all = []fn.Func{Request, Requests, Respond, List, Update, Delete, Block, Blocks}

// nowhere are settings of services that are not there.
func nowhere(t *testing.T) map[string]string {
	t.Helper()
	return fntest.Settings(t, map[string]string{
		"CALLS_PER_SECOND": "10000",
		"CALLS_BURST":      "10000",
	})
}

func TestFunctionsStartWithoutTheirServices(t *testing.T) {
	if _, err := fn.Mount(t.Context(), imtest.Env(t, nowhere(t)), all...); err != nil {
		t.Error(err)
	}
}

func TestFunctionsSayWhichSettingIsWrong(t *testing.T) {
	for _, f := range all {
		wrong := map[string]string{"POSTGRES_URL": "", "REDIS_URL": "", "TOKEN_PUBLIC_KEYS": ""}
		switch f.Name {
		case Request.Name:
			wrong["MAX_FRIENDS"], wrong["FRIEND_REQUEST_TTL"], wrong["FRIEND_REQUESTS_PER_HOUR"] = "0", "soon", "some"
		case Respond.Name:
			wrong["MAX_FRIENDS"], wrong["FRIEND_REQUEST_TTL"], wrong["KAFKA_BROKERS"] = "many", "soon", ""
		case Requests.Name:
			wrong["FRIEND_REQUEST_TTL"] = "-1h"
		case Update.Name, Delete.Name, Block.Name:
			wrong["KAFKA_BROKERS"], wrong["SEAL_KEYS"] = "", ""
		}
		for name, value := range wrong {
			vars := nowhere(t)
			vars[name] = value
			if _, err := fn.Mount(t.Context(), imtest.Env(t, vars), f); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s with %s=%q: %v", f.Name, name, value, err)
			}
		}
	}
}

// system is the functions on real services, with their users.
type system struct {
	env    *proc.Env
	db     *pgtest.DB
	url    string
	tokens *token.Issuer
	token  map[string]string // by user
}

func newSystem(t *testing.T, settings ...string) *system {
	t.Helper()
	vars := nowhere(t)
	for i := 0; i < len(settings); i += 2 {
		vars[settings[i]] = settings[i+1]
	}
	vars["POSTGRES_URL"], vars["REDIS_URL"], vars["KAFKA_BROKERS"] = imtest.Migrated(t, postgres.Migrate), imtest.Redis(t), strings.Join(imtest.Kafka(t), ",")
	s := &system{env: imtest.Env(t, vars), token: map[string]string{}}
	if err := kafka.EnsureTopics(t.Context(), s.env); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.db, err = pgtest.Open(t.Context(), s.env); err != nil {
		t.Fatal(err)
	}
	if s.tokens, err = token.OpenIssuer(s.env); err != nil {
		t.Fatal(err)
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

// user adds a user.
func (s *system) user(t *testing.T) string {
	t.Helper()
	id := im.NewID()
	if err := s.db.CreateUser(t.Context(), im.User{ID: id, Account: "u" + id, Name: "N" + id}, "-"); err != nil {
		t.Fatal(err)
	}
	access, _, err := s.tokens.Issue(im.Caller{User: id, Session: id, Device: "phone", Platform: "ios"})
	if err != nil {
		t.Fatal(err)
	}
	s.token[id] = access
	return id
}

// call calls a function as a user and returns its status and answer.
func (s *system) call(t *testing.T, user, function, in string) (status int, answer string) {
	t.Helper()
	a, err := fntest.Post(t.Context(), s.url+"/"+function, s.token[user], in)
	if err != nil {
		t.Fatal(err)
	}
	return a.Status, strings.TrimSpace(string(a.Body))
}

// expect calls a function that is to answer so.
func (s *system) expect(t *testing.T, user, function, in, answer string) {
	t.Helper()
	if status, got := s.call(t, user, function, in); status != 200 || got != answer {
		t.Fatalf("%s answers %d %s, want %s", function, status, got, answer)
	}
}

// refuse calls a function that is to answer with a status.
func (s *system) refuse(t *testing.T, user, function, in string, want int) {
	t.Helper()
	if status, got := s.call(t, user, function, in); status != want {
		t.Fatalf("%s answers %d %s, want %d", function, status, got, want)
	}
}

// ask calls a function and returns its answer.
func ask[T any](t *testing.T, s *system, user, function, in string) (out T) {
	t.Helper()
	status, got := s.call(t, user, function, in)
	if status != 200 {
		t.Fatalf("%s answers %d %s", function, status, got)
	}
	if err := json.Unmarshal([]byte(got), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// notices returns the notices of a conversation in the order of their times,
// once none waits to be published.
func (s *system) notices(t *testing.T, of im.Conversation) []event.Accepted {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		waiting, broken, err := s.db.Pending(ctx, 0, im.Pending{}, 1)
		if err != nil || len(broken) > 0 {
			t.Fatalf("waiting for notices: %v, %v", err, broken)
		}
		if len(waiting) == 0 {
			break
		}
	}
	var found []event.Accepted
	err := kafka.Scan(ctx, s.env, event.TopicMessages, nil, func(r kafka.Record) error {
		if im.Conversation(r.Key) != of {
			return nil
		}
		var a event.Accepted
		err := json.Unmarshal(r.Value, &a)
		found = append(found, a)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(found, func(a, b event.Accepted) int { return int(a.Message.Time - b.Message.Time) })
	return found
}

// Two ask, reject, ask each other, are friends, call each other names, block
// and part, on real services.
func TestTheLifeOfTwoFriends(t *testing.T) {
	s := newSystem(t)
	ann, bob := s.user(t), s.user(t)
	conversation := im.Direct(ann, bob)
	user := func(id string) string { return `{"user":"` + id + `"}` }
	cache, err := redis.Open(t.Context(), s.env)
	if err != nil {
		t.Fatal(err)
	}
	relations := cache.NewRelations(s.db)
	relation := func(want im.Relation) {
		t.Helper()
		pair := im.PairOf(ann, bob)
		got, err := relations.Relations(t.Context(), []im.Pair{pair})
		r := got[pair]
		r.Version = 0
		if err != nil || r != want {
			t.Fatalf("the two are %+v, %v; want %+v", got[pair], err, want)
		}
	}
	friends := func(of string, since int64, want string) int64 {
		t.Helper()
		page := ask[listPage](t, s, of, "friend-list", fmt.Sprintf(`{"since":%d}`, since))
		got := fmt.Sprintf("full: %v, removed: %v", page.Full, page.Removed)
		for _, f := range page.Friends {
			got += fmt.Sprintf(", %s (%s) %q", f.User.ID, f.User.Name, f.Remark)
		}
		if got != want {
			t.Fatalf("friends are %s, want %s", got, want)
		}
		return page.Version
	}
	relation(im.Relation{Exist: true})

	s.refuse(t, ann, "friend-request", user(ann), 400)
	s.refuse(t, ann, "friend-request", user(im.NewID()), 404)
	s.expect(t, ann, "friend-request", `{"user":"`+bob+`","message":"It is me","source":"search"}`, `{"state":"pending"}`)
	s.expect(t, ann, "friend-request", user(bob), `{"state":"pending"}`)
	for of, direction := range map[string]string{ann: "outgoing", bob: "incoming"} {
		page := ask[requestsPage](t, s, of, "friend-requests", `{"direction":"`+direction+`"}`)
		if len(page.Requests) != 1 || page.Next != "" || page.Requests[0].Message != "It is me" || page.Requests[0].Source != "search" || page.Requests[0].User.ID == of {
			t.Fatalf("%s are %+v", direction, page)
		}
	}
	s.expect(t, bob, "friend-requests", `{"direction":"outgoing"}`, `{"requests":[]}`)
	s.refuse(t, ann, "friend-respond", `{"user":"`+bob+`","accept":true}`, 404) // her own
	s.refuse(t, ann, "friend-respond", `{"user":"`+ann+`","accept":true}`, 400)
	s.expect(t, bob, "friend-respond", `{"user":"`+ann+`","accept":false}`, `{"state":"none"}`)
	s.expect(t, bob, "friend-requests", `{"direction":"incoming"}`, `{"requests":[]}`)
	s.expect(t, ann, "friend-requests", `{"direction":"outgoing"}`, `{"requests":[]}`)

	s.expect(t, ann, "friend-request", user(bob), `{"state":"pending"}`)
	relation(im.Relation{Exist: true})
	s.expect(t, bob, "friend-request", user(ann), `{"state":"friends"}`) // they cross
	relation(im.Relation{Exist: true, Friends: true})
	s.expect(t, bob, "friend-respond", `{"user":"`+ann+`","accept":true}`, `{"state":"friends"}`) // too late, and so
	s.expect(t, ann, "friend-requests", `{"direction":"outgoing"}`, `{"requests":[]}`)
	v := friends(ann, 0, "full: true, removed: [], "+bob+" (N"+bob+`) ""`)
	friends(bob, 0, "full: true, removed: [], "+ann+" (N"+ann+`) ""`)
	friends(ann, v, "full: false, removed: []")

	s.expect(t, ann, "friend-update", `{"user":"`+bob+`","remark":"Bobby"}`, `{}`)
	s.expect(t, ann, "friend-update", `{"user":"`+bob+`","remark":"Bobby"}`, `{}`)
	v = friends(ann, v, "full: false, removed: [], "+bob+" (N"+bob+`) "Bobby"`)
	friends(bob, 0, "full: true, removed: [], "+ann+" (N"+ann+`) ""`)

	s.expect(t, bob, "block-set", `{"user":"`+ann+`","blocked":true}`, `{}`)
	s.expect(t, bob, "block-set", `{"user":"`+ann+`","blocked":true}`, `{}`)
	relation(im.Relation{Exist: true, Friends: true, Blocked: true})
	page := ask[blocksPage](t, s, bob, "block-list", `{}`)
	if len(page.Blocks) != 1 || page.Blocks[0].User.ID != ann || page.Blocks[0].Since == 0 {
		t.Fatalf("blocked are %+v", page)
	}
	s.expect(t, ann, "block-list", `{}`, `{"blocks":[]}`)
	friends(ann, v, "full: false, removed: []")
	s.expect(t, bob, "block-set", `{"user":"`+ann+`","blocked":false}`, `{}`)
	s.expect(t, bob, "block-set", `{"user":"`+ann+`","blocked":false}`, `{}`)
	relation(im.Relation{Exist: true, Friends: true})

	s.expect(t, bob, "friend-delete", user(ann), `{}`)
	s.expect(t, ann, "friend-delete", user(bob), `{}`)
	relation(im.Relation{Exist: true})
	friends(ann, v, "full: false, removed: ["+bob+"]")
	friends(bob, 0, "full: true, removed: []")
	s.refuse(t, ann, "friend-update", `{"user":"`+bob+`","remark":"x"}`, 404)

	want := []struct {
		by, typ string
		to      []string
		quiet   bool
		data    map[string]any
	}{
		{ann, "friend.requested", []string{ann, bob}, true, map[string]any{"user": bob, "message": "It is me", "source": "search"}},
		{ann, "friend.requested", []string{ann, bob}, true, map[string]any{"user": bob, "message": "", "source": ""}},
		{bob, "friend.accepted", []string{ann, bob}, false, nil},
		{ann, "friend.updated", []string{ann}, true, map[string]any{"user": bob, "remark": "Bobby"}},
		{bob, "block.changed", []string{bob}, true, map[string]any{"user": ann, "blocked": true}},
		{bob, "block.changed", []string{bob}, true, map[string]any{"user": ann, "blocked": false}},
		{bob, "friend.deleted", []string{ann, bob}, true, nil},
	}
	got := s.notices(t, conversation)
	if len(got) != len(want) {
		t.Fatalf("%d notices, want %d", len(got), len(want))
	}
	for i, w := range want {
		n := got[i]
		var data map[string]any
		if err := json.Unmarshal(n.Message.Data, &data); err != nil {
			t.Fatal(err)
		}
		typ := data["type"]
		delete(data, "type")
		if at := data["requested_at"]; (at != nil) != (w.typ == "friend.requested") {
			t.Errorf("%s at %v", w.typ, at)
		}
		delete(data, "requested_at")
		slices.Sort(n.Recipients)
		slices.Sort(w.to)
		if typ != w.typ || n.Message.From != w.by || n.Quiet != w.quiet || !slices.Equal(n.Recipients, w.to) || fmt.Sprint(data) != fmt.Sprint(w.data) || n.Message.Kind != im.KindNotice {
			t.Errorf("notice %d is %v %v by %s to %v (quiet: %v), want %+v", i, typ, data, n.Message.From, n.Recipients, n.Quiet, w)
		}
	}
}

// Whatever a person does with regard to another, each answer and each notice
// is the same to the byte, whether or not the other has blocked them or takes
// no requests. Only names, ids of messages and times differ.
func TestP6ABlockedPersonLearnsNothing(t *testing.T) {
	s := newSystem(t)
	type step struct{ who, function, in string } // who is "me" or "other"; so are users in in
	const stop = "stop"                          // the other wants nothing of me from here on
	request := step{"me", "friend-request", `{"user":"other","message":"Hello","source":"card"}`}
	lists := []step{
		{"me", "friend-list", `{}`}, {"me", "friend-list", `{"since":1}`}, {"me", "friend-requests", `{"direction":"incoming"}`},
		{"me", "friend-requests", `{"direction":"outgoing"}`}, {"me", "block-list", `{}`},
	}
	meets := []step{{"me", "friend-request", `{"user":"other"}`}, {"other", "friend-respond", `{"user":"me","accept":true}`}}
	scenes := map[string][]step{
		"asks":      {{who: stop}, request, request, {"me", "friend-respond", `{"user":"other","accept":true}`}, {"me", "friend-delete", `{"user":"other"}`}, {"me", "friend-update", `{"user":"other","remark":"x"}`}},
		"has asked": {request, {who: stop}, request},
		"blocks":    {request, {who: stop}, {"me", "block-set", `{"user":"other","blocked":true}`}, request, {"me", "block-set", `{"user":"other","blocked":false}`}, request},
		"is asked":  {{"other", "friend-request", `{"user":"me","message":"Hello"}`}, {who: stop}},
		"asks back": {{"other", "friend-request", `{"user":"me"}`}, {who: stop}, request, request},
		"accepts":   {{"other", "friend-request", `{"user":"me"}`}, {who: stop}, {"me", "friend-respond", `{"user":"other","accept":true}`}},
		"rejects":   {{"other", "friend-request", `{"user":"me"}`}, {who: stop}, {"me", "friend-respond", `{"user":"other","accept":false}`}, request},
		"is a friend": append(meets, step{who: stop}, step{"me", "friend-update", `{"user":"other","remark":"x"}`}, request,
			step{"me", "friend-delete", `{"user":"other"}`}, step{"me", "friend-delete", `{"user":"other"}`}, request),
	}
	clock := regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`)
	play := func(t *testing.T, steps []step, stopping func(me, other string)) string {
		me, other := s.user(t), s.user(t)
		for me > other { // who comes first in the conversation is seen by anybody
			me, other = other, me
		}
		names := strings.NewReplacer(me, "me", other, "other")
		var seen strings.Builder
		for _, st := range steps {
			if st.who == stop {
				stopping(me, other)
				continue
			}
			who := map[string]string{"me": me, "other": other}
			in := strings.NewReplacer(`"me"`, `"`+me+`"`, `"other"`, `"`+other+`"`).Replace(st.in)
			status, answer := s.call(t, who[st.who], st.function, in)
			if st.who == "me" {
				fmt.Fprintln(&seen, st.function, status, answer)
			} else if status != 200 {
				t.Fatalf("%s answers the other %d %s", st.function, status, answer)
			}
		}
		for _, st := range lists {
			status, answer := s.call(t, me, st.function, st.in)
			fmt.Fprintln(&seen, st.function, status, answer)
		}
		for _, a := range s.notices(t, im.Direct(me, other)) {
			if slices.Contains(a.Recipients, me) {
				fmt.Fprintln(&seen, a.Message.From, a.Message.Kind, string(a.Message.Data), a.Quiet)
			}
		}
		return clock.ReplaceAllString(names.Replace(seen.String()), "then")
	}
	for name, steps := range scenes {
		t.Run(name, func(t *testing.T) {
			free := play(t, steps, func(me, other string) {})
			blocked := play(t, steps, func(me, other string) {
				s.expect(t, other, "block-set", `{"user":"`+me+`","blocked":true}`, `{}`)
			})
			if blocked != free {
				t.Errorf("who is blocked sees\n%s\nwho is not sees\n%s", blocked, free)
			}
			closed := play(t, steps, func(me, other string) {
				if _, err := s.db.UpdateUser(t.Context(), other, im.UserChange{FriendRequests: new(im.Nobody)}); err != nil {
					t.Fatal(err)
				}
			})
			if closed != free {
				t.Errorf("where no requests are taken one sees\n%s\nelsewhere\n%s", closed, free)
			}
		})
	}
}

// Who has blocked somebody, or takes no requests, is not told that they ask:
// not even when that has changed.
func TestWhoDoesNotWantToBeAskedIsNotTold(t *testing.T) {
	s := newSystem(t)
	for name, wants := range map[string]func(me, other string, stop bool){
		"blocked": func(me, other string, stop bool) {
			s.expect(t, other, "block-set", fmt.Sprintf(`{"user":%q,"blocked":%v}`, me, stop), `{}`)
		},
		"closed": func(me, other string, stop bool) {
			takes := im.Everyone
			if stop {
				takes = im.Nobody
			}
			if _, err := s.db.UpdateUser(t.Context(), other, im.UserChange{FriendRequests: &takes}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			me, other := s.user(t), s.user(t)
			nothing := func() {
				t.Helper()
				s.expect(t, other, "friend-requests", `{"direction":"incoming"}`, `{"requests":[]}`)
				s.refuse(t, other, "friend-respond", `{"user":"`+me+`","accept":true}`, 404)
				for _, a := range s.notices(t, im.Direct(me, other)) {
					if a.Message.From == me && slices.Contains(a.Recipients, other) {
						t.Errorf("told %s", a.Message.Data)
					}
				}
			}
			wants(me, other, true)
			s.expect(t, me, "friend-request", `{"user":"`+other+`"}`, `{"state":"pending"}`)
			nothing()
			wants(me, other, false)
			s.expect(t, me, "friend-request", `{"user":"`+other+`"}`, `{"state":"pending"}`)
			nothing()
			s.expect(t, other, "friend-request", `{"user":"`+me+`"}`, `{"state":"friends"}`) // wants it now
		})
	}
	t.Run("what was asked before the block", func(t *testing.T) {
		me, other := s.user(t), s.user(t)
		s.expect(t, me, "friend-request", `{"user":"`+other+`"}`, `{"state":"pending"}`)
		for _, blocked := range []bool{true, false} {
			s.expect(t, other, "block-set", fmt.Sprintf(`{"user":%q,"blocked":%v}`, me, blocked), `{}`)
			s.expect(t, other, "friend-requests", `{"direction":"incoming"}`, `{"requests":[]}`)
			s.refuse(t, other, "friend-respond", `{"user":"`+me+`","accept":true}`, 404)
		}
		s.refuse(t, other, "block-set", `{"user":"`+me+`"}`, 400)
	})
}

// Two who ask each other at once are friends, once, and are told so once.
func TestRequestsThatCrossInTheSameMomentMakeOneFriendship(t *testing.T) {
	s := newSystem(t)
	for range 8 {
		ann, bob := s.user(t), s.user(t)
		var both sync.WaitGroup
		var mu sync.Mutex
		var states []string
		for me, other := range map[string]string{ann: bob, bob: ann} {
			both.Go(func() {
				status, answer := s.call(t, me, "friend-request", `{"user":"`+other+`"}`)
				mu.Lock()
				defer mu.Unlock()
				states = append(states, fmt.Sprint(status, " ", answer))
			})
		}
		both.Wait()
		slices.Sort(states)
		if !slices.Equal(states, []string{`200 {"state":"friends"}`, `200 {"state":"pending"}`}) {
			t.Errorf("answers are %v", states)
		}
		var types []string
		for _, a := range s.notices(t, im.Direct(ann, bob)) {
			var n struct{ Type string }
			if err := json.Unmarshal(a.Message.Data, &n); err != nil {
				t.Fatal(err)
			}
			types = append(types, n.Type)
		}
		if !slices.Equal(types, []string{im.FriendRequested, im.FriendAccepted}) {
			t.Errorf("notices are %v", types)
		}
		for _, u := range []string{ann, bob} {
			if page := ask[listPage](t, s, u, "friend-list", `{}`); len(page.Friends) != 1 {
				t.Errorf("friends are %+v", page.Friends)
			}
		}
	}
}

func TestP7NobodyHasMoreFriendsThanMayBeHoweverManyComeAtOnce(t *testing.T) {
	s := newSystem(t, "MAX_FRIENDS", "3")
	me := s.user(t)
	var many sync.WaitGroup
	var friends atomic.Int32
	others := make([]string, 9)
	for i := range others {
		others[i] = s.user(t)
		s.expect(t, others[i], "friend-request", `{"user":"`+me+`"}`, `{"state":"pending"}`)
	}
	for _, other := range others {
		many.Go(func() {
			switch status, answer := s.call(t, me, "friend-respond", `{"user":"`+other+`","accept":true}`); status {
			case 200:
				friends.Add(1)
			case 409:
			default:
				t.Errorf("answered %d %s", status, answer)
			}
		})
	}
	many.Wait()
	page := ask[listPage](t, s, me, "friend-list", `{}`)
	if friends.Load() != 3 || len(page.Friends) != 3 || page.Version != 3 {
		t.Errorf("%d were accepted, friends are %+v", friends.Load(), page)
	}
	waiting := ask[requestsPage](t, s, me, "friend-requests", `{"direction":"incoming"}`)
	if len(waiting.Requests) != 6 {
		t.Errorf("%d requests wait, want the other 6", len(waiting.Requests))
	}
}

func TestP7NobodyAsksTooOften(t *testing.T) {
	s := newSystem(t, "FRIEND_REQUESTS_PER_HOUR", "2")
	me, other := s.user(t), s.user(t)
	for _, want := range []int{200, 200, 429} {
		s.refuse(t, me, "friend-request", `{"user":"`+other+`"}`, want)
	}
}
