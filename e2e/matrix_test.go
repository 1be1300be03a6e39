package e2e

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

//go:embed testdata/authorization.txt
var authorization string

// A row of testdata/authorization.txt: how a function answers in each
// situation, "-" where the situation has no meaning for it.
type row map[string]string

// readMatrix returns the situations and the rows, by function.
func readMatrix(t *testing.T) (columns []string, rows map[string]row) {
	t.Helper()
	rows = make(map[string]row)
	for line := range strings.Lines(authorization) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case columns == nil:
			columns = words[1 : len(words)-1]
		case len(words) != len(columns)+2:
			t.Fatalf("%s has %d cells; there are %d columns", words[0], len(words)-1, len(columns)+1)
		case rows[words[0]] != nil:
			t.Fatalf("%s has two rows", words[0])
		default:
			r := row{"scope": words[len(words)-1]}
			for i, column := range columns {
				r[column] = words[i+1]
			}
			rows[words[0]] = r
		}
	}
	return columns, rows
}

// A society is the people of the matrix, and what is between them: ann, who is
// asked, looked at, written to; a group with all kinds of members; one that was
// dissolved.
type society struct {
	*direct
	stores *kept

	ann, bystander, victim account
	by                     map[string]account // who calls, by column
	group, dissolved       im.GroupInfo
	said                   map[string]string // ids of messages, by conversation and sender
	files                  map[string]string // likewise of files; of those that were sent nowhere by who has them
	bots                   map[string]aBot   // by who owns them
	mailed                 map[string]string // codes, to who asks about themselves, by what for
	secret                 string            // of their second factor
}

// aBot is what is known of a bot.
type aBot struct {
	ID                      string
	token, tokenID, webhook string
}

// actors are who calls, by column.
var actors = map[string]string{
	"no-token": "self", "expired": "self", "oneself": "self", "another": "stranger", "blocked": "blocked", "friend": "friend",
	"non-member": "outsider", "muted": "muted", "member": "member", "admin": "admin", "owner": "owner", "dissolved": "owner", "deleted": "gone", "to-deleted": "owner",
}

// must calls a function that is to succeed.
func must[T any](s *society, function string, as account, data any) (out T) {
	s.t.Helper()
	bearer := ""
	if as.Access != "" {
		bearer = "Bearer " + as.Access
	}
	status, body := s.call(function, bearer, data)
	if status != http.StatusOK {
		s.t.Fatalf("%s by %s: %d %s", function, as.Account, status, body)
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		s.t.Fatal(err)
	}
	return out
}

// A request is the fields of one.
type request = map[string]any

// found makes a society, and keeps it.
func found(t *testing.T) *society {
	t.Helper()
	post, there := openPostbox(t), openElsewhere(t)
	s := &society{direct: mountAll(t, "RECALL_WINDOW", "1h", "SMTP_URL", post.URL, "OAUTH_PROVIDERS", there.setting("elsewhere"), "OAUTH_REDIRECTS", "https://im.example.org/"), by: make(map[string]account), said: make(map[string]string),
		files: make(map[string]string), bots: make(map[string]aBot), mailed: make(map[string]string)}
	s.stores = openStores(t, s.vars)
	who := make(map[string]account)
	for _, name := range []string{"ann", "bystander", "victim", "self", "stranger", "blocked", "friend", "outsider", "muted", "member", "admin", "owner", "gone"} {
		who[name] = s.signUp(name)
	}
	s.ann, s.bystander, s.victim = who["ann"], who["bystander"], who["victim"]
	for column, name := range actors {
		s.by[column] = who[name]
	}
	must[any](s, "friend-request", who["friend"], request{"user": s.ann.ID})
	must[any](s, "friend-respond", s.ann, request{"user": who["friend"].ID, "accept": true})
	must[any](s, "friend-request", s.bystander, request{"user": s.ann.ID})       // nobody else may answer
	must[any](s, "friend-request", s.bystander, request{"user": who["self"].ID}) // who was asked may
	for _, name := range []string{"self", "stranger", "blocked", "friend"} {
		s.sendsFile(im.Direct(who[name].ID, s.ann.ID), s.ann)
	}
	must[any](s, "block-set", s.ann, request{"user": who["blocked"].ID, "blocked": true})

	members := []string{s.victim.ID, who["muted"].ID, who["member"].ID, who["admin"].ID, who["gone"].ID}
	s.group = must[im.GroupInfo](s, "group-create", who["owner"], request{"name": "Lunch", "policy": "approval", "members": members})
	must[any](s, "group-role", who["owner"], request{"group": s.group.ID, "user": who["admin"].ID, "role": "admin"})
	must[any](s, "group-mute", who["owner"], request{"group": s.group.ID, "user": who["muted"].ID, "until": time.Now().Add(time.Hour)})
	must[any](s, "group-join-request", s.bystander, request{"group": s.group.ID})
	s.dissolved = must[im.GroupInfo](s, "group-create", who["owner"], request{"name": "Breakfast", "members": members})
	for _, g := range []im.GroupInfo{s.group, s.dissolved} {
		for _, name := range []string{"victim", "muted", "member", "admin", "owner"} {
			s.speak(g.Conversation, who[name])
		}
		s.sendsFile(g.Conversation, s.victim)
	}
	must[any](s, "group-dissolve", who["owner"], request{"group": s.dissolved.ID})
	s.speak(im.Direct(who["owner"].ID, who["gone"].ID), who["owner"])
	s.speak(im.Direct(who["owner"].ID, who["gone"].ID), who["gone"])
	for _, name := range []string{"self", "stranger", "blocked", "friend"} {
		c := im.Direct(who[name].ID, s.ann.ID)
		s.speak(c, who[name])
		s.speak(c, s.ann)
	}
	s.sendsFile(im.Direct(who["owner"].ID, who["gone"].ID), who["gone"])
	s.files[who["self"].ID] = s.uploads(who["self"])
	s.proves(post, who["self"])
	for _, name := range []string{"ann", "self", "gone"} {
		s.owns(who[name])
	}
	must[any](s, "user-delete", who["gone"], request{"password": "correct horse battery"})
	s.stores.forget("relation:*") // which may be late to tell that somebody is gone
	s.stores.keep()
	return s
}

// speak puts something into a conversation that somebody said.
func (s *society) speak(c im.Conversation, by account) {
	id := im.NewMessageID(im.Now())
	s.say(id, c, by.ID, id, "said")
	s.said[string(c)+by.ID] = id
}

// uploads uploads a picture that nobody else has.
func (s *society) uploads(by account) (file string) {
	s.t.Helper()
	content := picture(s.t, 16, 20+len(s.files))
	u := must[upload](s, "file-create", by, fileOf("lunch.png", "image/png", content))
	if status, answer := u.put(s.t, content); status != http.StatusOK {
		s.t.Fatalf("uploading: %d %s", status, answer)
	}
	must[any](s, "file-complete", by, request{"file": u.File.ID})
	return u.File.ID
}

// sendsFile puts a file into a conversation that somebody sent.
func (s *society) sendsFile(c im.Conversation, by account) {
	s.t.Helper()
	file := s.uploads(by)
	must[any](s, "message-send", by, request{"to": c, "file": file})
	s.files[string(c)+by.ID] = file
}

// proves has somebody prove an address, ask for a code to reset their password
// and prepare a second factor.
func (s *society) proves(post *postbox, who account) {
	s.t.Helper()
	address := who.Account + "@example.org"
	must[any](s, "user-update", who, request{"email": address})
	must[any](s, "email-verify", who, request{"password": rightPassword})
	s.mailed["verify"] = post.code(address)
	must[any](s, "email-confirm", who, request{"code": s.mailed["verify"]})
	must[any](s, "password-forgot", account{}, request{"email": address})
	s.mailed["reset"] = post.code(address)
	s.secret = must[struct{ Secret string }](s, "totp-setup", who, request{"password": rightPassword}).Secret
}

// owns makes a bot of somebody's, with a webhook.
func (s *society) owns(by account) {
	s.t.Helper()
	made := must[struct {
		Bot     struct{ ID string }
		Token   string
		TokenID string `json:"token_id"`
	}](s, "bot-create", by, request{"account": by.Account + "-bot", "name": "Bot", "scopes": []string{"messages:read", "messages:write"}})
	hook := must[struct{ Webhook struct{ ID string } }](s, "webhook-create", by, request{"bot": made.Bot.ID, "url": "https://bot.example.org/hook", "events": []string{"message"}})
	s.bots[by.ID] = aBot{made.Bot.ID, made.Token, made.TokenID, hook.Webhook.ID}
}

// A situation is what a function is called in.
type situation struct {
	*society
	column       string
	caller       account
	other        string          // whom it is about
	group        string          // where it is
	conversation im.Conversation // likewise
	mine, theirs string          // messages there, of the caller and of the other
	file         string          // that the other has sent there; the caller's own if it is about themselves
	bot          aBot            // of the other, or likewise
}

func (s *society) situation(column string) situation {
	is := situation{society: s, column: column, caller: s.by[column], other: s.ann.ID, group: s.group.ID}
	is.conversation = im.Direct(is.caller.ID, s.ann.ID)
	speaker := is.caller.ID
	switch column {
	case "another": // what is between others
		speaker = s.by["friend"].ID
		is.conversation = im.Direct(speaker, s.ann.ID)
	case "deleted":
		is.conversation = s.group.Conversation
	case "non-member", "muted", "member", "admin", "owner":
		is.other, is.conversation = s.victim.ID, s.group.Conversation
	case "to-deleted":
		is.other = s.by["deleted"].ID
		is.conversation = im.Direct(speaker, is.other)
	case "dissolved":
		is.other, is.group, is.conversation = s.victim.ID, s.dissolved.ID, s.dissolved.Conversation
	}
	if is.mine = s.said[string(is.conversation)+speaker]; is.mine == "" {
		is.mine = s.said[string(s.group.Conversation)+s.victim.ID]
	}
	if is.theirs = s.said[string(is.conversation)+is.other]; is.theirs == "" {
		is.theirs = is.mine
	}
	is.file, is.bot = s.files[string(is.conversation)+is.other], s.bots[is.caller.ID]
	switch column {
	case "no-token", "expired", "oneself":
		is.file, is.bot = s.files[is.caller.ID], s.bots[is.caller.ID]
	case "another":
		is.bot = s.bots[is.other]
	}
	return is
}

// own returns a request about the caller alone. As another it names somebody
// else in it, by a field that each function would have if it had any.
func own(s situation, fields request) request {
	if s.column == "another" {
		fields["user"] = s.ann.ID
	}
	return fields
}

const rightPassword = "correct horse battery"

// requests are what each function is called with. One that is of a group is
// called about another member of it, unless it is about the group; one that is
// of a message, about one's own if it is to be edited and else about the other's.
var requests = map[string]func(situation) request{
	"user-register": func(s situation) request {
		name := "fresh"
		if s.column == "deleted" {
			name = "gone" // nobody is taken for them
		}
		return request{"account": name, "password": rightPassword}
	},
	"user-login": func(s situation) request {
		r := request{"account": s.caller.Account, "password": rightPassword, "device": "d", "platform": "web"}
		if s.column == "another" {
			r["account"], r["password"] = s.ann.Account, "not that of ann"
		}
		return r
	},
	"token-refresh": func(s situation) request {
		r := request{"refresh_token": s.caller.Refresh}
		if s.column == "another" {
			r["refresh_token"] = strings.Repeat("A", 43)
		}
		return r
	},
	"user-logout": func(s situation) request { return own(s, request{}) },
	"user-search": func(s situation) request { return request{"account": "ann"} },
	"user-get": func(s situation) request {
		if s.column == "oneself" {
			return request{"user": "me"}
		}
		return request{"user": s.other}
	},
	"user-update":     func(s situation) request { return own(s, request{"name": "Somebody"}) },
	"password-change": func(s situation) request { return own(s, request{"old": rightPassword, "new": "staple correct horse"}) },
	"session-list":    func(s situation) request { return own(s, request{}) },
	"session-revoke": func(s situation) request {
		if s.column == "another" {
			return request{"session": s.ann.Session}
		}
		return request{"session": s.caller.Session}
	},
	"session-prove": func(s situation) request { return own(s, request{"password": rightPassword}) },
	"user-delete":   func(s situation) request { return own(s, request{"password": rightPassword}) },
	"presence-get":  func(s situation) request { return request{"users": s.other} },

	"friend-request":  func(s situation) request { return request{"user": s.otherOrMe()} },
	"friend-requests": func(s situation) request { return own(s, request{"direction": "incoming"}) },
	"friend-respond":  func(s situation) request { return request{"user": s.unlessGone(s.bystander), "accept": true} },
	"friend-list":     func(s situation) request { return own(s, request{}) },
	"friend-update":   func(s situation) request { return request{"user": s.otherOrMe(), "remark": "a friend"} },
	"friend-delete":   func(s situation) request { return request{"user": s.otherOrMe()} },
	"block-set":       func(s situation) request { return request{"user": s.otherOrMe(), "blocked": true} },
	"block-list":      func(s situation) request { return own(s, request{}) },

	"group-create":   func(s situation) request { return own(s, request{"name": "Dinner"}) },
	"group-list":     func(s situation) request { return own(s, request{}) },
	"group-get":      func(s situation) request { return request{"group": s.group} },
	"group-update":   func(s situation) request { return request{"group": s.group, "name": "Dinner"} },
	"group-dissolve": func(s situation) request { return request{"group": s.group} },
	"group-members":  func(s situation) request { return request{"group": s.group} },
	"group-invite":   func(s situation) request { return request{"group": s.group, "users": []string{s.unlessGone(s.ann)}} },
	"group-remove":   func(s situation) request { return request{"group": s.group, "users": []string{s.unlessGone(s.victim)}} },
	"group-leave":    func(s situation) request { return request{"group": s.group} },
	"group-role": func(s situation) request {
		return request{"group": s.group, "user": s.unlessGone(s.victim), "role": "admin"}
	},
	"group-mute": func(s situation) request { return request{"group": s.group, "all": true} },
	"group-ban": func(s situation) request {
		return request{"group": s.group, "user": s.unlessGone(s.victim), "reason": "spam"}
	},
	"group-bans":          func(s situation) request { return request{"group": s.group} },
	"group-unban":         func(s situation) request { return request{"group": s.group, "user": s.unlessGone(s.victim)} },
	"group-join-request":  func(s situation) request { return request{"group": s.group} },
	"group-join-requests": func(s situation) request { return request{"group": s.group} },
	"group-join-respond": func(s situation) request {
		return request{"group": s.group, "user": s.unlessGone(s.bystander), "accept": true}
	},

	"message-sync": func(s situation) request { return own(s, request{"after": 0}) },
	"message-send": func(s situation) request {
		to := string(s.conversation)
		if s.column == "another" {
			to = string(im.Direct(s.by["friend"].ID, s.ann.ID))
		}
		return request{"to": to, "text": "hello"}
	},
	"message-history": func(s situation) request { return request{"conversation": s.conversation} },
	"message-recall":  func(s situation) request { return request{"conversation": s.conversation, "message": s.theirs} },
	"message-edit": func(s situation) request {
		return request{"conversation": s.conversation, "message": s.mine, "text": "else"}
	},
	"message-react": func(s situation) request {
		return request{"conversation": s.conversation, "message": s.theirs, "emoji": "👍", "on": true}
	},
	"message-read": func(s situation) request { return request{"conversation": s.conversation, "message": s.theirs} },
	"message-delete": func(s situation) request {
		return request{"conversation": s.conversation, "messages": []string{s.theirs}}
	},

	"message-search": func(s situation) request {
		return request{"q": "said", "conversation": s.conversation}
	},

	"conversation-list":   func(s situation) request { return own(s, request{}) },
	"conversation-update": func(s situation) request { return request{"conversation": s.conversation, "pinned": true} },

	"file-create":   func(s situation) request { return own(s, fileOf("menu.txt", "text/plain", []byte("soup"))) },
	"file-complete": func(s situation) request { return request{"file": s.file} },
	"file-get":      func(s situation) request { return request{"file": s.file} },
	"avatar-set":    func(s situation) request { return request{"file": s.file} },

	"email-verify":    func(s situation) request { return own(s, request{"password": rightPassword}) },
	"email-confirm":   func(s situation) request { return own(s, request{"code": s.mailed["verify"]}) },
	"password-forgot": func(s situation) request { return request{"email": s.unlessGone(s.ann) + "@example.org"} },
	"password-reset": func(s situation) request {
		r := request{"email": s.by["oneself"].Account + "@example.org", "code": s.mailed["reset"], "new": "staple correct horse"}
		if s.column == "another" || s.column == "deleted" {
			r["email"] = "ann@example.org"
		}
		return r
	},
	"oauth-start": func(s situation) request {
		return own(s, request{"provider": "elsewhere", "password": rightPassword})
	},
	"oauth-callback": func(s situation) request {
		return request{"provider": "elsewhere", "state": strings.Repeat("A", 43), "code": "guess", "flow": strings.Repeat("A", 43), "device": "d", "platform": "web"}
	},
	"identity-list":   func(s situation) request { return own(s, request{}) },
	"identity-delete": func(s situation) request { return own(s, request{"provider": "elsewhere"}) },
	"totp-setup":      func(s situation) request { return own(s, request{"password": rightPassword}) },
	"totp-confirm":    func(s situation) request { return own(s, request{"code": s.secondFactor()}) },
	"totp-delete":     func(s situation) request { return own(s, request{"password": rightPassword, "code": "123456"}) },

	"push-key": func(s situation) request { return own(s, request{}) },
	"push-subscribe": func(s situation) request {
		return own(s, request{
			"endpoint": "https://push.example.net/wpush/v2/abc", "auth": "BTBZMqHH6r4Tts7J_aSIgg",
			"p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
		})
	},
	"push-unsubscribe": func(s situation) request { return own(s, request{}) },

	"bot-create": func(s situation) request {
		return own(s, request{"account": "dinner-bot", "name": "Dinner", "scopes": []string{"messages:write"}})
	},
	"bot-list":   func(s situation) request { return own(s, request{}) },
	"bot-update": func(s situation) request { return request{"bot": s.bot.ID, "name": "Dinner"} },
	"bot-delete": func(s situation) request { return request{"bot": s.bot.ID} },
	"bot-token-create": func(s situation) request {
		return request{"bot": s.bot.ID, "name": "second", "scopes": []string{"messages:read"}}
	},
	"bot-token-list":   func(s situation) request { return request{"bot": s.bot.ID} },
	"bot-token-delete": func(s situation) request { return request{"bot": s.bot.ID, "token": s.bot.tokenID} },
	"bot-login": func(s situation) request {
		if s.column == "another" {
			return request{"token": s.bot.token[:len(s.bot.token)-43] + strings.Repeat("A", 43)}
		}
		return request{"token": s.bot.token}
	},
	"webhook-create": func(s situation) request {
		return request{"bot": s.bot.ID, "url": "https://bot.example.org/dinner", "events": []string{"message"}}
	},
	"webhook-list":   func(s situation) request { return own(s, request{}) },
	"webhook-update": func(s situation) request { return request{"webhook": s.bot.webhook, "enabled": false} },
	"webhook-delete": func(s situation) request { return request{"webhook": s.bot.webhook} },
}

// unlessGone returns the id of somebody, or of the user who was deleted if it
// is all about them.
func (s situation) unlessGone(who account) string {
	if s.column == "to-deleted" {
		return s.other
	}
	return who.ID
}

func (s situation) otherOrMe() string {
	if s.column == "oneself" {
		return s.caller.ID
	}
	return s.other
}

// P6: each function answers everybody as testdata/authorization.txt says, also
// who calls it directly, and changes nothing for whom it refuses. A function
// without a row fails.
func TestP6EachFunctionAnswersEverybodyAsTheMatrixSays(t *testing.T) {
	t.Parallel()
	columns, rows := readMatrix(t)
	for _, c := range columns {
		if _, ok := actors[c]; !ok {
			t.Fatalf("nobody is in the situation %q", c)
		}
	}
	contract, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	s := found(t)
	dirty := false // something may not be as it was
	for _, f := range functions.All {
		r, ok := rows[f.Name]
		if !ok {
			t.Errorf("testdata/authorization.txt has no row for %s", f.Name)
			continue
		}
		delete(rows, f.Name)
		ask, public := requests[f.Name]
		if public != f.Public {
			t.Errorf("%s is public: %t, and has a request: %t", f.Name, f.Public, public)
			continue
		}
		reads := slices.ContainsFunc(contract.operations, func(op *operation) bool { return op.id == f.Name && op.method == http.MethodGet })
		for _, column := range columns {
			want := r[column]
			if want == "-" {
				continue
			}
			if dirty {
				s.stores.restore()
			}
			before := s.stores.notices()
			status, body := s.ask(f, column, ask)
			if fmt.Sprint(status) != want {
				t.Errorf("%s, %s: %d, want %s: %s", f.Name, column, status, want, body)
			}
			dirty = status < 300 && !reads || t.Failed()
			if status >= 300 || reads {
				if changed := s.stores.changed(); len(changed) > 0 {
					t.Errorf("%s, %s: is answered by %d, and has changed %v", f.Name, column, status, changed)
				}
				if s.stores.notices() != before {
					t.Errorf("%s, %s: is answered by %d, and announces it", f.Name, column, status)
				}
				if got := s.places(); got > 0 {
					t.Errorf("%s, %s: is answered by %d, and has placed %d messages", f.Name, column, status, got)
				}
			}
		}
	}
	for name := range rows {
		t.Errorf("testdata/authorization.txt has a row for %s, which is no function", name)
	}
}

// P6: with the token of a bot each function can be called that is of the scope
// which testdata/authorization.txt says, and no other.
func TestP6TheTokenOfABotIsGoodForItsScopesAlone(t *testing.T) {
	t.Parallel()
	_, rows := readMatrix(t)
	d := mountAll(t)
	ann := d.signUp("ann")
	for _, f := range functions.All {
		need := rows[f.Name]["scope"]
		if !f.Public || anybody[f.Name] {
			if need != "-" {
				t.Errorf("%s asks nobody for a token, and the table has the scope %s for it", f.Name, need)
			}
			continue
		}
		for _, scope := range im.Scopes {
			others := slices.DeleteFunc(slices.Clone(im.Scopes), func(s im.Scope) bool { return s == scope })
			for scopes, good := range map[string]bool{
				string(scope):         need == string(scope),
				im.ScopeClaim(others): need != "-" && need != string(scope),
			} {
				want := http.StatusForbidden
				if good {
					want = http.StatusBadRequest // for there is no such field
				}
				caller := im.Caller{User: ann.ID, Session: ann.Session, Device: "d", Platform: "bot", Scope: scopes}
				bearer := "Bearer " + d.issue(caller, d.vars["TOKEN_PRIVATE_KEY"], time.Hour)
				if status, body := d.call(f.Name, bearer, request{"nobody": "knows this"}); status != want {
					t.Errorf("%s by a token for %s: %d, want %d: %s", f.Name, scopes, status, want, body)
				}
			}
		}
	}
}

// places returns how many messages were given places since the stores were kept.
func (s *society) places() (n int) {
	keys, err := s.stores.redis.Keys(s.t.Context(), "place*").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, k := range keys {
		if now, there := s.stores.dumpOf(k); there && !slices.Equal(now.value, s.stores.dump[k].value) {
			n++
		}
	}
	return n
}

// ask calls a function in a situation.
func (s *society) ask(f fn.Func, column string, ask func(situation) request) (int, string) {
	caller := s.by[column]
	bearer := "Bearer " + caller.Access
	switch column {
	case "no-token":
		bearer = ""
	case "expired":
		bearer = "Bearer " + s.token(caller.User, s.vars["TOKEN_PRIVATE_KEY"], -time.Hour)
	}
	if ask != nil {
		return s.call(f.Name, bearer, ask(s.situation(column)))
	}
	// Between our own parts: an event without a seal, whoever brings it.
	e, err := event.New(f.Accepts, "somebody", caller.ID, map[string]any{})
	if f.Accepts == "" {
		return s.call(f.Name, bearer, map[string]any{})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return s.post(f.Name, e.AppendJSON(nil), "Content-Type", event.Structured, "Authorization", bearer)
}
