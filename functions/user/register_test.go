package user

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func TestRegister(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   registration
		want im.User // but for its id
		err  error
	}{
		{"with a name", registration{"carl", "Carl the Great", "correct horse"}, im.User{Account: "carl", Name: "Carl the Great"}, nil},
		{"without a name it is the account", registration{"carl", "", "correct horse"}, im.User{Account: "carl", Name: "carl"}, nil},
		{"in capitals", registration{"CarL", "", "correct horse"}, im.User{Account: "carl", Name: "carl"}, nil},
		{"an account that is taken", registration{"ann", "", "correct horse"}, im.User{}, im.Conflict},
		{"the same in capitals", registration{"ANN", "", "correct horse"}, im.User{}, im.Conflict},
		{"no account by its form", registration{"a b", "", "correct horse"}, im.User{}, im.Invalid},
		{"no account", registration{"", "", "correct horse"}, im.User{}, im.Invalid},
		{"a name with a newline", registration{"carl", "Carl\n", "correct horse"}, im.User{}, im.Invalid},
		{"a reserved account", registration{"supp0rt", "", "correct horse"}, im.User{}, im.Conflict},
		{"a password that is the name", registration{"carl", "Carl the Great", "carl the great"}, im.User{}, im.Invalid},
		{"a password that everybody has", registration{"carl", "", "password"}, im.User{}, im.Invalid},
		{"too short a password", registration{"carl", "", "passwor"}, im.User{}, im.Invalid},
		{"too long a password", registration{"carl", "", strings.Repeat("x", 257)}, im.User{}, im.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, g := newDirectory(), &gate{}
			d.users["ann"] = im.User{ID: ann, Account: "ann"}
			h := newHasher(1, 0)
			got, err := register(d, &gate{}, h, newNames(nil), g)(t.Context(), "192.0.2.1", tt.in)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error = %v, want %v", err, tt.err)
			}
			if tt.err != nil {
				if len(d.users) != 1 {
					t.Errorf("users: %v", d.users)
				}
				return
			}
			tt.want.ID = got.ID
			if len(g.marked) != 1 || g.marked[0] != got.ID {
				t.Errorf("noted as new: %q", g.marked)
			}
			if got != tt.want || !im.IsID(got.ID) || d.users[got.Account] != got {
				t.Errorf("registered %+v, kept %+v", got, d.users)
			}
			if ok, err := h.verify(t.Context(), "", d.hashes[got.Account], tt.in.Password); err != nil || !ok {
				t.Errorf("the hash that is kept is not of the password: %v, %v", ok, err)
			}
		})
	}
}

func TestP7TooManyRegistrationsAreRefusedBeforeAnythingIsHashed(t *testing.T) {
	d, g := newDirectory(), &gate{err: im.Errorf(im.Overloaded, "wait")}
	_, err := register(d, g, busy(t), newNames(nil), &gate{})(t.Context(), "192.0.2.1", registration{"carl", "", "correct horse"})
	if !errors.Is(err, g.err) || len(g.asked) != 1 || g.asked[0] != "@192.0.2.1" || len(d.users) > 0 {
		t.Errorf("error = %v, asked %q, users %v", err, g.asked, d.users)
	}
}
