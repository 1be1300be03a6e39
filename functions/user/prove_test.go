package user

import (
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/tidings-im/tidings/shared/im"
)

func TestACallerProvesAgainWhoTheyAre(t *testing.T) {
	const secret = "JBSWY3DPEHPK3PXP"
	code, err := totp.GenerateCode(secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		in       proveRequest
		factor   bool
		password bool
		ended    bool
		want     im.Kind
	}{
		{"by the password", proveRequest{Password: "correct horse"}, false, true, false, ""},
		{"by a code of the second factor", proveRequest{Code: code}, true, true, false, ""},
		{"by a code, having no password", proveRequest{Code: code}, true, false, false, ""},
		{"by both", proveRequest{Password: "correct horse", Code: code}, true, true, false, ""},
		{"by nothing", proveRequest{}, true, true, false, im.Invalid},
		{"by another password", proveRequest{Password: "correct house"}, false, true, false, im.Denied},
		{"by another password and a code", proveRequest{Password: "correct house", Code: code}, true, true, false, im.Denied},
		{"by the password and another code", proveRequest{Password: "correct horse", Code: "000000"}, true, true, false, im.Denied},
		{"by another code", proveRequest{Code: "000000"}, true, true, false, im.Denied},
		{"by a code of no second factor", proveRequest{Code: code}, false, true, false, im.Denied},
		{"by a password where there is none", proveRequest{Password: "correct horse"}, false, false, false, im.Denied},
		{"of a session that has ended", proveRequest{Password: "correct horse"}, false, true, true, im.Unauthenticated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, g, v := newUser(t), &gate{}, testVault(t)
			if tt.factor {
				d.factor = &im.Factor{Secret: v.Seal([]byte(secret), "totp", ann), Confirmed: true}
			}
			if !tt.password {
				d.hashes["ann"] = ""
			}
			if tt.ended {
				d.sessions = nil
			}
			second := &SecondFactor{store: d, limit: g, vault: v}
			got, err := proveAgain(prover(d, g), second, &Renewer{sessions: d, access: stamp{}})(t.Context(), im.Caller{User: ann, Session: sess}, tt.in)
			if (err != nil || tt.want != "") && im.KindOf(err) != tt.want {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if proved := len(d.sessions) > 0 && d.sessions[0].Proved != 0; proved != (tt.want == "") || (got.AccessToken != "") != proved {
				t.Errorf("proved: %v, answered %+v", proved, got)
			}
		})
	}
}

// Who guesses is counted, of either.
func TestP6AttemptsToProveAreCounted(t *testing.T) {
	d, g, v := newUser(t), &gate{}, testVault(t)
	d.factor = &im.Factor{Secret: v.Seal([]byte("JBSWY3DPEHPK3PXP"), "totp", ann), Confirmed: true}
	f := proveAgain(prover(d, g), &SecondFactor{store: d, limit: g, vault: v}, &Renewer{sessions: d, access: stamp{}})
	for _, in := range []proveRequest{{Password: "correct house"}, {Code: "000000"}} {
		if _, err := f(t.Context(), im.Caller{User: ann, Session: sess}, in); im.KindOf(err) != im.Denied {
			t.Fatal(err)
		}
	}
	if len(g.asked) != 1 || g.codes != 1 {
		t.Errorf("counted %q and %d codes", g.asked, g.codes)
	}
}

func TestWhoHasNoPasswordHasToHaveSignedInLately(t *testing.T) {
	d := newUser(t)
	d.hashes["ann"] = ""
	p := prover(d, &gate{})
	for proved, want := range map[im.Time]im.Kind{
		0: im.Reauthenticate, im.TimeOf(time.Now().Add(-6 * time.Minute)): im.Reauthenticate, im.TimeOf(time.Now().Add(-4 * time.Minute)): "",
	} {
		if err := p.Prove(t.Context(), im.Caller{User: ann, Session: sess, Proved: proved}, "anything"); (err != nil || want != "") && im.KindOf(err) != want {
			t.Errorf("proved at %v: %v", proved, err)
		}
	}
}
