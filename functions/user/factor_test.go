package user

import (
	"errors"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/tidings-im/tidings/shared/im"
)

const totpSecret = "JBSWY3DPEHPK3PXP"

// factor returns a second factor of ann that is asked for.
func factor(t *testing.T, s *SecondFactor) *im.Factor {
	t.Helper()
	return &im.Factor{Secret: s.vault.Seal([]byte(totpSecret), "totp", ann), Confirmed: true}
}

// code returns the code of now.
func code(t *testing.T) string {
	t.Helper()
	c, err := totp.GenerateCode(totpSecret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestASignInWithASecondFactor(t *testing.T) {
	l, d, g := newLogin(t)
	_, l.end = newStreet(t)
	const secret = "JBSWY3DPEHPK3PXP"
	user := d.users["ann"].ID
	d.factor = &im.Factor{Secret: l.second.vault.Seal([]byte(secret), "totp", user), Confirmed: true}
	code, err := totp.GenerateCode(secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	try := func(password, code string) error {
		_, err := l.call(t.Context(), "", credentials{Account: "ann", Password: password, Code: code, Device: "d", Platform: "web"})
		return err
	}
	for _, tt := range []struct {
		name, password, code string
		limit                error
		want                 error
		counted              int
	}{
		{name: "without a code", password: "correct horse", want: im.SecondFactor},
		{name: "with a right code and another password", password: "correct house", code: code, want: im.Unauthenticated},
		{name: "with no code at all", password: "correct horse", code: "let me in", want: im.SecondFactor, counted: 1},
		{name: "too often", password: "correct horse", code: code, limit: im.Errorf(im.Overloaded, "wait"), want: im.Overloaded, counted: 1},
		{name: "while nobody counts", password: "correct horse", code: code, limit: down, want: im.Unavailable, counted: 1},
		{name: "as it should be", password: "correct horse", code: code, counted: 1},
		{name: "with the same code again", password: "correct horse", code: code, want: im.SecondFactor, counted: 1},
	} {
		g.codes, g.codesErr = 0, tt.limit
		if err := try(tt.password, tt.code); !errors.Is(err, tt.want) || g.codes != tt.counted {
			t.Errorf("%s: %v, counted %d times", tt.name, err, g.codes)
		}
	}
	if len(d.sessions) != 1 {
		t.Errorf("%d sessions", len(d.sessions))
	}
	d.factor.Secret = l.second.vault.Seal([]byte(secret), "totp", bob) // moved from one row to another
	d.factor.LastStep = 0
	if err := try("correct horse", code); err == nil || errors.Is(err, im.SecondFactor) {
		t.Errorf("by the secret of another user: %v", err)
	}
	d.factor.Confirmed = false
	if err := try("correct horse", ""); err != nil {
		t.Errorf("before it is confirmed: %v", err)
	}
}

// The vectors of RFC 6238, appendix B, for SHA-1, cut to six digits.
func TestCodesAreThoseOfTheRFC(t *testing.T) {
	const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	for at, code := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		for _, off := range []int64{-60, -30, 0, 30, 60} {
			if at+off < 0 {
				continue
			}
			step, ok := MatchStep(secret, code, time.Unix(at+off, 0))
			if want := off >= -30 && off <= 30; ok != want || ok && step != at/30 {
				t.Errorf("%s at %d%+d: step %d, %t", code, at, off, step, ok)
			}
		}
	}
}
