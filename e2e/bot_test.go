package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/e2e/system"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func TestP6ABotIsNoMoreThanItsTokenSays(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, eve := d.signUp("ann"), d.signUp("eve")
	reader := ann.makes("reader-bot", "messages:read")
	writer := ann.makes("writer-bot", "messages:write")
	to := request{"to": "u:" + ann.ID, "text": "I am a bot"}

	reader.must("GET", "/v1/inbox?after=0", nil)
	writer.must("POST", "/v1/messages", to)
	reader.refused("who may read, writing", "POST", "/v1/messages", to, http.StatusForbidden)
	writer.refused("who may write, reading", "GET", "/v1/inbox?after=0", nil, http.StatusForbidden)
	for _, b := range []robot{reader, writer} {
		b.refused("making a bot", "POST", "/v1/bots", request{"account": "grandchild", "name": "X", "scopes": []string{"messages:read"}}, http.StatusForbidden)
		b.refused("making a token", "POST", "/v1/bots/"+b.ID+"/tokens", request{"name": "more", "scopes": []string{"groups:write"}}, http.StatusForbidden)
		b.refused("making a webhook", "POST", "/v1/webhooks", request{"bot": b.ID, "url": "https://example.org", "events": []string{"message"}}, http.StatusForbidden)
		b.refused("taking a password", "PUT", "/v1/users/me/password", request{"old": rightPassword, "new": "the new password"}, http.StatusForbidden)
		b.refused("changing its e-mail address", "PATCH", "/v1/users/me", request{"email": "bot@example.org"}, http.StatusForbidden)
		b.refused("deleting itself", "DELETE", "/v1/users/me", request{}, http.StatusForbidden)
		b.refused("seeing its sessions", "GET", "/v1/sessions", nil, http.StatusForbidden)
	}

	// On the socket it is no more than in calls.
	dialer := websocket.Dialer{Subprotocols: []string{frame.Subprotocol}}
	if c, resp, err := dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(d.url, "http")+"/ws", http.Header{"Authorization": {"Bearer " + writer.Access}}); err == nil {
		c.Close()
		t.Error("who may not read is connected")
	} else if resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("who may not read is answered by %v, %v", resp, err)
	}
	s := dial(t, d.url, client.Tokens{AccessToken: reader.Access})
	s.say(`{"type":"send","id":"1","to":"u:` + ann.ID + `","text":"by the socket"}`)
	if got := s.next(frame.Accepted, frame.Refused, frame.Error); got.Type != frame.Refused || got.Kind != im.Denied {
		t.Errorf("who may not write, on the socket: %+v", got)
	}
	// Nor by changing its token on the way.
	s.say(`{"type":"token","token":"` + ann.Access + `"}`)
	if got := s.next(frame.Token, frame.Error, frame.Bye); got.Type == frame.Token {
		t.Error("the socket of a bot takes the token of its owner")
	}

	// A token is for signing in with, and not to be guessed, nor a password.
	nobody := visitor{door: d}
	for _, token := range []string{strings.TrimSuffix(reader.token, reader.token[len(reader.token)-4:]) + "AAAA", "tdb_" + strings.Repeat("A", 43), reader.tokenID, reader.Access, ann.Access, ann.Refresh} {
		nobody.refused("signing in by "+token[:8], "POST", "/v1/sessions/bot", request{"token": token}, http.StatusUnauthorized, http.StatusBadRequest)
	}
	asBot := visitor{door: d}
	asBot.Access = reader.token
	asBot.refused("by the token itself", "GET", "/v1/inbox?after=0", nil, http.StatusUnauthorized)
	nobody.refused("refreshing", "POST", "/v1/sessions/refresh", request{"refresh_token": strings.TrimPrefix(reader.token, "tdb_")}, http.StatusUnauthorized)
	for _, password := range []string{"", rightPassword, reader.token} {
		if status, answer := signInWith(nobody, "reader-bot", password); status != http.StatusUnauthorized && status != http.StatusBadRequest {
			t.Errorf("as a person: %d %s", status, answer)
		}
	}

	// It is its owner's alone, and ends with a word of theirs.
	for method, path := range map[string]string{
		"PATCH": "/v1/bots/" + reader.ID, "DELETE": "/v1/bots/" + reader.ID, "GET": "/v1/bots/" + reader.ID + "/tokens",
	} {
		var body any
		if method == "PATCH" {
			body = request{"name": "Eve's"}
		}
		eve.refused("a bot of another", method, path, body, http.StatusNotFound)
	}
	eve.refused("a token of another's bot", "POST", "/v1/bots/"+reader.ID+"/tokens", request{"name": "mine", "scopes": []string{"messages:read"}}, http.StatusNotFound)
	eve.refused("a token of another's bot", "DELETE", "/v1/bots/"+reader.ID+"/tokens/"+reader.tokenID, nil, http.StatusNotFound)
	own := eve.makes("eves-bot", "messages:read")
	eve.refused("a token of another's bot, by one's own", "DELETE", "/v1/bots/"+own.ID+"/tokens/"+reader.tokenID, nil, http.StatusNotFound)
	eve.refused("a person as a bot", "PATCH", "/v1/bots/"+ann.ID, request{"name": "Eve's"}, http.StatusNotFound)
	if got := eve.must("GET", "/v1/bots", nil); strings.Contains(got, reader.ID) {
		t.Errorf("eve has %s", got)
	}
	reader.must("GET", "/v1/inbox?after=0", nil)
	ann.must("DELETE", "/v1/bots/"+reader.ID+"/tokens/"+reader.tokenID, nil)
	reader.refused("by a token that was deleted", "GET", "/v1/inbox?after=0", nil, http.StatusUnauthorized)
	nobody.refused("by a token that was deleted", "POST", "/v1/sessions/bot", request{"token": reader.token}, http.StatusUnauthorized)
	for _, b := range ann.lists("/v1/bots") {
		if strings.Contains(b, "tdb_") {
			t.Errorf("tokens are shown again: %s", b)
		}
	}
}

// lists returns what is at a path, as one text of each field.
func (v visitor) lists(path string) (all []string) {
	v.t.Helper()
	var page map[string]json.RawMessage
	if err := json.Unmarshal([]byte(v.must("GET", path, nil)), &page); err != nil {
		v.t.Fatal(err)
	}
	for _, raw := range page {
		all = append(all, string(raw))
	}
	return all
}

// What anybody may name is reached only where everybody is.
func TestP6WhoNamesAURLReachesNothingInside(t *testing.T) {
	t.Parallel()
	d := openDoor(t) // with WEBHOOK_PRIVATE as it is by default
	ann := d.signUp("ann")
	bot := ann.makes("hook-bot", "messages:read")
	inside := receive(t, nil)
	port := inside.URL[strings.LastIndex(inside.URL, ":")+1:]
	hook := func(url string) request { return request{"bot": bot.ID, "url": url, "events": []string{"message"}} }
	push := func(url string) request {
		return request{
			"endpoint": url, "auth": "BTBZMqHH6r4Tts7J_aSIgg",
			"p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
		}
	}
	for _, url := range []string{
		inside.URL, "https://127.0.0.1:" + port, "https://localhost:" + port, "https://LOCALHOST.:" + port, "https://x.localhost:" + port, "https://[::1]:" + port,
		"https://[::ffff:127.0.0.1]:" + port, "https://0.0.0.0:" + port, "https://10.0.0.1", "https://192.168.1.1", "https://172.16.0.1", "https://169.254.169.254/latest/meta-data/",
		"https://[fe80::1]", "https://[fd00::1]", "https://[64:ff9b::7f00:1]", "http://example.org", "ftp://example.org", "file:///etc/passwd", "https://user:password@example.org", "https://",
		"//example.org", "example.org", "",
	} {
		ann.refused("a webhook to "+url, "POST", "/v1/webhooks", hook(url), http.StatusBadRequest)
		ann.refused("a push service at "+url, "PUT", "/v1/push/subscription", push(url), http.StatusBadRequest)
	}
	var made struct{ Webhook struct{ ID string } }
	if err := json.Unmarshal([]byte(ann.must("POST", "/v1/webhooks", hook("https://bot.example.org"))), &made); err != nil {
		t.Fatal(err)
	}
	ann.refused("by changing it", "PATCH", "/v1/webhooks/"+made.Webhook.ID, request{"url": inside.URL}, http.StatusBadRequest)

	// A name that leads inside is as good as none, whatever it looks like.
	for _, name := range []string{"127.0.0.1.nip.io", "0x7f000001", "2130706433", "017700000001", "127.1"} {
		ann.try("PATCH", "/v1/webhooks/"+made.Webhook.ID, request{"url": "https://" + name + ":" + port})
		ann.tell(bot.visitor, "anybody there?")
	}
	imtest.Eventually(t, "the webhook fails", func() error {
		if got := ann.must("GET", "/v1/webhooks", nil); !strings.Contains(got, `"waiting":0`) {
			return nil
		}
		return errors.New("nothing waits")
	})
	if got := inside.all(); len(got) > 0 {
		t.Errorf("what is inside was reached: %+v", got)
	}
}

func TestP6AWebhookTellsOfWhatItsBotMayReadAlone(t *testing.T) {
	t.Parallel()
	d := &door{t, system.OneProcess(t, noop.NewTracerProvider().Tracer(""), "WEBHOOK_PRIVATE", "true")}
	ann, bob, eve := d.signUp("ann"), d.signUp("bob"), d.signUp("eve")
	bot := ann.makes("hook-bot", "messages:read", "messages:write")
	in := receive(t, nil)
	var made struct {
		Webhook struct{ ID string }
		Secret  string
	}
	if err := json.Unmarshal([]byte(ann.must("POST", "/v1/webhooks", request{"bot": bot.ID, "url": in.URL, "events": []string{"message"}})), &made); err != nil {
		t.Fatal(err)
	}
	for _, hook := range []request{
		{"bot": bot.ID, "url": in.URL, "events": []string{"message"}},
		{"bot": bob.ID, "url": in.URL, "events": []string{"message"}},
		{"bot": eve.ID, "url": in.URL, "events": []string{"message"}},
	} {
		eve.refused("for what is no bot of hers", "POST", "/v1/webhooks", hook, http.StatusNotFound)
	}
	eve.refused("another's", "PATCH", "/v1/webhooks/"+made.Webhook.ID, request{"url": "https://evil.example"}, http.StatusNotFound)
	eve.refused("another's", "DELETE", "/v1/webhooks/"+made.Webhook.ID, nil, http.StatusNotFound)
	// Naming a conversation that the bot is not in tells it of nothing.
	ann.try("POST", "/v1/webhooks", request{"bot": bot.ID, "url": in.URL, "events": []string{"message"}, "conversation": im.Direct(bob.ID, eve.ID)})

	group := ann.group("invite", bob, bot.visitor)
	say := func(v visitor, to, text string) {
		t.Helper()
		v.must("POST", "/v1/messages", request{"to": to, "text": text})
	}
	told := func(text string) func(posted) bool {
		return func(p posted) bool { return strings.Contains(string(p.body), text) }
	}
	say(bob, "u:"+eve.ID, "between others")
	say(bob, "g:"+group, "with the bot")
	if p := in.gets("what was said with the bot", told("with the bot")); !p.signedBy(made.Secret) || p.signedBy("whsec_"+strings.Repeat("A", 44)) {
		t.Errorf("it is signed %q", p.Get("webhook-signature"))
	}
	ann.must("DELETE", "/v1/groups/"+group+"/members", request{"users": []string{bot.ID}})
	say(bob, "g:"+group, "without the bot")
	say(bob, "u:"+bot.ID, "the last word")
	in.gets("the last word", told("the last word"))
	for _, p := range in.all() {
		for _, secret := range []string{"between others", "without the bot"} {
			if told(secret)(p) {
				t.Errorf("the webhook was told %s", p.body)
			}
		}
	}
	if got := ann.must("GET", "/v1/webhooks", nil); strings.Contains(got, "whsec_") {
		t.Errorf("the secret is shown again: %s", got)
	}
}

func TestP6NobodySubscribesForAnother(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, eve := d.signUp("ann"), d.signUp("eve")
	body := request{
		"endpoint": "https://push.example.net/wpush/v2/abc", "auth": "BTBZMqHH6r4Tts7J_aSIgg",
		"p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
	}
	for _, field := range []string{"session", "user", "session_id", "device"} {
		more := request{field: ann.Session}
		for name, v := range body {
			more[name] = v
		}
		eve.refused("naming another by "+field, "PUT", "/v1/push/subscription", more, http.StatusBadRequest)
	}
	eve.refused("by the query", "DELETE", "/v1/push/subscription?session="+ann.Session, nil, http.StatusBadRequest)
	for field, v := range map[string]string{"p256dh": "AAAA", "auth": "AAAA"} {
		bad := request{}
		for name, was := range body {
			bad[name] = was
		}
		bad[field] = v
		eve.refused("by a key that is none", "PUT", "/v1/push/subscription", bad, http.StatusBadRequest)
	}
	eve.must("PUT", "/v1/push/subscription", body)
	if got := eve.must("GET", "/v1/push/key", nil); strings.Contains(got, "private") {
		t.Errorf("the key is %s", got)
	}
}
