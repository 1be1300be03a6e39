package bot

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// a stable is bots in memory, and what was done to them.
type stable struct {
	created  []im.Bot
	token    im.BotToken
	hash     []byte
	owner    string
	most     int
	err      error
	revoked  []string
	deleted  []string
	orphans  []string
	expired  int
	notices  []im.Notice
	attempts int
}

func (s *stable) CreateBot(_ context.Context, owner string, b im.Bot, t im.BotToken, hash []byte, most int) error {
	s.owner, s.token, s.hash, s.most = owner, t, hash, most
	s.created = append(s.created, b)
	return s.err
}

func (s *stable) CreateBotToken(_ context.Context, owner string, t im.BotToken, hash []byte, most int) error {
	s.owner, s.token, s.hash, s.most = owner, t, hash, most
	return s.err
}

func (s *stable) DeleteBotToken(_ context.Context, _, _, token string) error {
	s.deleted = append(s.deleted, token)
	return s.err
}

func (s *stable) BotByToken(_ context.Context, hash []byte) (im.Profile, im.BotToken, error) {
	if !bytes.Equal(hash, s.hash) {
		return im.Profile{}, im.BotToken{}, im.Errorf(im.Unauthenticated, "no")
	}
	return im.Profile{ID: s.token.Bot, Bot: true}, s.token, nil
}

func (s *stable) Revoked(_ context.Context, user string, sessions ...string) {
	for _, session := range sessions {
		s.revoked = append(s.revoked, user+" "+session)
	}
}

func (s *stable) Allow(context.Context, string) error { return nil }

func (s *stable) AllowFrom(context.Context, string) error { return nil }

func (s *stable) MarkBot(context.Context, string, string) error { return nil }

func (s *stable) ForgetBot(_ context.Context, owner, bot string) ([]string, bool, error) {
	if s.attempts++; s.attempts == 1 {
		return nil, false, im.Errorf(im.Unavailable, "a deadlock")
	}
	s.owner = owner
	s.deleted = append(s.deleted, bot)
	return []string{"session"}, s.attempts == 2, s.err
}

func (s *stable) LeaveAllGroups(context.Context, string) ([]im.Notice, error) {
	return []im.Notice{{Type: im.GroupLeft}}, nil
}
func (s *stable) RemoveAllFriends(context.Context, string) ([]string, error) {
	return []string{"ffffffffffffffff"}, nil
}
func (s *stable) Notify(n ...im.Notice) { s.notices = append(s.notices, n...) }

func (s *stable) change(ctx context.Context, f func(context.Context, leaver) error) error {
	s.notices = nil
	return f(ctx, s)
}

func (s *stable) OrphanedBots(context.Context, int) ([]string, error) { return s.orphans, nil }
func (s *stable) EndExpiredTokens(_ context.Context, limit int) (int, error) {
	n := min(limit, s.expired)
	s.expired -= n
	return n, nil
}

type issued struct {
	im.Caller
	latest time.Time
}

func (i *issued) IssueUntil(c im.Caller, latest time.Time) (string, time.Time, error) {
	i.Caller, i.latest = c, latest
	return "access", time.Now(), nil
}

var ann = im.Caller{User: "aaaaaaaaaaaaaaaa", Session: "ssssssssssssssss", Device: "d", Platform: "web"}

func TestABotSignsInWithWhatItsOwnerWasGiven(t *testing.T) {
	s := &stable{}
	out, err := (&creator{bots: s, limit: s, newcomers: s, most: 7}).call(t.Context(), ann, createRequest{Account: "Echo", Name: "E", Scopes: []im.Scope{im.MessagesWrite, im.MessagesRead, im.MessagesWrite}})
	if err != nil || s.owner != ann.User || s.most != 7 || out.Bot.Account != "echo" || !strings.HasPrefix(out.Token, "tdb_") || out.ID != s.token.ID || s.token.Bot != out.Bot.ID {
		t.Fatalf("%+v, %v; kept %+v", out, err, s)
	}
	if bytes.Contains([]byte(out.Token), s.hash) || !slices.Equal(s.token.Scopes, []im.Scope{im.MessagesRead, im.MessagesWrite}) {
		t.Errorf("kept %+v", s.token)
	}
	by := &issued{}
	in, err := (&login{bots: s, limit: s, access: by}).call(t.Context(), "", loginRequest{out.Token})
	if err != nil || in.Session != out.ID || by.User != out.Bot.ID || by.Session != out.ID || by.Scope != "messages:read messages:write" || by.Platform != "bot" || !by.latest.IsZero() {
		t.Errorf("%+v, %v; issued %+v", in, err, by)
	}

	over := im.TimeOf(time.Now().Add(time.Minute))
	k, err := (&tokenCreator{tokens: s, limit: s, most: 2}).call(t.Context(), ann, tokenRequest{Bot: out.Bot.ID, Name: "n", Scopes: []im.Scope{im.FilesRead}, Expires: over})
	if err != nil || s.most != 2 || k.Token == out.Token {
		t.Fatalf("%+v, %v", k, err)
	}
	if _, err := (&login{bots: s, limit: s, access: by}).call(t.Context(), "", loginRequest{k.Token}); err != nil || im.TimeOf(by.latest) != over || by.Scope != "files:read" {
		t.Errorf("%v; issued %+v", err, by)
	}
	for _, no := range []string{"", out.Token, k.Token[4:], "tdb_", k.Token + "A", strings.Replace(k.Token, "tdb_", "TDB_", 1)} {
		if _, err := (&login{bots: s, limit: s, access: by}).call(t.Context(), "", loginRequest{no}); !errors.Is(err, im.Unauthenticated) {
			t.Errorf("%q: %v", no, err)
		}
	}
}

func TestBotsThatCannotBe(t *testing.T) {
	s := &stable{}
	scopes := []im.Scope{im.MessagesRead}
	for name, in := range map[string]createRequest{
		"no account":           {Name: "E", Scopes: scopes},
		"no name":              {Account: "echo", Scopes: scopes},
		"no scopes":            {Account: "echo", Name: "E"},
		"a scope there is not": {Account: "echo", Name: "E", Scopes: []im.Scope{"everything"}},
		"two scopes in one":    {Account: "echo", Name: "E", Scopes: []im.Scope{"messages:read messages:write"}},
		"a bio of control":     {Account: "echo", Name: "E", Bio: "\x00", Scopes: scopes},
	} {
		if _, err := (&creator{bots: s, limit: s, newcomers: s}).call(t.Context(), ann, in); !errors.Is(err, im.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, in := range map[string]tokenRequest{
		"no bot":          {Name: "n", Scopes: scopes},
		"no name":         {Bot: ann.User, Scopes: scopes},
		"no scopes":       {Bot: ann.User, Name: "n"},
		"expired already": {Bot: ann.User, Name: "n", Scopes: scopes, Expires: 1},
	} {
		if _, err := (&tokenCreator{tokens: s, limit: s}).call(t.Context(), ann, in); !errors.Is(err, im.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(s.created) != 0 || s.token.ID != "" {
		t.Errorf("made %+v", s)
	}
}

func TestATokenThatIsDeletedIsRevoked(t *testing.T) {
	s := &stable{}
	in := tokenDeleteRequest{Bot: "bbbbbbbbbbbbbbbb", Token: "tttttttttttttttt"}
	if _, err := deleteToken(s, s)(t.Context(), ann, in); err != nil || !slices.Equal(s.revoked, []string{in.Bot + " " + in.Token}) {
		t.Errorf("%v, %v", err, s.revoked)
	}
	s = &stable{err: im.Errorf(im.NotFound, "no")}
	if _, err := deleteToken(s, s)(t.Context(), ann, in); !errors.Is(err, im.NotFound) || len(s.revoked) != 0 {
		t.Errorf("%v, %v", err, s.revoked)
	}
}

func TestBotsOfDeletedOwnersAreSweptAway(t *testing.T) {
	s := &stable{orphans: []string{"bbbbbbbbbbbbbbbb"}, expired: 250}
	r := &remover{change: s.change, end: s}
	if err := (&sweeper{store: s, remove: r.remove}).sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.expired != 0 || s.owner != "" || s.attempts != 2 || !slices.Equal(s.deleted, s.orphans) || !slices.Equal(s.revoked, []string{"bbbbbbbbbbbbbbbb session"}) {
		t.Errorf("%+v", s)
	}
	if len(s.notices) != 2 || s.notices[1].Type != im.FriendDeleted || !s.notices[1].Quiet {
		t.Errorf("told %+v", s.notices)
	}
	// Once more, at the same time: there is nothing to tell.
	if err := (&sweeper{store: s, remove: r.remove}).sweep(t.Context()); err != nil || len(s.notices) != 0 {
		t.Errorf("%v, %+v", err, s.notices)
	}
}
