package user

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// passwords hashes for all tests of this package that do not test hashing.
var passwords = newHasher(2, 64)

func newLogin(t *testing.T) (*login, *directory, *gate) {
	t.Helper()
	d, g := newDirectory(), &gate{}
	if _, err := register(d, &gate{}, passwords, newNames(nil), &gate{})(t.Context(), "", registration{Account: "ann", Password: "correct horse"}); err != nil {
		t.Fatal(err)
	}
	second := &SecondFactor{store: d, limit: g, vault: testVault(t), log: slog.New(slog.DiscardHandler)}
	begin := Beginner{sessions: d, tokens: tokens{access: stamp{}, refreshTTL: time.Hour}, proofs: proofs{testVault(t), time.Hour}, most: 7}
	return &login{accounts: d, limit: g, passwords: passwords, second: second, Beginner: begin}, d, g
}

func TestLogin(t *testing.T) {
	good := credentials{Account: "ann", Password: "correct horse", Device: "phone", Platform: "ios"}
	with := func(change func(*credentials)) credentials {
		c := good
		change(&c)
		return c
	}
	for _, tt := range []struct {
		name string
		in   credentials
		fail func(*directory, *gate)
		want error
	}{
		{name: "right", in: good},
		{name: "right, in capitals", in: with(func(c *credentials) { c.Account = "Ann" })},
		{name: "another password", in: with(func(c *credentials) { c.Password = "correct house" }), want: im.Unauthenticated},
		{name: "no password", in: with(func(c *credentials) { c.Password = "" }), want: im.Unauthenticated},
		{name: "no such account", in: with(func(c *credentials) { c.Account = "bob" }), want: im.Unauthenticated},
		{name: "no account by its form", in: with(func(c *credentials) { c.Account = "a b\x00" }), want: im.Unauthenticated},
		{name: "no device", in: with(func(c *credentials) { c.Device = "" }), want: im.Invalid},
		{name: "no such platform", in: with(func(c *credentials) { c.Platform = "toaster" }), want: im.Invalid},
		{name: "too many attempts", in: good, fail: func(_ *directory, g *gate) { g.err = im.Errorf(im.Overloaded, "wait") }, want: im.Overloaded},
		{name: "attempts cannot be counted", in: good, fail: func(_ *directory, g *gate) { g.err = down }, want: im.Unavailable},
		{name: "the database is down", in: good, fail: func(d *directory, _ *gate) { d.err = down }, want: im.Unavailable},
		{name: "the hash is damaged", in: good, fail: func(d *directory, _ *gate) { d.hashes["ann"] = "?" }, want: nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, d, g := newLogin(t)
			if tt.fail != nil {
				tt.fail(d, g)
			}
			got, err := l.call(t.Context(), "192.0.2.1", tt.in)
			if tt.name == "the hash is damaged" {
				if im.KindOf(err) != im.Internal {
					t.Errorf("error = %v", err)
				}
				return
			}
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			if tt.want != nil {
				if len(d.sessions) > 0 && !errors.Is(err, down) {
					t.Errorf("sessions %v", d.sessions)
				}
				return
			}
			u := d.users["ann"]
			s := d.sessions[0]
			if got.User != u || s.User != u.ID || s.Device != "phone" || s.Platform != "ios" || !im.IsID(s.ID) || got.Session != s.ID {
				t.Errorf("signed in %+v, session %+v", got, s)
			}
			if got.AccessToken != u.ID+"/"+s.ID+"/phone/ios" || got.Expires != im.TimeOf(expiry) {
				t.Errorf("token %s until %s", got.AccessToken, got.Expires)
			}
			raw, err := base64.RawURLEncoding.DecodeString(got.RefreshToken)
			if err != nil || len(raw) != 32 {
				t.Fatalf("refresh token %q: %v", got.RefreshToken, err)
			}
			hash := sha256.Sum256(raw)
			if d.refresh[string(hash[:])] != s.ID || len(d.refresh) != 1 {
				t.Error("what is kept is not the hash of the refresh token, or not only that")
			}
			if left := time.Until(got.RefreshExpires.Std()); left < 59*time.Minute || left > time.Hour {
				t.Errorf("the refresh token is good for %s", left)
			}
			if d.most != 7 {
				t.Errorf("the user may have %d sessions", d.most)
			}
			if !slices.Equal(g.asked, []string{"ann@192.0.2.1"}) {
				t.Errorf("counted %q", g.asked)
			}
		})
	}
}

func TestTheAnswerToASignInIsFlat(t *testing.T) {
	b, err := json.Marshal(signedIn{User: im.User{ID: ann}, issued: issued{Session: sess}})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"user", "session", "access_token", "expires_at", "refresh_token", "refresh_expires_at", "device_proof"} {
		if _, ok := got[key]; !ok {
			t.Errorf("%s has no %s", b, key)
		}
	}
}

// Who guesses learns neither from the words nor from the time whether there is
// an account: the same hash is computed for one that there is not.
func TestP6ASignInDoesNotSayWhetherThereIsAnAccount(t *testing.T) {
	l, d, g := newLogin(t)
	try := func(account string, h *hasher) error {
		l.passwords = h
		_, err := l.call(t.Context(), "192.0.2.1", credentials{Account: account, Password: "wrong password", Device: "d", Platform: "web"})
		return err
	}
	for _, account := range []string{"ann", "nobody"} {
		if err := try(account, busy(t)); !errors.Is(err, im.Overloaded) {
			t.Errorf("%s is not hashed: %v", account, err)
		}
	}
	if a, b := try("ann", passwords), try("nobody", passwords); a.Error() != b.Error() {
		t.Errorf("there: %q, not there: %q", a, b)
	}
	if len(g.asked) != 4 {
		t.Errorf("%d of 4 attempts are counted", len(g.asked))
	}
	real, _, sum, err := decode(d.hashes["ann"])
	dummy, _, dummySum, dummyErr := decode(passwords.dummy)
	if err != nil || dummyErr != nil || real != dummy || len(sum) != len(dummySum) {
		t.Errorf("hashed by %+v, the hash of no password by %+v (%v, %v)", real, dummy, err, dummyErr)
	}
}

func TestADeviceThatSignsInAgainEndsTheSessionThatItHad(t *testing.T) {
	l, d, _ := newLogin(t)
	var s *street
	s, l.end = newStreet(t)
	in := credentials{Account: "ann", Password: "correct horse", Device: "phone", Platform: "ios"}
	if _, err := l.call(t.Context(), "", in); err != nil || len(s.marked) > 0 {
		t.Fatalf("at first: %v, marked %q", err, s.marked)
	}
	d.sessions[0].ID = sess
	if _, err := l.call(t.Context(), "", in); err != nil {
		t.Fatal(err)
	}
	if len(s.marked) != 1 || s.marked[0] != sess || len(s.told) == 0 {
		t.Errorf("marked %q, told %q", s.marked, s.told)
	}
}

func TestRefresh(t *testing.T) {
	l, d, _ := newLogin(t)
	in, err := l.call(t.Context(), "192.0.2.1", credentials{Account: "ann", Password: "correct horse", Device: "phone", Platform: "ios"})
	if err != nil {
		t.Fatal(err)
	}
	d.sessions[0].ID = sess
	street, end := newStreet(t)
	f0 := refresh(d, unlimited{}, l.tokens, end)
	f := func(ctx context.Context, in refreshRequest) (issued, error) { return f0(ctx, "192.0.2.1", in) }

	next, err := f(t.Context(), refreshRequest{in.RefreshToken})
	if err != nil || next.RefreshToken == in.RefreshToken || next.AccessToken != in.User.ID+"/"+sess+"/phone/ios" || next.Session != sess {
		t.Fatalf("%+v, %v", next, err)
	}
	for _, token := range []string{"", "x", in.RefreshToken + "A", base64.RawURLEncoding.EncodeToString(make([]byte, 31))} {
		if _, err := f(t.Context(), refreshRequest{token}); im.KindOf(err) != im.Unauthenticated {
			t.Errorf("%q: %v", token, err)
		}
	}
	unknown := l.tokens.newRefresh()
	if _, err := f(t.Context(), refreshRequest{unknown.token}); im.KindOf(err) != im.Unauthenticated {
		t.Errorf("one that is not known: %v", err)
	}
	d.err = down
	if _, err := f(t.Context(), refreshRequest{next.RefreshToken}); im.KindOf(err) != im.Unavailable {
		t.Errorf("without the database: %v", err)
	}
	d.err = nil
	if len(street.marked) > 0 {
		t.Errorf("%v ended", street.marked)
	}
	if _, err := f(t.Context(), refreshRequest{next.RefreshToken}); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestP6ARefreshTokenThatComesTwiceEndsItsSession(t *testing.T) {
	for name, fail := range map[string]func(*street){
		"all gateways are reached":   func(*street) {},
		"the note cannot be written": func(s *street) { s.markErr = down },
		"presence is not known":      func(s *street) { s.lookupErr = down },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirectory()
			d.sessions = []im.Session{{ID: sess, User: ann}}
			tokens := tokens{access: stamp{}, refreshTTL: time.Hour, grace: time.Minute}
			stolen := tokens.newRefresh()
			d.refresh[string(stolen.hash)] = sess
			street, end := newStreet(t)
			fail(street)
			f0 := refresh(d, unlimited{}, tokens, end)
			f := func(ctx context.Context, in refreshRequest) (issued, error) { return f0(ctx, "192.0.2.1", in) }
			if _, err := f(t.Context(), refreshRequest{stolen.token}); err != nil {
				t.Fatal(err)
			}
			got, err := f(t.Context(), refreshRequest{stolen.token})
			if im.KindOf(err) != im.Unauthenticated || got != (issued{}) {
				t.Errorf("the second time: %+v, %v", got, err)
			}
			if !slices.Equal(street.marked, []string{sess}) || d.grace != time.Minute {
				t.Errorf("marked %v, grace %s", street.marked, d.grace)
			}
			if street.markErr == nil != slices.Equal(street.noted, []string{sess}) {
				t.Errorf("noted as told: %q", street.noted)
			}
			want := []string{`http://one/push {"session":"` + sess + `","reason":"` + frame.CloseRevoked.Reason + `"}`}
			if street.markErr != nil || street.lookupErr != nil {
				want = nil
			}
			if !slices.Equal(street.told, want) {
				t.Errorf("told %q, want %q", street.told, want)
			}
		})
	}
}

func TestEndingASession(t *testing.T) {
	caller := im.Caller{User: ann, Session: sess}
	for name, end := range map[string]func(*directory, *ender) error{
		"one's own, by signing out": func(d *directory, e *ender) error {
			_, err := logout(d, e)(t.Context(), caller, nothing{})
			return err
		},
		"by its name, from another": func(d *directory, e *ender) error {
			_, err := revoke(d, e)(t.Context(), im.Caller{User: ann, Session: "another"}, revokeRequest{sess})
			return err
		},
	} {
		for _, tt := range []struct {
			name string
			fail func(*directory, *street)
			told int
			want error
		}{
			{"tells the gateways that hold sockets of the session", func(*directory, *street) {}, 1, nil},
			{"succeeds though a gateway does not answer", func(_ *directory, s *street) { s.toErr = down }, 1, nil},
			{"succeeds though presence is not known", func(_ *directory, s *street) { s.lookupErr = down }, 0, nil},
			{"succeeds though it is told again by the sweep", func(_ *directory, s *street) { s.noteErr = down }, 1, nil},
			{"is to be tried again if gateways could not find out", func(_ *directory, s *street) { s.markErr = down }, 0, im.Unavailable},
			{"is to be tried again if the session lives on", func(d *directory, _ *street) { d.err = down }, 0, im.Unavailable},
		} {
			t.Run(name+", "+tt.name, func(t *testing.T) {
				d := newDirectory()
				d.sessions = []im.Session{{ID: sess, User: ann}}
				street, e := newStreet(t)
				tt.fail(d, street)
				err := end(d, e)
				if !errors.Is(err, tt.want) || len(street.told) != tt.told || !slices.Equal(d.ended, []string{sess}) {
					t.Errorf("error %v, told %q, ended %v", err, street.told, d.ended)
				}
				if d.err != nil && len(street.marked) > 0 {
					t.Error("a session that lives on is marked as ended")
				}
				if (err == nil) != slices.Equal(street.noted, []string{sess}) {
					t.Errorf("noted as told: %q", street.noted)
				}
			})
		}
	}
}

func TestSigningOutOfASessionThatWasSweptAwaySucceeds(t *testing.T) {
	street, end := newStreet(t)
	if _, err := logout(newDirectory(), end)(t.Context(), im.Caller{User: ann, Session: sess}, nothing{}); err != nil || len(street.marked) != 1 {
		t.Errorf("error %v, marked %q", err, street.marked)
	}
}

func TestP6NobodyEndsASessionOfAnother(t *testing.T) {
	d := newDirectory()
	d.sessions = []im.Session{{ID: sess, User: bob}}
	street, end := newStreet(t)
	for session, want := range map[string]im.Kind{sess: im.NotFound, im.NewID(): im.NotFound, "": im.Invalid, "x": im.Invalid} {
		_, err := revoke(d, end)(t.Context(), im.Caller{User: ann, Session: "own"}, revokeRequest{session})
		if im.KindOf(err) != want || len(street.marked) > 0 {
			t.Errorf("%q: %v, marked %q", session, err, street.marked)
		}
	}
}

func TestSessionsAreListedWithTheOneThatAsks(t *testing.T) {
	d := newDirectory()
	d.sessions = []im.Session{
		{ID: "1", User: ann, Device: "phone", Platform: "ios", Created: 1, Seen: 2},
		{ID: "2", User: bob},
		{ID: sess, User: ann, Device: "desk", Platform: "web", Created: 3, Seen: 4},
	}
	got, err := sessions(d)(t.Context(), im.Caller{User: ann, Session: sess}, nothing{})
	want := []session{{"1", "phone", "ios", 1, 2, false}, {sess, "desk", "web", 3, 4, true}}
	if err != nil || !slices.Equal(got.Sessions, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := sessions(d)(t.Context(), im.Caller{User: "nobody"}, nothing{}); err != nil || got.Sessions == nil {
		t.Errorf("none: %+v, %v: a list is to be empty, not null", got, err)
	}
	d.err = down
	if _, err := sessions(d)(t.Context(), im.Caller{User: ann}, nothing{}); !errors.Is(err, im.Unavailable) {
		t.Errorf("without the database: %v", err)
	}
}
