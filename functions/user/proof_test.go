package user

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// Strangers who guess use up what strangers have, not what a device has that was
// signed in before.
func TestP7StrangersDoNotKeepADeviceOutThatWasSignedInBefore(t *testing.T) {
	l, d, g := newLogin(t)
	_, l.end = newStreet(t)
	in := credentials{Account: "ann", Password: "correct horse", Device: "phone", Platform: "ios"}
	counted := func(name, want string) {
		t.Helper()
		if len(g.asked) != 1 || !strings.HasPrefix(g.asked[0], want) {
			t.Errorf("%s: counted %q, want %q", name, g.asked, want)
		}
		g.asked, g.lanes = nil, nil
	}
	first, err := l.call(t.Context(), "192.0.2.1", in)
	if err != nil || first.Proof == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	counted("the first time", "ann@192.0.2.1")

	known := in
	known.Proof = first.Proof
	known.Password = "correct house"
	if _, err := l.call(t.Context(), "192.0.2.1", known); !errors.Is(err, im.Unauthenticated) {
		t.Errorf("a wrong password of a known device: %v", err)
	}
	lane := strings.TrimPrefix(g.asked[0], "ann known ")
	counted("a known device", "ann known ")
	known.Password = in.Password
	again, err := l.call(t.Context(), "192.0.2.1", known)
	if err != nil || again.Proof == first.Proof {
		t.Errorf("%+v, %v", again, err)
	}
	counted("the device again", "ann known "+lane)

	other := in
	other.Proof = again.Proof
	if l.call(t.Context(), "", other); g.asked[0] == "ann known "+lane {
		t.Error("two proofs are of one lane")
	}
	counted("another device", "ann known ")

	for name, proof := range map[string]string{
		"what is none": "x", "one with another end": first.Proof[:len(first.Proof)-2] + "AA",
		"a sealed secret of another use": l.second.vault.Seal([]byte(`{"user":"`+first.User.ID+`","lane":"x","expires":9999999999}`), "totp"),
		"one of another user":            l.proofs.issue(bob, d.hashes["ann"]),
		"one that is too old":            proofs{l.proofs.vault, -time.Second}.issue(first.User.ID, d.hashes["ann"]),
	} {
		bad := in
		bad.Proof = proof
		if _, err := l.call(t.Context(), "192.0.2.1", bad); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		counted(name, "ann@192.0.2.1")
	}
	bad := in
	bad.Proof = strings.Repeat("k.", 2000)
	if _, err := l.call(t.Context(), "192.0.2.1", bad); !errors.Is(err, im.Invalid) {
		t.Errorf("one that is long: %v", err)
	}
	bad = known
	bad.Account = "nobody"
	if _, err := l.call(t.Context(), "192.0.2.1", bad); !errors.Is(err, im.Unauthenticated) {
		t.Errorf("a proof for another account: %v", err)
	}
	counted("a proof for another account", "nobody@192.0.2.1")

	// Whoever knew a password may have any number of proofs: they are one lane when
	// it is changed.
	if d.hashes["ann"], err = passwords.hash(t.Context(), "", "battery staple"); err != nil {
		t.Fatal(err)
	}
	for _, proof := range []string{first.Proof, again.Proof} {
		known.Proof = proof
		l.call(t.Context(), "192.0.2.1", known)
		counted("after another password", "ann known "+former)
	}
	// Who fills that lane has the others be strangers, and no less.
	g.formerErr = im.Errorf(im.Overloaded, "wait")
	l.call(t.Context(), "192.0.2.1", known)
	if want := []string{"ann known " + former, "ann@192.0.2.1"}; !slices.Equal(g.asked, want) {
		t.Errorf("counted %q, want %q", g.asked, want)
	}
}

// Who knows the password, but has no second factor, uses up no codes of a device
// that was let in by one.
func TestP7StrangersWithThePasswordDoNotUseUpTheCodesOfTheOwner(t *testing.T) {
	l, d, g := newLogin(t)
	_, l.end = newStreet(t)
	in := credentials{Account: "ann", Password: "correct horse", Device: "phone", Platform: "ios"}
	first, err := l.call(t.Context(), "192.0.2.1", in)
	if err != nil {
		t.Fatal(err)
	}
	d.factor = &im.Factor{Secret: l.second.vault.Seal([]byte("JBSWY3DPEHPK3PXP"), "totp", first.User.ID), Confirmed: true}
	in.Code = "000000"
	l.call(t.Context(), "198.51.100.1", in)
	in.Proof = first.Proof
	l.call(t.Context(), "192.0.2.1", in)
	if len(g.lanes) != 2 || g.lanes[0] != "" || g.lanes[1] == "" {
		t.Errorf("codes were tried in %q", g.lanes)
	}
	err = l.second.CheckAs(t.Context(), im.Caller{User: first.User.ID, Session: sess}, "000000")
	if im.KindOf(err) != im.Denied || !slices.Contains(g.lanes, sess) {
		t.Errorf("of a session: %v, tried in %q", err, g.lanes)
	}
}
