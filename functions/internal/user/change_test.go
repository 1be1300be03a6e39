package user

import (
	"errors"
	"slices"
	"testing"

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

func TestChangePassword(t *testing.T) {
	for _, tt := range []struct {
		name   string
		in     passwordRequest
		fail   func(*directory, *gate, *street)
		want   im.Kind
		marked []string
	}{
		{"all other sessions end", passwordRequest{"correct horse", "battery staple"}, nil, "", []string{sess, "another"}},
		{"it is changed though they cannot be closed at once", passwordRequest{"correct horse", "battery staple"},
			func(_ *directory, _ *gate, s *street) { s.markErr = down }, "", []string{sess}},
		{"the old one is wrong", passwordRequest{"correct house", "battery staple"}, nil, im.Denied, nil},
		{"the old one can be none", passwordRequest{"", "battery staple"}, nil, im.Denied, nil},
		{"the new one is too short", passwordRequest{"correct horse", "staple"}, nil, im.Invalid, nil},
		{"too many attempts", passwordRequest{"correct horse", "battery staple"},
			func(_ *directory, g *gate, _ *street) { g.err = im.Errorf(im.Overloaded, "wait") }, im.Overloaded, nil},
		{"attempts cannot be counted", passwordRequest{"correct horse", "battery staple"},
			func(_ *directory, g *gate, _ *street) { g.err = down }, im.Unavailable, nil},
		{"the database is down", passwordRequest{"correct horse", "battery staple"},
			func(d *directory, _ *gate, _ *street) { d.err = down }, im.Unavailable, nil},
		{"the user was deleted", passwordRequest{"correct horse", "battery staple"},
			func(d *directory, _ *gate, _ *street) { clear(d.users) }, im.Unauthenticated, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, g := newUser(t), &gate{}
			street, end := newStreet(t)
			if tt.fail != nil {
				tt.fail(d, g, street)
			}
			before := d.hashes["ann"]
			_, err := changePassword(d, g, passwords, end)(t.Context(), im.Caller{User: ann, Session: "own"}, tt.in)
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
	_, err := changePassword(d, g, busy(t), end)(t.Context(), im.Caller{User: ann}, passwordRequest{"correct house", "battery staple"})
	if !errors.Is(err, g.err) || len(g.asked) != 1 {
		t.Errorf("error %v, counted %q", err, g.asked)
	}
}
