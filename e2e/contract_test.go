package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tidings-im/tidings"
	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/gateway/api"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/token"
	"github.com/tidings-im/tidings/shared/vault"
)

// front returns the URL of the API of a gateway before functions.
func front(t *testing.T, vars map[string]string, functions string) string {
	t.Helper()
	ring, err := event.ParseKeyring(vars["SEAL_KEYS"])
	if err != nil {
		t.Fatal(err)
	}
	env := imtest.Env(t, vars)
	memory, err := env.Budgets()
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := token.OpenVerifier(env)
	if err != nil {
		t.Fatal(err)
	}
	h, err := api.New(api.Config{
		Memory:    memory,
		Limits:    api.Limits{PerUser: 64, PerAddress: 512, PerNetworks: 4},
		Verify:    verifier.Verify,
		Spec:      tidings.OpenAPI,
		Functions: func(name string) string { return functions + "/" + name },
		Client:    fn.NewHTTPClient(0),
		Ring:      ring,
		Log:       imtest.Log(t),
		Tracer:    noop.NewTracerProvider().Tracer(""),
		Metrics:   api.NewMetrics(prometheus.NewRegistry()),
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// The people of the examples: the first letter of the name, sixteen times, is
// the id. All have the password of the examples.
var people = []string{"ann", "bob", "cyd", "dan", "eve", "fay"}

func idOf(person string) string { return strings.Repeat(person[:1], 16) }

// sessionOf returns the id of a person's session: s for ann, u and so on for the others.
func sessionOf(person string) string {
	return strings.Repeat("suvwxy"[slices.Index(people, person):][:1], 16)
}

// Who sends the example of an operation, if it is not ann.
var exampleCaller = map[string]string{
	"group-join-request": "fay", // ann is in the group
	"group-leave":        "bob", // ann owns it
}

// When everything in the world of the examples came about.
const exampleTime = "2026-01-02 03:04:05.678901+00"

// inhabit makes the world of the examples: ann and bob are friends, cyd has
// asked ann to be, ann has blocked eve; in the group Lunch, which is ann's, are
// bob and cyd, and dan asks to join. Bob has said hello to ann; in the group
// bob has said something, and then ann.
func inhabit(d *direct, k *kept, there *elsewhere) {
	d.t.Helper()
	// The hash of a password is the product's own.
	zoe := d.signUp("zoe")
	for _, p := range people {
		k.exec(`INSERT INTO users (id, account, name, password, created, find_by_email)
			SELECT $1::text, $2::text, initcap($2), password, $3::text::timestamptz, $2 = 'ann' FROM users WHERE id = $4`, idOf(p), p, exampleTime, zoe.ID)
		k.exec(`INSERT INTO sessions (id, user_id, device, platform, created, seen)
			VALUES ($1, $2, '5e1f7c0e-phone', 'android', $3::text::timestamptz, $3::text::timestamptz)`, sessionOf(p), idOf(p), exampleTime)
	}
	k.exec(`INSERT INTO sessions (id, user_id, device, platform, created, seen) VALUES ('tttttttttttttttt', $1, 'browser', 'web', $2::text::timestamptz, $2::text::timestamptz)`, idOf("ann"), exampleTime)
	refresh, err := base64.RawURLEncoding.DecodeString("Zm9ydHktdGhyZWUgY2hhcmFjdGVycyBvZiByYW5kb20")
	if err != nil {
		d.t.Fatal(err)
	}
	hash := sha256.Sum256(refresh)
	k.exec(`INSERT INTO refresh_tokens (hash, session_id, expires) VALUES ($1, 'ssssssssssssssss', now() + interval '1 day')`, hash[:])

	for _, p := range [][2]string{{"ann", "bob"}, {"bob", "ann"}} {
		k.exec(`INSERT INTO friend_lists (user_id, version) VALUES ($1, 3)`, idOf(p[0]))
		k.exec(`INSERT INTO friendships (user_id, friend_id, created, remark, version) VALUES ($1, $2, $3::text::timestamptz, 'Bob from work', 3)`, idOf(p[0]), idOf(p[1]), exampleTime)
	}
	k.exec(`INSERT INTO friend_requests (from_user, to_user, message, source, created) VALUES ($1, $2, 'It is me', 'search', now())`, idOf("cyd"), idOf("ann")) // they run out
	k.exec(`INSERT INTO blocks (user_id, blocked_id, created) VALUES ($1, $2, $3::text::timestamptz)`, idOf("ann"), idOf("eve"), exampleTime)

	k.exec(`INSERT INTO groups (id, name, owner_id, version, created, about, policy, members)
		VALUES ('gggggggggggggggg', 'Lunch', $1, 3, $2::text::timestamptz, 'Every day at noon', 'approval', 3)`, idOf("ann"), exampleTime)
	for i, p := range people[:3] {
		role := im.RoleMember
		if i == 0 {
			role = im.RoleOwner
		}
		k.exec(`INSERT INTO group_members (group_id, user_id, role, joined, version) VALUES ('gggggggggggggggg', $1, $2, $3::text::timestamptz, $4)`, idOf(p), role, exampleTime, i+1)
	}
	k.exec(`INSERT INTO group_join_requests (group_id, user_id, message, requested) VALUES ('gggggggggggggggg', $1, 'May I', $2::text::timestamptz)`, idOf("dan"), exampleTime)

	lunch, annBob := im.Group("gggggggggggggggg"), im.Direct(idOf("ann"), idOf("bob"))
	d.say("019b7ca9-8f2e-7e6a-8000-000000000001", annBob, idOf("bob"), "c1", "hello")
	d.say("019b7ca9-8f2e-7e6a-8000-000000000002", lunch, idOf("bob"), "c2", "When?")
	d.say("019b7ca9-8f2e-7e6a-8000-000000000003", lunch, idOf("ann"), "c3", "At one")
	k.exec(`INSERT INTO reactions (conversation, message_id, user_id, emoji) VALUES ($1, '019b7ca9-8f2e-7e6a-8000-000000000001', $2, '👍')`, annBob, idOf("ann"))
	k.exec(`INSERT INTO reaction_counts (conversation, message_id, emoji, count) VALUES ($1, '019b7ca9-8f2e-7e6a-8000-000000000001', '👍', 1)`, annBob)

	// Ann has sent a picture to nobody yet, and owns a bot with a webhook.
	lunchPicture := examplePicture(d.t)
	k.exec(`INSERT INTO files (id, owner_id, name, size, type, sha256, state, width, height, preview, created, expires, unsent_since)
		VALUES ('pppppppppppppppp', $1, 'lunch.png', $2, 'image/png', sha256($3::bytea), 'complete', 1, 1, 'LEHV6nWB2yk8', $4::text::timestamptz, now(), now())`,
		idOf("ann"), len(lunchPicture), lunchPicture, exampleTime)
	putObject(d.t, d.vars["S3_URL"], "files/pppppppppppppppp", lunchPicture)
	k.exec(`INSERT INTO users (id, account, name, password, created, owner_id) VALUES ('rrrrrrrrrrrrrrrr', 'lunch-bot', 'Lunch bot', '', $1::text::timestamptz, $2)`, exampleTime, idOf("ann"))
	k.exec(`INSERT INTO sessions (id, user_id, device, platform, created, seen)
		VALUES ('kkkkkkkkkkkkkkkk', 'rrrrrrrrrrrrrrrr', 'token-kkkkkkkkkkkkkkkk', 'bot', $1::text::timestamptz, $1::text::timestamptz)`, exampleTime)
	k.exec(`INSERT INTO bot_tokens (id, bot_id, hash, name, scopes) VALUES ('kkkkkkkkkkkkkkkk', 'rrrrrrrrrrrrrrrr', $1, 'first', '{messages:read,messages:write}')`, hash[:])
	k.exec(`INSERT INTO webhooks (id, bot_id, url, secret, created) VALUES ('wwwwwwwwwwwwwwww', 'rrrrrrrrrrrrrrrr', 'https://bot.example.org/hook', '', $1::text::timestamptz)`, exampleTime)

	// She signs in by GitHub, too.
	k.exec(`INSERT INTO identities (issuer, subject, provider, user_id, name, created) VALUES ($1, '1', 'github', $2, 'ann', $3::text::timestamptz)`, there.URL, idOf("ann"), exampleTime)

	k.redis.HSet(d.t.Context(), "seen:{"+idOf("bob")+"}", "at", "1767323045678901")
	k.exec(`UPDATE users SET presence = 'friends'`)
}

// mountExamples mounts all functions as the world of the examples has them.
func mountExamples(t *testing.T) (*direct, *elsewhere) {
	there := openElsewhere(t)
	d := mountAll(t, "EDIT_WINDOW", "1000000h", "RECALL_WINDOW", "1000000h", // the messages are of when they were written
		"OAUTH_PROVIDERS", there.setting("github"), "OAUTH_REDIRECTS", "https://im.example.org/{provider}")
	return d, there
}

// examplePicture returns the picture of the examples, a PNG of one pixel.
func examplePicture(t *testing.T) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAAC0lEQVR4nGP4DwQACfsD/fteaysAAAAASUVORK5CYII=")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// putObject puts something into the object store of a URL.
func putObject(t *testing.T, at, key string, content []byte) {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := u.User.Password()
	store, err := minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(u.User.Username(), secret, "")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.PutObject(t.Context(), strings.Trim(u.Path, "/"), key, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{ContentType: "image/png"}); err != nil {
		t.Fatal(err)
	}
}

// What has to be there for the example of an operation beyond the world of the
// examples, and what only then can be said of its body.
var exampleSetups = map[string]func(d *direct, k *kept, there *elsewhere, body map[string]any){
	"email-verify": func(_ *direct, k *kept, _ *elsewhere, _ map[string]any) {
		k.exec(`UPDATE users SET email = 'ann@example.org' WHERE id = $1`, idOf("ann"))
	},
	"email-confirm": func(d *direct, k *kept, _ *elsewhere, body map[string]any) {
		k.exec(`UPDATE users SET email = 'ann@example.org' WHERE id = $1`, idOf("ann"))
		d.mailed(k, im.MailVerify, body["code"])
	},
	"password-reset": func(d *direct, k *kept, _ *elsewhere, body map[string]any) {
		k.exec(`UPDATE users SET email = 'ann@example.org', email_verified = now() WHERE id = $1`, idOf("ann"))
		d.mailed(k, im.MailReset, body["code"])
	},
	"group-bans": func(_ *direct, k *kept, _ *elsewhere, _ map[string]any) {
		k.exec(`INSERT INTO group_bans (group_id, user_id, by_id, reason, created) VALUES ('gggggggggggggggg', $1, $2, 'Spam', now())`, idOf("dan"), idOf("ann"))
	},
	"totp-confirm": func(d *direct, k *kept, _ *elsewhere, body map[string]any) {
		const secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
		k.exec(`INSERT INTO second_factors (user_id, secret) VALUES ($1, $2)`, idOf("ann"), d.vault().Seal([]byte(secret), "totp", idOf("ann")))
		body["code"] = totp(d.t, secret, time.Now())
	},
	"oauth-callback": func(d *direct, _ *kept, there *elsewhere, body map[string]any) {
		status, answer := d.call("oauth-start", "", request{"provider": "github"})
		var b begun
		if err := json.Unmarshal([]byte(answer), &b); status != http.StatusOK || err != nil {
			d.t.Fatalf("beginning: %d %s", status, answer)
		}
		body["flow"] = b.Flow
		body["state"], body["code"] = there.agree(b.URL, "ann-elsewhere")
	},
}

func (d *direct) vault() *vault.Vault {
	d.t.Helper()
	v, err := vault.New(d.vars["SEAL_KEYS"])
	if err != nil {
		d.t.Fatal(err)
	}
	return v
}

// mailed makes a code one that was mailed to ann.
func (d *direct) mailed(k *kept, purpose string, code any) {
	d.t.Helper()
	hash := d.vault().Hash(strings.ReplaceAll(code.(string), "-", ""), purpose, idOf("ann"), "ann@example.org")
	k.exec(`INSERT INTO email_codes (user_id, purpose, email, hash, expires) VALUES ($1, $2, 'ann@example.org', $3, now() + interval '1 hour')`, idOf("ann"), purpose, hash)
}

// say puts a message into history and inboxes, as if it had come by Kafka.
func (d *direct) say(id string, c im.Conversation, from, clientID, text string) {
	d.t.Helper()
	at, ok := im.TimeOfMessageID(id)
	if !ok {
		d.t.Fatalf("%s is no id of a message", id)
	}
	m := im.Message{ID: id, Conversation: c, Time: at, From: from, ClientID: clientID, Kind: im.KindText, Text: text}
	e, err := event.New(event.MessageAccepted, "e2e", string(c), event.Accepted{Message: m, Recipients: m.Recipients()})
	if err != nil {
		d.t.Fatal(err)
	}
	e.ID = id
	ring, err := event.ParseKeyring(d.vars["SEAL_KEYS"])
	if err != nil {
		d.t.Fatal(err)
	}
	ring.Sign(&e)
	for _, function := range []string{"persist-history", "persist-inbox"} {
		if status, body := d.post(function, e.AppendJSON(nil), "Content-Type", event.Structured); status != http.StatusNoContent {
			d.t.Fatalf("%s: %d %s", function, status, body)
		}
	}
}

// example returns the request of an operation that its examples make, with
// the body as the setup of the operation leaves it.
func (op *operation) example(t *testing.T, base string, setups ...func(body map[string]any)) *http.Request {
	t.Helper()
	path, query, header := slices.Clone(op.path), url.Values{}, http.Header{}
	for _, p := range op.parameters {
		value := fmt.Sprint(p.example)
		switch {
		case p.in == "path" && p.example == nil, p.required && p.example == nil:
			t.Fatalf("%s has no example of %q", op.id, p.name)
		case p.in == "path":
			path[slices.Index(path, "{"+p.name+"}")] = url.PathEscape(value)
		case p.in == "query" && p.example != nil:
			query.Set(p.name, value)
		}
	}
	var body []byte
	var fields map[string]any // nil of a call without a body
	if op.body != nil && op.body.example != nil {
		fields = maps.Clone(op.body.example.(map[string]any))
	}
	for _, set := range setups {
		set(fields)
	}
	if op.body != nil {
		if fields == nil {
			t.Fatalf("%s has no example of its body", op.id)
		}
		var err error
		if body, err = json.Marshal(fields); err != nil {
			t.Fatal(err)
		}
		header.Set("Content-Type", op.body.media)
	}
	u := base + strings.Join(path, "/")
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(t.Context(), op.method, u, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	return req
}

// fields adds the paths of all fields within v.
func fields(at string, v any, all map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, e := range v {
			all[at+"."+name] = true
			fields(at+"."+name, e, all)
		}
	case []any:
		for _, e := range v {
			fields(at+"[]", e, all)
		}
	}
}

func send(t *testing.T, req *http.Request) (*http.Response, []byte) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

// Every example of the contract is what it says: the request is taken, and the
// answer has its fields. Sent with one field more it is refused.
func TestEachExampleOfTheContractIsExecuted(t *testing.T) {
	t.Parallel()
	c, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	d, there := mountExamples(t)
	world := openStores(t, d.vars)
	inhabit(d, world, there)
	world.keep()
	base := front(t, d.vars, d.url)

	for _, op := range c.operations {
		t.Run(op.id, func(t *testing.T) {
			if !slices.ContainsFunc(functions.All, func(f fn.Func) bool { return f.Name == op.id }) {
				t.Fatal("there is no such function")
			}
			world.t = t
			world.restore()
			caller := exampleCaller[op.id]
			if caller == "" {
				caller = "ann"
			}
			authorize := func(req *http.Request) *http.Request {
				if !op.anybody {
					req.Header.Set("Authorization", d.as(idOf(caller), sessionOf(caller)))
				}
				return req
			}

			// With a field or a parameter that is none, nothing happens.
			req := authorize(op.example(t, base))
			if op.body == nil {
				query := req.URL.Query()
				query.Set("surprise", "1")
				req.URL.RawQuery = query.Encode()
			} else {
				more := maps.Clone(op.body.example.(map[string]any))
				more["surprise"] = 1
				b, err := json.Marshal(more)
				if err != nil {
					t.Fatal(err)
				}
				req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
			}
			if resp, body := send(t, req); resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "surprise") {
				t.Errorf("with a field that there is not: %s %s", resp.Status, body)
			}
			if changed := world.changed(); len(changed) > 0 {
				t.Errorf("a request that was refused has changed %v", changed)
			}

			resp, body := send(t, authorize(op.example(t, base, func(body map[string]any) {
				if set := exampleSetups[op.id]; set != nil {
					set(d, world, there, body)
				}
			})))
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("%s %s", resp.Status, body)
			}
			if err := op.checkAnswer(resp.StatusCode, resp.Header, body); err != nil {
				t.Error(err)
			}
			var got any
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatal(err)
			}
			has, says := map[string]bool{}, map[string]bool{}
			fields("", got, has)
			fields("", op.answers["200"].example, says)
			if !maps.Equal(has, says) {
				t.Errorf("the answer has the fields\n%q\nand the example\n%q\nanswer: %s", slices.Sorted(maps.Keys(has)), slices.Sorted(maps.Keys(says)), body)
			}
		})
	}
}

// What the contract gives as examples is allowed by the contract.
func TestEachExampleOfTheContractIsValid(t *testing.T) {
	t.Parallel()
	c, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range c.operations {
		for _, p := range op.parameters {
			if p.example != nil {
				if err := p.schema.Validate(p.example); err != nil {
					t.Errorf("%s: the example of %s: %v", op.id, p.name, err)
				}
			}
		}
		if op.body != nil {
			if err := op.body.schema.Validate(op.body.example); err != nil {
				t.Errorf("%s: the example of the body: %v", op.id, err)
			}
		}
		for status, a := range op.answers {
			if err := a.schema.Validate(a.example); err != nil {
				t.Errorf("%s: the example of the answer %s: %v", op.id, status, err)
			}
		}
	}
}

// Each operation says how it fails, and each write that has a caller can be repeated.
func TestEachOperationOfTheContractIsComplete(t *testing.T) {
	t.Parallel()
	c, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range c.operations {
		want := []string{"200", "default"}
		if !op.anybody {
			want = append(want, "401")
		}
		if op.body != nil || len(op.parameters) > 1 {
			want = append(want, "400")
		}
		for _, status := range want {
			if _, ok := op.answers[status]; !ok {
				t.Errorf("%s does not say what it answers by %s", op.id, status)
			}
		}
		key := slices.ContainsFunc(op.parameters, func(p parameter) bool { return p.name == fn.IdempotencyKey })
		if write := op.method != http.MethodGet && !op.anybody; write != key {
			t.Errorf("%s takes an %s: %t", op.id, fn.IdempotencyKey, key)
		}
	}
}
