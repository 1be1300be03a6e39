package users_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
)

func TestUsers(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	ann := im.User{ID: im.NewID(), Account: "ann", Name: "Ann 😀"}
	pgtest.Wants(t, db.CreateUser(ctx, ann, "$argon2id$x"), "")

	got, hash, err := db.UserByAccount(ctx, "ann")
	if err != nil || got != ann || hash != "$argon2id$x" {
		t.Errorf("user = %v, %q, %v; want %v", got, hash, err, ann)
	}
	_, _, err = db.UserByAccount(ctx, "bob")
	pgtest.Wants(t, err, im.NotFound)
	account, hash, err := db.Password(ctx, ann.ID)
	if err != nil || account != "ann" || hash != "$argon2id$x" {
		t.Errorf("password = %q, %q, %v", account, hash, err)
	}

	other := im.User{ID: im.NewID(), Account: "ann", Name: "Another"}
	err = db.CreateUser(ctx, other, "h")
	pgtest.Wants(t, err, im.Conflict)
	if p := im.ProblemOf(err); !strings.Contains(p.Detail, "taken") || strings.Contains(p.Detail, "SQL") {
		t.Errorf("a client is told %q", p.Detail)
	}
	for name, err := range map[string]error{
		"Self":       pgtest.Second(db.Self(ctx, im.NewID())),
		"Profile":    pgtest.Second(db.Profile(ctx, im.NewID())),
		"UpdateUser": pgtest.Second(db.UpdateUser(ctx, im.NewID(), im.UserChange{})),
	} {
		if im.KindOf(err) != im.NotFound {
			t.Errorf("%s of nobody: %v", name, err)
		}
	}
}

func TestUsersChange(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	user := pgtest.People(t, db, 1)[0]
	first, err := db.Self(ctx, user)
	pgtest.Wants(t, err, "")
	if first.Account != "u-"+user || first.Settings != (im.UserSettings{Presence: im.Friends, FriendRequests: im.Everyone, GroupAdds: im.Everyone}) || first.Created == 0 {
		t.Errorf("at first: %+v", first)
	}
	want := first
	yes, no := true, false
	text := func(s string) *string { return &s }
	for _, step := range []struct {
		name   string
		change im.UserChange
		then   func(*im.Self)
	}{
		{"nothing", im.UserChange{}, func(*im.Self) {}},
		{"everything", im.UserChange{
			Name: text("N"), Bio: text("B\nb"), Avatar: text("https://a"), Email: text("a@b.c"), Phone: text("+4912345678"),
			FindByEmail: &yes, FindByPhone: &yes, Presence: text(im.Nobody), FriendRequests: text(im.Nobody), GroupAdds: text(im.Friends),
		}, func(s *im.Self) {
			s.Name, s.Bio, s.Avatar, s.Email, s.Phone = "N", "B\nb", "https://a", "a@b.c", "+4912345678"
			s.Settings = im.UserSettings{FindByEmail: true, FindByPhone: true, Presence: im.Nobody, FriendRequests: im.Nobody, GroupAdds: im.Friends}
		}},
		{"one setting", im.UserChange{FindByPhone: &no}, func(s *im.Self) { s.Settings.FindByPhone = false }},
		{"the e-mail address away", im.UserChange{Email: text("")}, func(s *im.Self) { s.Email = "" }},
		{"the bio and the telephone number away", im.UserChange{Bio: text(""), Phone: text("")}, func(s *im.Self) { s.Bio, s.Phone = "", "" }},
	} {
		step.then(&want)
		got, err := db.UpdateUser(ctx, user, step.change)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v\nwant %+v", step.name, got, err, want)
		}
		if read, err := db.Self(ctx, user); err != nil || read != want {
			t.Errorf("%s: read %+v, %v\nwant %+v", step.name, read, err, want)
		}
	}
	if p, err := db.Profile(ctx, user); err != nil || p != want.Profile {
		t.Errorf("profile %+v, %v", p, err)
	}
}

func TestAnotherEmailAddressIsNotVerified(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	user := pgtest.People(t, db, 1)[0]
	set := func(email string) {
		t.Helper()
		_, err := db.UpdateUser(ctx, user, im.UserChange{Email: &email})
		pgtest.Wants(t, err, "")
	}
	verified := func() (is bool) {
		t.Helper()
		pgtest.Wants(t, db.QueryRow(ctx, `SELECT email_verified IS NOT NULL FROM users WHERE id = $1`, user).Scan(&is), "")
		return is
	}
	for _, tt := range []struct {
		to   string
		want bool
	}{{"a@b.c", true}, {"d@e.f", false}, {"", false}} {
		set("a@b.c")
		if _, err := db.Exec(ctx, `UPDATE users SET email_verified = now() WHERE id = $1`, user); err != nil {
			t.Fatal(err)
		}
		if set(tt.to); verified() != tt.want {
			t.Errorf("changed to %q it is verified: %v", tt.to, !tt.want)
		}
	}
	name := "N"
	set("a@b.c")
	if _, err := db.Exec(ctx, `UPDATE users SET email_verified = now() WHERE id = $1`, user); err != nil {
		t.Fatal(err)
	}
	if _, err := db.UpdateUser(ctx, user, im.UserChange{Name: &name}); err != nil || !verified() {
		t.Errorf("another name takes away that the address is verified (%v)", err)
	}
}

func TestP6UsersAreFoundByWhatTheyAllow(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 9)
	seeker := u[8]
	yes, email, phone := true, "a@b.c", "+4912345678"
	for i, c := range []im.UserChange{
		{Email: &email, Phone: &phone, FindByEmail: &yes},
		{Email: &email, Phone: &phone, FindByPhone: &yes},
		{Email: &email, Phone: &phone},
		{Email: &email, Phone: &phone, FindByEmail: &yes, FindByPhone: &yes}, // has blocked the seeker
		{FindByEmail: &yes, FindByPhone: &yes},
	} {
		_, err := db.UpdateUser(ctx, u[i], c)
		pgtest.Wants(t, err, "")
	}
	if _, err := db.Exec(ctx, `INSERT INTO blocks (user_id, blocked_id) VALUES ($1, $2)`, u[3], seeker); err != nil {
		t.Fatal(err)
	}
	finds := func(what string, got []im.Profile, err error, want ...string) {
		t.Helper()
		ids := []string{}
		for _, p := range got {
			ids = append(ids, p.ID)
		}
		if err != nil || !slices.Equal(ids, want) && len(ids)+len(want) > 0 {
			t.Errorf("%s: %v, %v; want %v", what, ids, err, want)
		}
	}
	got, err := db.FindByAccount(ctx, "u-"+u[3])
	finds("by the account", got, err, u[3])
	got, err = db.FindByAccount(ctx, "nobody")
	finds("by no account", got, err)
	got, err = db.FindByEmail(ctx, seeker, email)
	finds("by e-mail", got, err, u[0])
	got, err = db.FindByEmail(ctx, u[7], email)
	finds("by e-mail, who is not blocked", got, err, u[0], u[3])
	got, err = db.FindByEmail(ctx, seeker, "")
	finds("by no e-mail address", got, err)
	got, err = db.FindByPhone(ctx, seeker, phone)
	finds("by telephone", got, err, u[1])
	got, err = db.FindByPhone(ctx, u[7], phone)
	finds("by telephone, who is not blocked", got, err, u[1], u[3])

	t.Run("who says so later comes later, however old the account", func(t *testing.T) {
		other, more := "x@y.z", "+49555555"
		for _, id := range []string{u[6], u[5], u[7]} {
			_, err := db.UpdateUser(ctx, id, im.UserChange{Email: &other, FindByEmail: &yes, Phone: &more, FindByPhone: &yes})
			pgtest.Wants(t, err, "")
		}
		_, err := db.UpdateUser(ctx, u[6], im.UserChange{Email: &other, Phone: &more}) // again: it is no later
		pgtest.Wants(t, err, "")
		got, err := db.FindByEmail(ctx, seeker, other)
		finds("by e-mail", got, err, u[6], u[5], u[7])
		got, err = db.FindByPhone(ctx, seeker, more)
		finds("by telephone", got, err, u[6], u[5], u[7])
	})

	t.Run("there are few, and whoever has proved it is the only one", func(t *testing.T) {
		for _, id := range u[:8] {
			_, err := db.UpdateUser(ctx, id, im.UserChange{Email: &email, FindByEmail: &yes})
			pgtest.Wants(t, err, "")
		}
		got, err := db.FindByEmail(ctx, seeker, email)
		finds("by e-mail", got, err, u[0], u[1], u[2], u[4], u[5])
		if _, err := db.Exec(ctx, `UPDATE users SET email_verified = now() WHERE id = $1`, u[7]); err != nil {
			t.Fatal(err)
		}
		got, err = db.FindByEmail(ctx, seeker, email)
		finds("by e-mail that is proved", got, err, u[7])
	})
}

func idsOf(sessions []im.Session) (ids []string) {
	for _, s := range sessions {
		ids = append(ids, s.ID)
	}
	slices.Sort(ids)
	return ids
}

// What somebody leaves behind who had stolen a password, or an access token.
func TestWhatIsRevokedWithAPasswordIsRevoked(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	for _, also := range []im.Revocation{{}, {Bots: true, Identities: true}} {
		u := pgtest.People(t, db, 2)
		var bots, tokens []string
		for _, owner := range u {
			b := im.Bot{ID: im.NewID(), Account: "bot" + owner, Name: "b", Created: im.Now()}
			k := im.BotToken{ID: im.NewID(), Bot: b.ID, Name: "t", Scopes: im.Scopes, Created: im.Now()}
			pgtest.Wants(t, db.CreateBot(ctx, owner, b, k, pgtest.Token(k.ID), 9), "")
			w := im.Webhook{ID: im.NewID(), Bot: b.ID, URL: "https://example.org", Enabled: true, Created: im.Now()}
			pgtest.Wants(t, db.CreateWebhook(ctx, owner, w, "secret", 9), "")
			pgtest.Wants(t, db.AddIdentity(ctx, owner, "", im.Claim{Provider: "p", Issuer: "i", Subject: owner}), "")
			bots, tokens = append(bots, b.ID), append(tokens, k.ID)
		}
		s := im.Session{ID: im.NewID(), User: u[0], Device: "a", Platform: "web", Created: im.Now()}
		ended, err := db.ChangePassword(ctx, s, "hash", "new", pgtest.Token(s.ID), pgtest.Later(), also)
		pgtest.Wants(t, err, "")
		if got := slices.Contains(ended, im.Session{ID: tokens[0], User: bots[0]}); got != also.Bots {
			t.Errorf("%+v: ended %v", also, ended)
		}
		for i, owner := range u {
			left := i > 0 || !also.Bots
			_, _, err := db.BotByToken(ctx, pgtest.Token(tokens[i]))
			hooks, hookErr := db.Webhooks(ctx, owner, bots[i])
			identities, idErr := db.Identities(ctx, owner)
			if (err == nil) != left || hookErr != nil || len(hooks) != 1 || hooks[0].Enabled != left || idErr != nil || (len(identities) == 1) != left {
				t.Errorf("%+v, user %d: token %v, webhooks %+v, identities %v", also, i, err, hooks, identities)
			}
		}
	}
}

func TestPasswordsChange(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 2)
	a, b, c := pgtest.SignIn(t, db, u[0], "a"), pgtest.SignIn(t, db, u[0], "b"), pgtest.SignIn(t, db, u[0], "c")
	other := pgtest.SignIn(t, db, u[1], "a")
	pgtest.Wants(t, db.EndSession(ctx, u[0], c), "")

	next := im.Session{ID: im.NewID(), User: u[0], Device: "a", Platform: "web", Created: im.Now()}
	_, err := db.ChangePassword(ctx, next, "another hash", "new", pgtest.Token("next"), pgtest.Later(), im.Revocation{})
	pgtest.Wants(t, err, im.Conflict)
	ended, err := db.ChangePassword(ctx, next, "hash", "new", pgtest.Token("next"), pgtest.Later(), im.Revocation{})
	if want := []string{a, b}; err != nil || !slices.Equal(idsOf(ended), pgtest.Sorted(want...)) {
		t.Errorf("ended %v, %v; want %s", ended, err, want)
	}
	if s, err := db.RotateRefresh(ctx, pgtest.Token("next"), pgtest.Token("next2"), pgtest.Later(), 0); err != nil || s.ID != next.ID || s.Proved != next.Created {
		t.Errorf("the refresh token is of %+v, %v", s, err)
	}
	if _, hash, err := db.Password(ctx, u[0]); err != nil || hash != "new" {
		t.Errorf("the hash is %q, %v", hash, err)
	}
	for user, want := range map[string]string{u[0]: next.ID, u[1]: other} {
		if got, err := db.Sessions(ctx, user, 9); err != nil || len(got) != 1 || got[0].ID != want {
			t.Errorf("sessions of %s: %v, %v", user, got, err)
		}
	}
	t.Run("nobody signs in with the old one who had read it before", func(t *testing.T) {
		s := im.Session{ID: im.NewID(), User: u[0], Device: "d", Platform: "web", Created: im.Now()}
		_, err := db.CreateSession(ctx, s, "hash", pgtest.Token("d"), pgtest.Later(), 9)
		pgtest.Wants(t, err, im.NotFound)
	})
}
