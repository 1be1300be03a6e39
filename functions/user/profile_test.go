package user

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

// book keeps profiles.
type book struct {
	self    im.Self
	others  map[string]im.Profile // by id
	changed im.UserChange
	sought  string // "<by> <what> for <whom>"
	err     error
}

func (b *book) Self(_ context.Context, user string) (im.Self, error) {
	if user != b.self.ID {
		return im.Self{}, im.Errorf(im.NotFound, "no such user")
	}
	return b.self, b.err
}

func (b *book) Profile(_ context.Context, user string) (im.Profile, error) {
	p, ok := b.others[user]
	if !ok {
		return p, im.Errorf(im.NotFound, "no such user")
	}
	return p, b.err
}

func (b *book) UpdateUser(ctx context.Context, user string, c im.UserChange) (im.Self, error) {
	b.changed = c
	return b.Self(ctx, user)
}

func (b *book) FindByAccount(_ context.Context, account string) ([]im.Profile, error) {
	return b.find("account " + account)
}

func (b *book) FindByEmail(_ context.Context, seeker, email string) ([]im.Profile, error) {
	return b.find("email " + email + " for " + seeker)
}

func (b *book) FindByPhone(_ context.Context, seeker, phone string) ([]im.Profile, error) {
	return b.find("phone " + phone + " for " + seeker)
}

func (b *book) find(sought string) (out []im.Profile, err error) {
	b.sought = sought
	for _, p := range b.others {
		out = append(out, p)
	}
	return out, b.err
}

// count counts searches and refuses when it is closed.
type count struct {
	asked []string
	err   error
}

func (c *count) Allow(_ context.Context, user string) error {
	c.asked = append(c.asked, user)
	return c.err
}

func newBook() *book {
	return &book{
		self: im.Self{
			Profile: im.Profile{ID: ann, Account: "ann", Name: "Ann"}, Email: "ann@example.org", Phone: "+4930901820",
			Settings: im.UserSettings{Presence: im.Friends, FriendRequests: im.Everyone, GroupAdds: im.Friends}, Created: 1,
		},
		others: map[string]im.Profile{bob: {ID: bob, Account: "bob", Name: "Bob", Bio: "Hi", Avatar: "https://example.org/bob.png"}},
	}
}

func TestGet(t *testing.T) {
	const own = `{"id":"` + ann + `","account":"ann","name":"Ann","email":"ann@example.org","phone":"+4930901820",` +
		`"settings":{"find_by_email":false,"find_by_phone":false,"presence":"friends","friend_requests":"everyone","group_adds":"friends"},"created":"1970-01-01T00:00:00.000001Z"}`
	const former = "ffffffffffffffff"
	for _, tt := range []struct {
		name, caller, user string
		fail               error
		want               string
		kind               im.Kind
	}{
		{name: "oneself, as me", caller: ann, user: "me", want: own},
		{name: "oneself, by the id", caller: ann, user: ann, want: own},
		{name: "another shows the profile alone", caller: ann, user: bob, want: `{"id":"` + bob + `","account":"bob","name":"Bob","avatar":"https://example.org/bob.png","bio":"Hi"}`},
		{name: "somebody who was deleted", caller: ann, user: former, want: `{"id":"` + former + `","account":"","name":"","deleted":true}`},
		{name: "nobody", caller: ann, user: im.NewID(), kind: im.NotFound},
		{name: "what is no id", caller: ann, user: "bob", kind: im.Invalid},
		{name: "nothing", caller: ann, user: "", kind: im.Invalid},
		{name: "oneself, deleted", caller: former, user: "me", kind: im.Unauthenticated},
		{name: "without the database", caller: ann, user: bob, fail: down, kind: im.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBook()
			b.others[former] = im.Profile{ID: former, Deleted: true}
			b.err = tt.fail
			got, err := get(b)(t.Context(), im.Caller{User: tt.caller}, getRequest{tt.user})
			if err != nil || tt.kind != "" {
				if im.KindOf(err) != tt.kind || err == nil || got != nil {
					t.Errorf("%v, error %v, want %s", got, err, tt.kind)
				}
				return
			}
			if b, _ := json.Marshal(got); string(b) != tt.want {
				t.Errorf("got  %s\nwant %s", b, tt.want)
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     string // as JSON; "" is refused
	}{
		{"everything", `{"name":"Ann B","bio":"x\ny","avatar":"https://example.org/a.png","email":"Ann@Example.ORG","phone":"+49 (30) 90-1820",
			"settings":{"find_by_email":true,"find_by_phone":false,"presence":"nobody","friend_requests":"nobody","group_adds":"nobody"}}`,
			`{"Name":"Ann B","Bio":"x\ny","Avatar":"https://example.org/a.png","Email":"ann@example.org","Phone":"+4930901820",` +
				`"FindByEmail":true,"FindByPhone":false,"Presence":"nobody","FriendRequests":"nobody","GroupAdds":"nobody"}`},
		{"what is not named stays", `{"bio":""}`, `{"Name":null,"Bio":"","Avatar":null,"Email":null,"Phone":null,"FindByEmail":null,"FindByPhone":null,"Presence":null,"FriendRequests":null,"GroupAdds":null}`},
		{"nothing", `{}`, `{"Name":null,"Bio":null,"Avatar":null,"Email":null,"Phone":null,"FindByEmail":null,"FindByPhone":null,"Presence":null,"FriendRequests":null,"GroupAdds":null}`},
		{"what is empty is taken away", `{"email":"","phone":"","avatar":""}`, `{"Name":null,"Bio":null,"Avatar":"","Email":"","Phone":"","FindByEmail":null,"FindByPhone":null,"Presence":null,"FriendRequests":null,"GroupAdds":null}`},
		{"no name", `{"name":""}`, ""},
		{"a bio of control characters", `{"bio":"\u0007"}`, ""},
		{"an avatar of another site", `{"avatar":"https://tracker.example/a.png"}`, ""},
		{"an avatar of another port", `{"avatar":"https://example.org:8443/a.png"}`, ""},
		{"the avatar that is there", `{"avatar":"https://store.example/avatars/a.jpg"}`, `{"Name":null,"Bio":null,"Avatar":null,"Email":null,"Phone":null,"FindByEmail":null,"FindByPhone":null,"Presence":null,"FriendRequests":null,"GroupAdds":null}`},
		{"an avatar that is no https URL", `{"avatar":"javascript:alert(1)"}`, ""},
		{"an e-mail address that is none", `{"email":"ann"}`, ""},
		{"a telephone number without its country", `{"phone":"030 901820"}`, ""},
		{"a presence for nobody knows whom", `{"settings":{"presence":"enemies"}}`, ""},
		{"friend requests of friends", `{"settings":{"friend_requests":"friends"}}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBook()
			b.self.Avatar = "https://store.example/avatars/a.jpg"
			var in updateRequest
			if err := json.Unmarshal([]byte(tt.in), &in); err != nil {
				t.Fatal(err)
			}
			got, err := update(b, []string{"example.org"})(t.Context(), im.Caller{User: ann}, in)
			if tt.want == "" {
				if !errors.Is(err, im.Invalid) || b.changed != (im.UserChange{}) {
					t.Errorf("error %v, changed %+v", err, b.changed)
				}
				return
			}
			if c, _ := json.Marshal(b.changed); err != nil || string(c) != tt.want || got != b.self {
				t.Errorf("error %v, answer %+v\nchanged %s\nwant    %s", err, got, c, tt.want)
			}
		})
	}
	if _, err := update(newBook(), nil)(t.Context(), im.Caller{User: bob}, updateRequest{}); !errors.Is(err, im.Unauthenticated) {
		t.Errorf("of a user who was deleted: %v", err)
	}
}

func TestSearch(t *testing.T) {
	const all = `{"users":[{"id":"` + bob + `","account":"bob","name":"Bob","avatar":"https://example.org/bob.png","bio":"Hi"}]}`
	for _, tt := range []struct {
		name   string
		in     searchRequest
		sought string // "" is refused
	}{
		{"by an account", searchRequest{Account: "BOB"}, "account bob"},
		{"by an e-mail address", searchRequest{Email: "Bob@Example.org"}, "email bob@example.org for " + ann},
		{"by a telephone number", searchRequest{Phone: "+49 30 901820"}, "phone +4930901820 for " + ann},
		{"by nothing", searchRequest{}, ""},
		{"by two things", searchRequest{Account: "bob", Email: "bob@example.org"}, ""},
		{"by three things", searchRequest{Account: "bob", Email: "bob@example.org", Phone: "+4930901820"}, ""},
		{"by a part of an account", searchRequest{Account: "b%"}, ""},
		{"by a part of an e-mail address", searchRequest{Email: "@example.org"}, ""},
		{"by a part of a telephone number", searchRequest{Phone: "+4930"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, c := newBook(), &count{}
			got, err := search(b, c)(t.Context(), im.Caller{User: ann}, tt.in)
			if tt.sought == "" {
				if !errors.Is(err, im.Invalid) || b.sought != "" {
					t.Errorf("error %v, sought %q", err, b.sought)
				}
				return
			}
			if j, _ := json.Marshal(got); err != nil || string(j) != all || b.sought != tt.sought || len(c.asked) != 1 || c.asked[0] != ann {
				t.Errorf("error %v, sought %q, counted %q, found %s", err, b.sought, c.asked, j)
			}
			b.others = nil
			if got, err := search(b, c)(t.Context(), im.Caller{User: ann}, tt.in); err != nil || got.Users == nil {
				t.Errorf("nobody: %+v, %v: a list is to be empty, not null", got, err)
			}
			b.err = down
			if _, err := search(b, c)(t.Context(), im.Caller{User: ann}, tt.in); !errors.Is(err, im.Unavailable) {
				t.Errorf("without the database: %v", err)
			}
			b.sought, c.err = "", im.Errorf(im.Overloaded, "wait")
			if _, err := search(b, c)(t.Context(), im.Caller{User: ann}, tt.in); !errors.Is(err, im.Overloaded) || b.sought != "" {
				t.Errorf("too often: %v, sought %q", err, b.sought)
			}
		})
	}
}
