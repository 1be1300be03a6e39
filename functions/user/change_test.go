package user

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// newUser returns a directory of ann, whose password is "correct horse", with
// three sessions of hers.
func newUser(t *testing.T) *directory {
	t.Helper()
	d := newDirectory()
	cheap, salt := params{memory: 8, time: 1, threads: 1}, make([]byte, saltLen)
	sum, err := passwords.sum(t.Context(), "", "correct horse", salt, cheap, hashLen)
	if err != nil {
		t.Fatal(err)
	}
	d.users["ann"], d.hashes["ann"] = im.User{ID: ann, Account: "ann"}, encode(cheap, salt, sum)
	d.sessions = []im.Session{{ID: sess, User: ann}, {ID: "own", User: ann}, {ID: "another", User: ann}}
	return d
}

// prover asks for proofs of the users of a directory.
func prover(d passwordReader, g *gate) *Prover {
	return &Prover{users: d, limit: g, passwords: passwords, fresh: 5 * time.Minute}
}

func TestWhatElseEndsWithAPasswordIsAsTheCallerSays(t *testing.T) {
	for _, also := range []im.Revocation{{}, {Bots: true}, {Identities: true}, {Bots: true, Identities: true}} {
		d := newUser(t)
		_, end := newStreet(t)
		_, err := changePassword(d, prover(d, &gate{}), tokens{access: stamp{}, refreshTTL: time.Hour}, end)(t.Context(), im.Caller{User: ann, Session: "own"},
			passwordRequest{Old: "correct horse", New: "battery staple", RevokeBots: also.Bots, RevokeIdentities: also.Identities})
		if err != nil || d.also != also {
			t.Errorf("%+v ends, not %+v: %v", d.also, also, err)
		}
	}
}

func TestChangePassword(t *testing.T) {
	for _, tt := range []struct {
		name   string
		in     passwordRequest
		fail   func(*directory, *gate, *street)
		want   im.Kind
		marked []string
	}{
		{"all sessions end", passwordRequest{Old: "correct horse", New: "battery staple"}, nil, "", []string{sess, "own", "another"}},
		{"it is changed though they cannot be closed at once", passwordRequest{Old: "correct horse", New: "battery staple"},
			func(_ *directory, _ *gate, s *street) { s.markErr = down }, "", []string{sess}},
		{"the old one is wrong", passwordRequest{Old: "correct house", New: "battery staple"}, nil, im.Denied, nil},
		{"the old one can be none", passwordRequest{Old: "", New: "battery staple"}, nil, im.Denied, nil},
		{"the new one is too short", passwordRequest{Old: "correct horse", New: "staple"}, nil, im.Invalid, nil},
		{"too many attempts", passwordRequest{Old: "correct horse", New: "battery staple"},
			func(_ *directory, g *gate, _ *street) { g.err = im.Errorf(im.Overloaded, "wait") }, im.Overloaded, nil},
		{"attempts cannot be counted", passwordRequest{Old: "correct horse", New: "battery staple"},
			func(_ *directory, g *gate, _ *street) { g.err = down }, im.Unavailable, nil},
		{"the database is down", passwordRequest{Old: "correct horse", New: "battery staple"},
			func(d *directory, _ *gate, _ *street) { d.err = down }, im.Unavailable, nil},
		{"the user was deleted", passwordRequest{Old: "correct horse", New: "battery staple"},
			func(d *directory, _ *gate, _ *street) { clear(d.users) }, im.Unauthenticated, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, g := newUser(t), &gate{}
			street, end := newStreet(t)
			if tt.fail != nil {
				tt.fail(d, g, street)
			}
			before := d.hashes["ann"]
			got, err := changePassword(d, prover(d, g), tokens{access: stamp{}, refreshTTL: time.Hour}, end)(t.Context(), im.Caller{User: ann, Session: "own", Device: "phone", Platform: "ios"}, tt.in)
			if (err != nil || tt.want != "") && im.KindOf(err) != tt.want {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if !slices.Equal(street.marked, tt.marked) {
				t.Errorf("marked %q, want %q", street.marked, tt.marked)
			}
			after := d.hashes["ann"]
			if tt.want != "" {
				if after != before {
					t.Error("it was changed all the same")
				}
				return
			}
			if s := d.sessions[0]; len(d.sessions) != 1 || got.Session != s.ID || s.ID == "own" || s.Device != "phone" || s.Platform != "ios" || s.Proved == 0 {
				t.Errorf("the session of who has changed it is %+v, answered %+v", d.sessions, got)
			}
			if hash, ok := hashOf(got.RefreshToken); !ok || d.refresh[string(hash)] != got.Session {
				t.Errorf("the refresh token is not that of the session: %+v", got)
			}
			if right, err := passwords.verify(t.Context(), "", after, tt.in.New); err != nil || !right {
				t.Errorf("what is kept is not the hash of the new one: %v", err)
			}
			if !slices.Equal(g.asked, []string{"ann known own"}) {
				t.Errorf("counted %q", g.asked)
			}
		})
	}
}

func TestP6AWrongPasswordIsCountedBeforeItIsHashed(t *testing.T) {
	d, g := newUser(t), &gate{err: im.Errorf(im.Overloaded, "wait")}
	_, end := newStreet(t)
	who := prover(d, g)
	who.passwords = busy(t)
	_, err := changePassword(d, who, tokens{}, end)(t.Context(), im.Caller{User: ann}, passwordRequest{Old: "correct house", New: "battery staple"})
	if !errors.Is(err, g.err) || len(g.asked) != 1 {
		t.Errorf("error %v, counted %q", err, g.asked)
	}
}
