package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// What the predecessor of Tidings let anybody do, tried through the front door.

func TestP6NobodyActsUnderAnothersID(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, bob, eve := d.signUp("ann"), d.signUp("bob"), d.signUp("eve")
	c, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	// No operation has a field by which a caller could say who they are.
	for _, op := range c.operations {
		if op.body == nil {
			continue
		}
		for _, field := range []string{"from", "sender", "user_id", "userId", "caller", "owner", "send_id", "session_id"} {
			body := request{field: ann.ID}
			for name, v := range op.body.example.(map[string]any) {
				body[name] = v
			}
			path := strings.NewReplacer("{user}", bob.ID, "{group}", im.NewID(), "{conversation}", string(im.Direct(ann.ID, bob.ID)),
				"{message}", im.NewMessageID(im.Now()), "{file}", im.NewID(), "{bot}", im.NewID(), "{webhook}", im.NewID(), "{token}", im.NewID(), "{provider}", "github").Replace(strings.Join(op.path, "/"))
			eve.refused(op.id+" with "+field, op.method, path, body, http.StatusBadRequest)
		}
	}
	// Nor does a header say it, or the socket.
	status, answer := eve.try("POST", "/v1/messages", request{"to": "u:" + bob.ID, "text": "it is me"}, "X-User-Id", ann.ID, "X-Forwarded-User", ann.ID, "Ce-Subject", ann.ID)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	if m := bob.gets("a message", func(m im.Message) bool { return m.Text == "it is me" }); m.From != eve.ID {
		t.Errorf("a message of eve is from %s", m.From)
	}
	s := dial(t, d.url, client.Tokens{AccessToken: eve.Access})
	s.say(fmt.Sprintf(`{"type":"send","id":"forged","to":"u:%s","text":"it is me again","from":%q,"user":%q}`, bob.ID, ann.ID, ann.ID))
	if got := s.next(frame.Accepted, frame.Refused, frame.Error); got.Type == frame.Accepted {
		if m := bob.gets("a message", func(m im.Message) bool { return m.Text == "it is me again" }); m.From != eve.ID {
			t.Errorf("on the socket a message of eve is from %s", m.From)
		}
	}
	s.say(fmt.Sprintf(`{"type":"send","id":"theirs","to":"%s","text":"between you"}`, im.Direct(ann.ID, bob.ID)))
	if got := s.next(frame.Accepted, frame.Refused, frame.Error); got.Type != frame.Refused || got.Kind != im.Denied {
		t.Errorf("into a conversation of others: %+v", got)
	}
}

func TestP6NobodyEditsAnothersProfile(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, eve := d.signUp("ann"), d.signUp("eve")
	ann.must("PATCH", "/v1/users/me", request{"name": "Ann", "email": "ann@example.org", "phone": "+4930123456", "bio": "I am Ann"})
	mine := ann.must("GET", "/v1/users/me", nil)
	nobody := visitor{door: d}
	nobody.refused("without a token", "PATCH", "/v1/users/me", request{"name": "Eve"}, http.StatusUnauthorized)
	nobody.refused("without a token", "GET", "/v1/users/"+ann.ID, nil, http.StatusUnauthorized)
	eve.refused("by path", "PATCH", "/v1/users/"+ann.ID, request{"name": "Eve"}, http.StatusMethodNotAllowed)
	eve.refused("by path", "PUT", "/v1/users/"+ann.ID, request{"name": "Eve"}, http.StatusMethodNotAllowed)
	eve.refused("by path", "DELETE", "/v1/users/"+ann.ID, request{"password": rightPassword}, http.StatusMethodNotAllowed)
	for _, field := range []string{"id", "user", "account", "password", "deleted", "created"} {
		eve.refused("by "+field, "PATCH", "/v1/users/me", request{"name": "Eve", field: ann.ID}, http.StatusBadRequest)
	}
	eve.refused("by the query", "PATCH", "/v1/users/me?user="+ann.ID, request{"name": "Eve"}, http.StatusBadRequest)
	if now := ann.must("GET", "/v1/users/me", nil); now != mine {
		t.Errorf("ann is %s, and was %s", now, mine)
	}
	// What others see of her is what she shows.
	seen := eve.must("GET", "/v1/users/"+ann.ID, nil)
	for _, secret := range []string{"example.org", "+49", "settings", "password", "created"} {
		if strings.Contains(seen, secret) {
			t.Errorf("others see %s", seen)
		}
	}
}

func TestP6NobodyAcceptsTheirOwnRequest(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, bob, eve := d.signUp("ann"), d.signUp("bob"), d.signUp("eve")
	respond := func(to visitor) string { return "/v1/friends/requests/" + to.ID + "/response" }
	accept := request{"accept": true}
	strangers := func(when string) {
		t.Helper()
		for _, v := range []visitor{ann, bob, eve} {
			if got := v.must("GET", "/v1/friends", nil); !strings.Contains(got, `"friends":[]`) {
				t.Errorf("%s %s has %s", when, v.Account, got)
			}
		}
	}
	ask := func() { t.Helper(); ann.must("POST", "/v1/friends/requests", request{"user": bob.ID}) }
	ask()
	ann.refused("one's own request", "POST", respond(bob), accept, http.StatusNotFound)
	ann.refused("of oneself", "POST", respond(ann), accept, http.StatusBadRequest)
	ann.refused("one's own request, for bob", "POST", respond(bob), request{"accept": true, "as": bob.ID}, http.StatusBadRequest)
	eve.refused("a request to another", "POST", respond(ann), accept, http.StatusNotFound)
	eve.refused("a request to another", "POST", respond(bob), accept, http.StatusNotFound)
	strangers("after accepting what was not asked of one")

	bob.must("POST", respond(ann), request{"accept": false})
	bob.refused("what was rejected", "POST", respond(ann), accept, http.StatusNotFound)
	strangers("after a rejection")

	ask()
	bob.must("POST", respond(ann), accept)
	ann.must("DELETE", "/v1/friends/"+bob.ID, nil)
	bob.refused("what was accepted and ended", "POST", respond(ann), accept, http.StatusNotFound)
	ann.refused("what was accepted and ended", "POST", respond(bob), accept, http.StatusNotFound)
	strangers("after the end of the friendship")
}

func TestP6NobodyIsRemovedByWhoMayNotNorIsItAnnounced(t *testing.T) {
	t.Parallel()
	direct := mountAll(t)
	stores := openStores(t, direct.vars)
	d := &door{t, front(t, direct.vars, direct.url)}
	owner, admin, second, member, victim, eve := d.signUp("owner"), d.signUp("admin"), d.signUp("second"), d.signUp("member"), d.signUp("victim"), d.signUp("eve")
	g := owner.group("invite", admin, second, member, victim)
	for _, v := range []visitor{admin, second} {
		owner.must("PUT", "/v1/groups/"+g+"/members/"+v.ID+"/role", request{"role": "admin"})
	}
	victim.must("POST", "/v1/messages", request{"to": "g:" + g, "text": "I am here"}) // now caches know of it
	stores.keep()
	before := stores.notices()

	members := "/v1/groups/" + g + "/members"
	of := func(who ...visitor) request {
		var ids []string
		for _, v := range who {
			ids = append(ids, v.ID)
		}
		return request{"users": ids}
	}
	member.refused("a member by a member", "DELETE", members, of(victim), http.StatusForbidden)
	eve.refused("a member by a stranger", "DELETE", members, of(victim), http.StatusNotFound)
	admin.refused("the owner by an admin", "DELETE", members, of(owner), http.StatusForbidden)
	admin.refused("an admin by an admin", "DELETE", members, of(second), http.StatusForbidden)
	admin.refused("a member and the owner by an admin", "DELETE", members, of(victim, owner), http.StatusForbidden)
	member.refused("another, as if they left", "DELETE", members+"/"+victim.ID, nil, http.StatusNotFound, http.StatusMethodNotAllowed)
	member.refused("another, as if they left", "DELETE", members+"/me", request{"user": victim.ID}, http.StatusBadRequest)
	member.refused("another, as if they left", "DELETE", members+"/me?user="+victim.ID, nil, http.StatusBadRequest)
	member.refused("all, by dissolving", "DELETE", "/v1/groups/"+g, nil, http.StatusForbidden)
	eve.refused("by changing the group", "PATCH", "/v1/groups/"+g, request{"name": "Eve's"}, http.StatusNotFound)
	eve.refused("by becoming the owner", "PUT", members+"/"+eve.ID+"/role", request{"role": "owner"}, http.StatusNotFound)
	member.refused("by becoming the owner", "PUT", members+"/"+member.ID+"/role", request{"role": "owner"}, http.StatusForbidden)
	owner.refused("the owner by leaving", "DELETE", members+"/me", nil, http.StatusConflict)

	if changed := stores.changed(); len(changed) > 0 {
		t.Errorf("what was refused has changed %v", changed)
	}
	if stores.notices() != before {
		t.Error("what was refused was announced")
	}
	for _, v := range []visitor{owner, admin, second, member, victim} { // no cache has put anybody out
		v.must("POST", "/v1/messages", request{"to": "g:" + g, "text": "still here"})
	}
}

func TestP6NobodyDeletesFromAnothersInbox(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, bob, eve := d.signUp("ann"), d.signUp("bob"), d.signUp("eve")
	first, second := ann.tell(bob, "first"), ann.tell(bob, "second")
	at := "/v1/conversations/" + string(first.Conversation) + "/messages"
	eve.refused("of others", "DELETE", at, request{"messages": []string{first.ID}}, http.StatusForbidden)
	eve.refused("of others, in a conversation of one's own", "DELETE", "/v1/conversations/"+string(im.Direct(eve.ID, bob.ID))+"/messages",
		request{"messages": []string{first.ID}}, http.StatusNotFound, http.StatusServiceUnavailable) // one so new may be on its way
	eve.refused("of others, by recalling", "POST", at+"/"+first.ID+"/recall", nil, http.StatusForbidden)
	bob.refused("of who said it, by recalling", "POST", at+"/"+first.ID+"/recall", nil, http.StatusForbidden)
	bob.refused("of who said it, by editing", "PATCH", at+"/"+first.ID, request{"text": "never said"}, http.StatusForbidden)

	// Whoever may delete a message deletes it for themselves.
	bob.must("DELETE", at, request{"messages": []string{first.ID}})
	bob.gets("word of the deletion", notice(im.MessageDeleted))
	if m := bob.gets("the stub", func(m im.Message) bool { return m.ID == first.ID }); m.Kind != im.KindDeleted || m.Text != "" {
		t.Errorf("bob has %+v", m)
	}
	third := ann.tell(bob, "third") // whatever was to come to ann has come
	for id, text := range map[string]string{first.ID: "first", second.ID: "second", third.ID: "third"} {
		if m := ann.gets(text, func(m im.Message) bool { return m.ID == id }); m.Text != text || m.Kind != im.KindText {
			t.Errorf("ann has %+v", m)
		}
	}
	if seen := ann.must("GET", at, nil); !strings.Contains(seen, `"first"`) {
		t.Errorf("ann reads %s", seen)
	}
	if seen := bob.must("GET", at, nil); strings.Contains(seen, `"first"`) {
		t.Errorf("bob reads %s", seen)
	}
}

func TestP6UsersCannotBeEnumerated(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, hidden, hostile, shy := d.signUp("ann"), d.signUp("hidden"), d.signUp("hostile"), d.signUp("shy")
	open := d.signUp("open")
	for i, v := range []visitor{hidden, hostile, open} {
		v.must("PATCH", "/v1/users/me", request{
			"email": v.Account + "@example.org", "phone": fmt.Sprintf("+493012345%d", i),
			"settings": request{"find_by_email": v != hidden, "find_by_phone": v != hidden},
		})
	}
	shy.must("PATCH", "/v1/users/me", request{"settings": request{"friend_requests": "nobody", "presence": "nobody"}})
	hostile.must("PUT", "/v1/blocks/"+ann.ID, request{"blocked": true})

	// same reports whether all of these are answered alike, but for the ids in them.
	same := func(what string, calls ...func() (int, string)) {
		t.Helper()
		want, first := calls[0]()
		for i, call := range calls[1:] {
			if status, answer := call(); status != want || answer != first {
				t.Errorf("%s: the first is answered by %d %s, number %d by %d %s", what, want, first, i+2, status, answer)
			}
		}
	}
	get := func(path string) func() (int, string) {
		return func() (int, string) { return ann.try("GET", path, nil) }
	}
	same("searching by e-mail", get("/v1/users?email=nobody@example.org"), get("/v1/users?email=hidden@example.org"), get("/v1/users?email=hostile@example.org"))
	same("searching by telephone", get("/v1/users?phone=%2B49301234599"), get("/v1/users?phone=%2B4930123450"), get("/v1/users?phone=%2B4930123451"))
	if got := ann.must("GET", "/v1/users?email=open@example.org", nil); !strings.Contains(got, open.ID) {
		t.Errorf("who allows it is not found: %s", got)
	}
	for _, part := range []string{"account=hid", "account=hid*", "account=hid%25", "email=%25@example.org", "email=*@example.org", "phone=%2B49", "email=", ""} {
		if _, answer := ann.try("GET", "/v1/users?"+part, nil); strings.Contains(answer, `"id"`) {
			t.Errorf("searching by the part %q finds %s", part, answer)
		}
	}

	nobody := visitor{door: d}
	login := func(account, password string) func() (int, string) {
		return func() (int, string) {
			return nobody.try("POST", "/v1/sessions", request{"account": account, "password": password, "device": "d", "platform": "web"})
		}
	}
	same("signing in", login("nobody-has-this", "some password"), login("hidden", "some password"), login("Hidden@example.org", "some password"), login("hidden", "short"))

	ask := func(v visitor) func() (int, string) {
		return func() (int, string) {
			return ann.try("POST", "/v1/friends/requests", request{"user": v.ID, "message": "hello"})
		}
	}
	same("asking to be friends", ask(open), ask(hostile), ask(shy), ask(hostile), ask(shy))
	var outgoing struct {
		Requests []struct{ User im.Profile }
	}
	if err := json.Unmarshal([]byte(ann.must("GET", "/v1/friends/requests?direction=outgoing", nil)), &outgoing); err != nil || len(outgoing.Requests) != 3 {
		t.Errorf("who was asked: %+v, %v", outgoing, err)
	}
	for _, v := range []visitor{hostile, shy} {
		if got := v.must("GET", "/v1/friends/requests?direction=incoming", nil); strings.Contains(got, ann.ID) {
			t.Errorf("%s was asked: %s", v.Account, got)
		}
	}

	presence := func(user string) func() (int, string) {
		return func() (int, string) {
			status, answer := ann.try("GET", "/v1/presence?users="+user, nil)
			return status, strings.ReplaceAll(answer, user, "…")
		}
	}
	dial(t, d.url, client.Tokens{AccessToken: hostile.Access})
	dial(t, d.url, client.Tokens{AccessToken: shy.Access})
	same("asking who is online", presence(im.NewID()), presence(hostile.ID), presence(shy.ID), presence(hidden.ID))

	invited := func(user string) func() (int, string) {
		return func() (int, string) {
			status, answer := ann.try("POST", "/v1/groups", request{"name": "Lunch", "members": []string{user}})
			var g struct {
				Members int
				Skipped []string
			}
			if err := json.Unmarshal([]byte(answer), &g); err != nil {
				t.Fatal(err)
			}
			return status, strings.ReplaceAll(fmt.Sprint(g), user, "…")
		}
	}
	same("adding to a group", invited(im.NewID()), invited(hostile.ID))

	secret := hidden.group("invite")
	group := func(id string) func() (int, string) {
		return func() (int, string) {
			status, answer := ann.try("GET", "/v1/groups/"+id, nil)
			return status, strings.ReplaceAll(answer, id, "…")
		}
	}
	same("looking for a group", group(im.NewID()), group(secret))
	same("joining a group", func() (int, string) { return ann.try("POST", "/v1/groups/"+im.NewID()+"/join", request{}) },
		func() (int, string) { return ann.try("POST", "/v1/groups/"+secret+"/join", request{}) })
}

func TestP6SearchingAndSigningInAreLimited(t *testing.T) {
	t.Parallel()
	direct := mountAll(t, "SEARCHES_PER_MINUTE", "3", "SIGN_INS_PER_MINUTE", "3")
	d := &door{t, front(t, direct.vars, direct.url)}
	ann := d.signUp("ann")
	limited := func(what string, call func() (int, string)) {
		t.Helper()
		for range 20 {
			if status, answer := call(); status == http.StatusTooManyRequests && strings.Contains(answer, `"overloaded"`) {
				return
			}
		}
		t.Errorf("%s can be done without end", what)
	}
	limited("searching", func() (int, string) { return ann.try("GET", "/v1/users?account=bob", nil) })
	limited("guessing one's own password", func() (int, string) {
		return ann.try("PUT", "/v1/users/me/password", request{"old": "a guess of it", "new": "another password"})
	})
	nobody := visitor{door: d}
	limited("guessing a password", func() (int, string) {
		return nobody.try("POST", "/v1/sessions", request{"account": "ann", "password": "a guess of it", "device": "d", "platform": "web"})
	})
}

func TestP6NobodyTakesAnAccountOverByChangingItsPassword(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, eve := d.signUp("ann"), d.signUp("eve")
	ann.must("PATCH", "/v1/users/me", request{"email": "ann@example.org"})
	change := "/v1/users/me/password"
	eve.refused("with a password that is not hers", "PUT", change, request{"old": "not that of eve", "new": "the new password"}, http.StatusForbidden)
	for _, field := range []string{"user", "user_id", "id", "account", "email", "code"} {
		eve.refused("naming another by "+field, "PUT", change, request{"old": rightPassword, "new": "the new password", field: ann.ID}, http.StatusBadRequest)
	}
	eve.refused("by path", "PUT", "/v1/users/"+ann.ID+"/password", request{"old": rightPassword, "new": "the new password"}, http.StatusNotFound, http.StatusMethodNotAllowed)
	nobody := visitor{door: d}
	nobody.refused("without a token", "PUT", change, request{"old": rightPassword, "new": "the new password"}, http.StatusUnauthorized)
	// An e-mail address that anybody may write into their profile proves nothing.
	eve.must("PATCH", "/v1/users/me", request{"email": "ann@example.org"})
	nobody.refused("by her e-mail address", "POST", "/v1/sessions", request{"account": "ann@example.org", "password": rightPassword, "device": "d", "platform": "web"}, http.StatusUnauthorized)
	d.signIn("ann", rightPassword, "d-ann-2") // as ever
	ann.must("GET", "/v1/users/me", nil)

	// Whoever knew the old password is put out by the new one.
	thief := d.signIn("ann", rightPassword, "of-a-thief")
	s := dial(t, d.url, client.Tokens{AccessToken: thief.Access})
	var renewed client.Tokens
	if err := json.Unmarshal([]byte(ann.must("PUT", change, request{"old": rightPassword, "new": "the new password"})), &renewed); err != nil {
		t.Fatal(err)
	}
	before := ann
	ann.Access = renewed.AccessToken
	if got := s.next(frame.Bye); got.Reason != "revoked" {
		t.Errorf("the thief's socket is closed for %q", got.Reason)
	}
	thief.refused("as a thief", "GET", "/v1/users/me", nil, http.StatusUnauthorized)
	nobody.refused("as a thief", "POST", "/v1/sessions/refresh", request{"refresh_token": thief.Refresh}, http.StatusUnauthorized)
	nobody.refused("as a thief", "POST", "/v1/sessions", request{"account": "ann", "password": rightPassword, "device": "d", "platform": "web"}, http.StatusUnauthorized)
	before.refused("with a token from before", "GET", "/v1/users/me", nil, http.StatusUnauthorized)
	ann.must("GET", "/v1/users/me", nil)
	d.signIn("ann", "the new password", "d-ann-2")
}

func TestP6NobodyMarksAnothersMessagesRead(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, bob, eve := d.signUp("ann"), d.signUp("bob"), d.signUp("eve")
	m := ann.tell(bob, "have you read this?")
	read := "/v1/conversations/" + string(m.Conversation) + "/read"
	unread := func(v visitor) int {
		t.Helper()
		var list struct {
			Conversations []struct {
				Conversation im.Conversation
				Unread       int
			}
		}
		if err := json.Unmarshal([]byte(v.must("GET", "/v1/conversations", nil)), &list); err != nil {
			t.Fatal(err)
		}
		for _, c := range list.Conversations {
			if c.Conversation == m.Conversation {
				return c.Unread
			}
		}
		return -1
	}
	eve.refused("between others", "PUT", read, request{"message": m.ID}, http.StatusForbidden, http.StatusNotFound)
	eve.refused("of others, in a conversation of one's own", "PUT", "/v1/conversations/"+string(im.Direct(eve.ID, bob.ID))+"/read", request{"message": m.ID}, http.StatusNotFound)
	eve.refused("for another", "PUT", read, request{"message": m.ID, "user": bob.ID}, http.StatusBadRequest)
	ann.must("PUT", read, request{"message": m.ID}) // for herself
	ann.gets("her own mark", notice(im.MessageRead))
	if a, b := unread(ann), unread(bob); a != 0 || b != 1 {
		t.Errorf("unread: %d of ann, %d of bob", a, b)
	}
	bob.must("PUT", read, request{"message": m.ID})
	if n := unread(bob); n != 0 {
		t.Errorf("bob has read it, and has %d unread", n)
	}
}

// P7: whatever is asked of an operation, it is refused or done; nothing breaks,
// and nothing outside of the contract is taken.
func TestP7RangesAndValuesThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	c, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	direct, there := mountExamples(t)
	world := openStores(t, direct.vars)
	inhabit(direct, world, there)
	world.keep()
	base := front(t, direct.vars, direct.url)

	long := strings.Repeat("x", 40<<10)
	many := make([]any, 1500)
	for i := range many {
		many[i] = im.NewID()
	}
	numbers := []string{"-1", "-9223372036854775808", "9223372036854775807", "9223372036854775808", "2147483648", "1e3", "1.5", "0x10", "NaN", "", " 1", "١"}
	cursors := []string{"x", long[:6000], "AAAA", strings.Repeat("A", 43), "////", "%00", "-1", "null", `{"user":"` + idOf("bob") + `"}`}
	values := []any{nil, -1, 1.5, 1e300, "", " ", "\x00", "a\x00b", "\u202e", long, true, []any{}, []any{nil}, []any{""}, many, request{}, request{"$ne": 1},
		json.RawMessage(strings.Repeat("[", 9000) + strings.Repeat("]", 9000)), json.RawMessage("1e999"), "'; DROP TABLE users; --", "../../etc/passwd"}

	for _, op := range c.operations {
		try := func(what string, change func(*http.Request)) (status int) {
			t.Helper()
			req := op.example(t, base)
			if !op.anybody {
				caller := "ann"
				if other := exampleCaller[op.id]; other != "" {
					caller = other
				}
				req.Header.Set("Authorization", direct.as(idOf(caller), sessionOf(caller)))
			}
			change(req)
			begun := time.Now()
			resp, body := send(t, req)
			if resp.StatusCode >= 500 {
				t.Errorf("%s with %s: %s %s", op.id, what, resp.Status, body)
			}
			if took := time.Since(begun); took > time.Minute {
				t.Errorf("%s with %s takes %s", op.id, what, took)
			}
			if resp.StatusCode >= 300 {
				return resp.StatusCode
			}
			path := make(map[string]string)
			for i, s := range strings.Split(req.URL.EscapedPath(), "/") {
				if strings.HasPrefix(op.path[i], "{") {
					path[strings.Trim(op.path[i], "{}")] = s
				}
			}
			var sent []byte
			if body, err := req.GetBody(); err != nil {
				t.Fatal(err)
			} else if sent, err = io.ReadAll(body); err != nil {
				t.Fatal(err)
			}
			if err := op.checkRequest(path, req.URL.Query(), req.Header, sent); err != nil {
				t.Errorf("%s with %s is done, and the contract does not allow it: %.300v", op.id, what, err)
			}
			if len(world.changed()) > 0 {
				world.restore()
			}
			return resp.StatusCode
		}
		for _, p := range op.parameters {
			tries := slices.Concat(numbers, cursors)
			switch p.in {
			case "query":
				ask := func(v string) int {
					t.Helper()
					return try(fmt.Sprintf("%s=%.40s", p.name, v), func(r *http.Request) {
						q := r.URL.Query()
						q.Set(p.name, v)
						r.URL.RawQuery = q.Encode()
					})
				}
				for _, v := range tries {
					ask(v)
				}
				if most, ok := p.raw["maximum"].(json.Number); ok {
					n, err := most.Int64()
					if err != nil {
						t.Fatal(err)
					}
					if status := ask(fmt.Sprint(n)); status != http.StatusOK {
						t.Errorf("%s with %s=%d, which is allowed: %d", op.id, p.name, n, status)
					}
					if status := ask(fmt.Sprint(n + 1)); status != http.StatusBadRequest {
						t.Errorf("%s with %s=%d, which is one too many: %d", op.id, p.name, n+1, status)
					}
				}
			case "path":
				for _, v := range append(tries, "me", im.NewID(), "g:"+im.NewID(), "d:"+idOf("bob")+":"+idOf("cyd"), "d:"+idOf("bob")+":"+idOf("ann"), im.NewMessageID(im.TimeOf(time.Now().Add(-time.Hour)))) {
					if v == "" {
						continue // is another path
					}
					try(fmt.Sprintf("%s=%.40s", p.name, v), func(r *http.Request) {
						segments := strings.Split(r.URL.Path, "/")
						segments[slices.Index(op.path, "{"+p.name+"}")] = v
						setPath(r, segments)
					})
				}
			case "header":
				for _, v := range []string{long[:65], "two words", "ü"} {
					try(fmt.Sprintf("%s: %.40s", p.name, v), func(r *http.Request) { r.Header.Set(fn.IdempotencyKey, v) })
				}
			}
		}
		if op.body == nil {
			continue
		}
		example := op.body.example.(map[string]any)
		for field := range c.object(op.body.raw["properties"]) {
			for _, v := range slices.Concat(values, tooMuch(c.object(c.object(op.body.raw["properties"])[field]))) {
				body := maps.Clone(example)
				body[field] = v
				b, err := json.Marshal(body)
				if err != nil {
					t.Fatal(err)
				}
				try(fmt.Sprintf("%s: %.40v", field, v), func(r *http.Request) { setBody(r, b) })
			}
			b, err := json.Marshal(example)
			if err != nil {
				t.Fatal(err)
			}
			try("capitals in "+field, func(r *http.Request) {
				setBody(r, []byte(strings.Replace(string(b), `"`+field+`"`, `"`+strings.ToUpper(field)+`"`, 1)))
			})
		}
	}
}

// tooMuch returns what is one more than a schema allows.
func tooMuch(schema map[string]any) (values []any) {
	if n, ok := schema["maxLength"].(json.Number); ok {
		most, _ := n.Int64()
		values = append(values, strings.Repeat("x", int(most)+1), strings.Repeat("x", int(most))+"ü")
	}
	if n, ok := schema["maxItems"].(json.Number); ok {
		most, _ := n.Int64()
		users, messages := make([]string, most+1), make([]string, most+1)
		for i := range users {
			users[i], messages[i] = im.NewID(), im.NewMessageID(im.Now())
		}
		values = append(values, users, messages)
	}
	return values
}

func setBody(r *http.Request, b []byte) {
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	r.Body, _ = r.GetBody()
	r.ContentLength = int64(len(b))
}

// setPath sets the segments of a path, each as it is.
func setPath(r *http.Request, segments []string) {
	escaped := make([]string, len(segments))
	for i, s := range segments {
		escaped[i] = url.PathEscape(s)
	}
	r.URL.Path, r.URL.RawPath = strings.Join(segments, "/"), strings.Join(escaped, "/")
}
