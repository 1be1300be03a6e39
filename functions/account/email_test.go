package account

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidings-im/tidings/functions/user"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/vault"
)

// A user proves that an address is theirs, and has it alone then.
func TestTheLifeOfAnAddress(t *testing.T) {
	w := newWorld(t, nil)
	ann := w.join("ann")
	w.call("email-verify", ann.AccessToken, 409, fields{"password": "correct horse"}, nil) // she has none
	w.call("user-update", ann.AccessToken, 200, fields{"email": "ann@example.org", "settings": fields{"find_by_email": true}}, nil)
	w.call("email-verify", "", 401, fields{}, nil)
	w.call("email-verify", ann.AccessToken, 403, fields{}, nil) // whoever has the token alone gets no further
	w.call("email-verify", ann.AccessToken, 403, fields{"password": "wrong horse"}, nil)
	w.noMail()
	w.call("email-confirm", ann.AccessToken, 403, fields{"code": "aaaa-aaaa"}, nil)
	w.call("email-confirm", ann.AccessToken, 400, fields{"code": "aaaa"}, nil)

	w.call("email-verify", ann.AccessToken, 200, fields{"password": "correct horse"}, nil)
	first := w.mail("ann@example.org")
	w.call("email-verify", ann.AccessToken, 200, fields{"password": "correct horse"}, nil)
	second := w.mail("ann@example.org")
	if first != second {
		t.Error("asking again makes the code worthless that was mailed first")
	}
	bob := w.join("bob")
	w.call("user-update", bob.AccessToken, 200, fields{"email": "ann@example.org", "settings": fields{"find_by_email": true}}, nil)
	w.call("email-confirm", bob.AccessToken, 403, fields{"code": second}, nil) // it is of the account that it was asked for
	var self im.Self
	w.call("email-confirm", ann.AccessToken, 200, fields{"code": strings.ToUpper(strings.ReplaceAll(second, "-", " "))}, &self)
	if !self.EmailVerified || self.Email != "ann@example.org" {
		t.Errorf("%+v", self)
	}
	w.call("email-confirm", ann.AccessToken, 200, fields{"code": second}, nil) // again, the answer having been lost
	w.call("email-verify", ann.AccessToken, 200, fields{}, nil)
	w.noMail() // there is no need

	// Bob says so, too. Nobody finds him by it, nor can he prove it, even if he reads her mail.
	var found struct{ Users []im.Profile }
	w.call("user-search", bob.AccessToken, 200, fields{"email": "ann@example.org"}, &found)
	if len(found.Users) != 1 || found.Users[0].ID != ann.User.ID {
		t.Errorf("found %+v", found.Users)
	}
	w.call("email-verify", bob.AccessToken, 200, fields{"password": "correct horse"}, nil)
	w.call("email-confirm", bob.AccessToken, 409, fields{"code": w.mail("ann@example.org")}, nil)

	w.call("user-update", ann.AccessToken, 200, fields{"email": "ann@example.org"}, &self)
	if !self.EmailVerified {
		t.Error("the same address again has to be proved again")
	}
	self = im.Self{}
	w.call("user-update", ann.AccessToken, 200, fields{"email": "ann@example.net"}, &self)
	if self.EmailVerified {
		t.Error("another address is not proved")
	}
}

func TestP6ACodeIsNotGuessed(t *testing.T) {
	w := newWorld(t, nil)
	ann := w.join("ann")
	w.call("user-update", ann.AccessToken, 200, fields{"email": "ann@example.org"}, nil)
	ask := func() string {
		t.Helper()
		w.call("email-verify", ann.AccessToken, 200, fields{"password": "correct horse"}, nil)
		return w.mail("ann@example.org")
	}
	confirm := func(code string, status int) {
		t.Helper()
		w.call("email-confirm", ann.AccessToken, status, fields{"code": code}, nil)
	}
	code := ask()
	var hash []byte
	if err := w.sql.QueryRow(t.Context(), `SELECT hash FROM email_codes`).Scan(&hash); err != nil || len(hash) != 32 || strings.Contains(string(hash), code) {
		t.Errorf("what is stored is %q, %v", hash, err)
	}
	for range 5 {
		confirm("aaaa-aaaa", 403)
	}
	confirm(code, 403) // five were wrong

	code = ask()
	for range 4 {
		confirm("aaaa-aaaa", 403)
	}
	w.exec(`UPDATE email_codes SET expires = now()`)
	confirm(code, 403) // it is too late
	w.call("mail-send", "", 204, nil, nil)
	w.counts(0, `SELECT count(*) FROM email_codes`)

	code = ask()
	w.call("user-update", ann.AccessToken, 200, fields{"email": "ann@example.net"}, nil)
	confirm(code, 403)
	w.call("user-update", ann.AccessToken, 200, fields{"email": "ann@example.org"}, nil)
	confirm(code, 403) // another address made it void, for good

	// Of many who try at once few are heard.
	code = ask()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { w.post("email-confirm", ann.AccessToken, fields{"code": "aaaa-aaaa"}) })
	}
	all.Wait()
	w.counts(1, `SELECT count(*) FROM email_codes WHERE attempts = 5`)
	confirm(code, 403)
}

// Whoever asks learns nothing of who there is: users are not even looked at.
func TestP6ForgettingAPasswordTellsNobodyWhoThereIs(t *testing.T) {
	w := newWorld(t, nil)
	w.verified("ann", "ann@example.org")
	w.exec(`ALTER TABLE users RENAME TO hidden; ALTER TABLE email_codes RENAME TO hidden_codes`)
	handles := map[string]string{}
	for _, email := range []string{"ann@example.org", "bob@example.org", "ANN@example.org"} {
		var a asked
		w.call("password-forgot", "", 200, fields{"email": email}, &a)
		handles[email] = a.Handle
	}
	w.exec(`ALTER TABLE hidden RENAME TO users; ALTER TABLE hidden_codes RENAME TO email_codes`)
	for email, h := range handles {
		if h == "" || len(h) != len(handles["ann@example.org"]) || email != "ann@example.org" && h == handles["ann@example.org"] {
			t.Errorf("%q", handles)
		}
	}
	w.mail("ann@example.org")
	w.noMail()
	var problems []im.Problem
	for _, email := range []string{"ann@example.org", "bob@example.org"} {
		for _, handle := range []string{"", handles[email]} {
			var p im.Problem
			w.call("password-reset", "", 403, fields{"email": email, "handle": handle, "code": "aaaa-aaaa", "new": "battery staple"}, &p)
			problems = append(problems, p)
		}
	}
	if len(slices.Compact(problems)) != 1 {
		t.Errorf("%+v", problems)
	}
}

// Who has proved an address is told of what somebody else may have changed.
func TestOwnersAreToldByMailOfWhatHasChanged(t *testing.T) {
	w := newWorld(t, nil)
	ann := w.verified("ann", "ann@example.org")
	bob := w.join("bob") // who has proved none
	told := func(want ...string) {
		t.Helper()
		w.told = nil
		w.noMail()
		if !slices.Equal(w.told, want) {
			t.Errorf("told %q, want %q", w.told, want)
		}
	}
	for _, who := range []user.SignedIn{ann, bob} {
		var f factorSecret
		w.call("totp-setup", who.AccessToken, 200, fields{"password": "correct horse"}, &f)
		var r recovery
		w.call("totp-confirm", who.AccessToken, 200, fields{"code": codeAt(t, f.Secret, 0)}, &r)
		if who.User.ID == ann.User.ID {
			told("ann@example.org A second factor was added")
		}
		w.call("totp-delete", who.AccessToken, 200, fields{"password": "correct horse", "code": r.Codes[0]}, nil)
		w.call("totp-delete", who.AccessToken, 200, fields{"password": "correct horse"}, nil)
	}
	told("ann@example.org The second factor was removed")
	w.call("password-forgot", "", 200, fields{"email": "ann@example.org"}, nil)
	w.call("password-reset", "", 200, fields{"email": "ann@example.org", "code": w.mail("ann@example.org"), "new": "battery staple"}, nil)
	told("ann@example.org Your password was changed")
	ann = w.login("ann", "battery staple")
	w.call("user-update", ann.AccessToken, 200, fields{"email": "ann@example.org"}, nil)
	told()
	w.call("user-update", ann.AccessToken, 200, fields{"email": "eve@example.org"}, nil)
	told("ann@example.org Your e-mail address was changed")
	w.call("user-update", ann.AccessToken, 200, fields{"email": "mia@example.org"}, nil) // the one before was proved by nobody
	told()
}

// What somebody may have left behind who had the old password ends with it,
// unless its owner says otherwise.
func TestP6AResetEndsBotsAndIdentitiesToo(t *testing.T) {
	for name, tt := range map[string]struct {
		keep fields
		left int
	}{
		"by default":                {fields{}, 0},
		"unless it is said to keep": {fields{"revoke_bots": false, "revoke_identities": false}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			ann := w.verified("ann", "ann@example.org")
			w.exec(`INSERT INTO identities (issuer, subject, provider, user_id) VALUES ('i', 's', 'p', $1)`, ann.User.ID)
			w.exec(`INSERT INTO users (id, account, name, password, owner_id) VALUES ('bbbbbbbbbbbbbbbb', 'bot', 'B', '', $1)`, ann.User.ID)
			w.exec(`INSERT INTO sessions (id, user_id, device, platform, created) VALUES ('tttttttttttttttt', 'bbbbbbbbbbbbbbbb', 'd', 'bot', now())`)
			w.exec(`INSERT INTO webhooks (id, bot_id, url, secret) VALUES ('wwwwwwwwwwwwwwww', 'bbbbbbbbbbbbbbbb', 'https://example.org', '')`)
			w.call("password-forgot", "", 200, fields{"email": "ann@example.org"}, nil)
			in := fields{"email": "ann@example.org", "code": w.mail("ann@example.org"), "new": "battery staple"}
			maps.Copy(in, tt.keep)
			w.call("password-reset", "", 200, in, nil)
			w.counts(tt.left, `SELECT count(*) FROM identities`)
			w.counts(tt.left, `SELECT count(*) FROM sessions WHERE user_id = 'bbbbbbbbbbbbbbbb' AND ended IS NULL`)
			w.counts(tt.left, `SELECT count(*) FROM webhooks WHERE disabled IS NULL`)
		})
	}
}

func TestAPasswordIsReset(t *testing.T) {
	w := newWorld(t, nil)
	ann := w.verified("ann", "ann@example.org")
	bob := w.join("bob") // who says that he has an address, and has not proved it
	w.call("user-update", bob.AccessToken, 200, fields{"email": "bob@example.org"}, nil)
	w.call("password-forgot", "", 200, fields{"email": "bob@example.org"}, nil)
	w.call("password-forgot", "", 400, fields{"email": "bob"}, nil)
	w.noMail()

	forgot := func() string {
		t.Helper()
		w.call("password-forgot", "", 200, fields{"email": "Ann@example.org"}, nil)
		return w.mail("ann@example.org")
	}
	code := forgot()
	in := fields{"email": "ann@example.org", "code": code, "new": "short"}
	w.call("password-reset", "", 400, in, nil)
	in["new"] = "battery staple"
	w.call("password-reset", "", 200, in, nil)
	w.call("password-reset", "", 403, in, nil) // once
	w.call("user-get", ann.AccessToken, 401, fields{"user": "me"}, nil)
	w.call("token-refresh", "", 401, fields{"refresh_token": ann.RefreshToken}, nil)
	w.call("user-login", "", 401, fields{"account": "ann", "password": "correct horse", "device": "d", "platform": "web"}, nil)
	ann = w.login("ann", "battery staple")

	// A code to verify resets nothing, nor one that was mailed to an address that is not theirs any more.
	code = forgot()
	w.call("user-update", ann.AccessToken, 200, fields{"email": "ann@example.net"}, nil)
	w.call("password-reset", "", 403, fields{"email": "ann@example.org", "code": code, "new": "correct horse"}, nil)
	w.call("email-verify", ann.AccessToken, 200, fields{"password": "battery staple"}, nil)
	code = w.mail("ann@example.net")
	w.call("password-reset", "", 403, fields{"email": "ann@example.net", "code": code, "new": "correct horse"}, nil)
	w.call("email-confirm", ann.AccessToken, 200, fields{"code": code}, nil)
}

func TestWaysIntoAnAccountAreLimited(t *testing.T) {
	w := newWorld(t, map[string]string{"SIGN_INS_PER_MINUTE": "4", "MAILS_PER_HOUR": "2"})
	for _, status := range []int{200, 429} { // half of what an address gets
		w.call("password-forgot", "", status, fields{"email": "ann@example.org"}, nil)
	}
	w.call("password-forgot", "", 200, fields{"email": "bob@example.org"}, nil)
	w.call("password-forgot", "", 200, fields{"email": "dan@example.org"}, nil)
	w.call("password-forgot", "", 429, fields{"email": "cyd@example.org"}, nil) // the fifth from here
	for range 4 {
		w.call("password-reset", "", 403, fields{"email": "ann@example.org", "code": "aaaa-aaaa", "new": "battery staple"}, nil)
	}
	w.call("password-reset", "", 429, fields{"email": "bob@example.org", "code": "aaaa-aaaa", "new": "battery staple"}, nil)

	w = newWorld(t, map[string]string{"REDIS_URL": "redis://127.0.0.1:1"}) // nobody counts
	w.call("password-forgot", "", 503, fields{"email": "ann@example.org"}, nil)
	w.call("password-reset", "", 503, fields{"email": "ann@example.org", "code": "aaaa-aaaa", "new": "battery staple"}, nil)
	w.call("oauth-start", "", 404, fields{"provider": "github"}, nil)
	w.counts(0, `SELECT count(*) FROM mails`)
}

// Somebody who knows an e-mail address asks for codes, and tries as many as they
// may, from one network and from several. Its owner resets the password all the
// same, by whichever of the mails.
func TestP7WhoKnowsAnAddressKeepsNobodyFromTheirAccount(t *testing.T) {
	w := newWorld(t, map[string]string{"SIGN_INS_PER_MINUTE": "4", "MAILS_PER_HOUR": "5"})
	w.verified("ann", "ann@example.org")
	const owner = "2001:db8:1:1::"
	hosts := 0
	mallory := func() string { hosts++; return fmt.Sprint("192.0.2.", hosts) } // at another address each time
	first := mallory()
	ask := func(address string, want int) (a asked) {
		t.Helper()
		status, answer := w.postFrom(address, "password-forgot", fields{"email": "ann@example.org"})
		if status != want {
			t.Fatalf("from %s: %d %s, want %d", address, status, answer, want)
		}
		if status == 200 && (json.Unmarshal(answer, &a) != nil || a.Handle == "") {
			t.Fatalf("%s", answer)
		}
		return a
	}
	try := func(address, handle, code string, want int) {
		t.Helper()
		if status, answer := w.postFrom(address, "password-reset", fields{"email": "ann@example.org", "handle": handle, "code": code, "new": "battery staple"}); status != want {
			t.Fatalf("from %s: %d %s, want %d", address, status, answer, want)
		}
	}
	mine := ask(owner, 200)
	code := w.mail("ann@example.org")
	var theirs asked
	for _, status := range []int{200, 200, 200, 429} { // half of what there is, and a little
		theirs = ask(first, status)
		if status == 200 {
			if again := w.mail("ann@example.org"); again != code {
				t.Fatalf("asking again makes %s worthless: there is %s", code, again)
			}
			for range 5 {
				try(mallory(), theirs.Handle, "aaaa-aaaa", 403)
			}
			try(mallory(), theirs.Handle, "aaaa-aaaa", 429)
		}
	}
	for range 4 {
		try(mallory(), "", "aaaa-aaaa", 403)
	}
	try(mallory(), "", "aaaa-aaaa", 429) // who shows no handle shares what there is
	for range 3 {
		ask(mallory(), 200) // more than an address gets: these are not mailed
	}
	w.call("mail-send", "", 204, nil, nil)
	if n := w.mails.Waiting(); n != 1 {
		t.Errorf("%d more mails", n)
	}
	if last := ask(owner, 200); last.Handle == mine.Handle { // nor is this one: she has the code
		t.Error("a handle comes twice")
	}
	try(owner, mine.Handle, code, 200)
	try(owner, mine.Handle, code, 403) // once
	w.login("ann", "battery staple")
}

// A handle is of an address, and for a while.
func TestP6AHandleIsOfWhoAsked(t *testing.T) {
	w := newWorld(t, nil)
	w.verified("ann", "ann@example.org")
	var anns, bobs asked
	w.call("password-forgot", "", 200, fields{"email": "ann@example.org"}, &anns)
	w.call("password-forgot", "", 200, fields{"email": "bob@example.org"}, &bobs)
	code := w.mail("ann@example.org")
	v, err := vault.New(w.vars["ACCOUNT_KEYS"])
	if err != nil {
		t.Fatal(err)
	}
	old := v.Seal([]byte(`{"id":"x","email":"ann@example.org","expires":1}`), handleUse)
	other := v.Seal([]byte(`{"id":"x","email":"ann@example.org","expires":9999999999}`), "totp")
	for _, handle := range []string{bobs.Handle, old, other, "x", strings.Repeat("a.", 1000)} {
		w.call("password-reset", "", 403, fields{"email": "ann@example.org", "handle": handle, "code": code, "new": "battery staple"}, nil)
	}
	w.call("password-reset", "", 400, fields{"email": "ann@example.org", "handle": anns.Handle, "code": code, "new": "password"}, nil)
	w.call("password-reset", "", 400, fields{"email": "ann@example.org", "handle": anns.Handle, "code": code, "new": "ann12345"}, nil) // the account: the code stays good
	w.call("password-reset", "", 200, fields{"email": "ann@example.org", "handle": anns.Handle, "code": code, "new": "battery staple"}, nil)
}

// A mail that cannot be sent now is sent later; one that never can is not.
func TestMailsComeThroughOutages(t *testing.T) {
	w := newWorld(t, nil)
	var refuse atomic.Pointer[gosmtp.SMTPError]
	w.mails.Refuse = func(string) error {
		if e := refuse.Load(); e != nil {
			return e
		}
		return nil
	}
	ann := w.verified("ann", "ann@example.org")
	refuse.Store(&gosmtp.SMTPError{Code: 451, Message: "later"})
	w.call("password-forgot", "", 200, fields{"email": "ann@example.org"}, nil)
	w.call("mail-send", "", 503, nil, nil)
	refuse.Store(nil)
	w.call("mail-send", "", 204, nil, nil)
	if w.mails.Waiting() > 0 {
		t.Error("it is tried again at once")
	}
	w.exec(`UPDATE mails SET due = now()`) // time passes
	code := w.mail("ann@example.org")
	w.counts(0, `SELECT count(*) FROM mails`)

	// Cut off between sending and noting it, it is sent again, with a code that is good.
	w.exec(`INSERT INTO mails (purpose, email) VALUES ('reset', 'ann@example.org')`)
	again := w.mail("ann@example.org")
	if code != again {
		t.Error("the second mail makes the code of the first worthless")
	}
	w.call("password-reset", "", 200, fields{"email": "ann@example.org", "code": again, "new": "battery staple"}, nil)

	refuse.Store(&gosmtp.SMTPError{Code: 550, Message: "nobody"})
	w.call("password-forgot", "", 200, fields{"email": "ann@example.org"}, nil)
	w.noMail()
	refuse.Store(nil)
	w.call("password-forgot", "", 200, fields{"email": "ann@example.org"}, nil)
	w.exec(`UPDATE mails SET created = now() - interval '61 minutes'`)
	w.noMail() // nobody waits for it any more

	// An operator sees for how long the first has waited, until it is gone.
	measured := newSender(t, w)
	w.exec(`INSERT INTO mails (purpose, email, created, due) VALUES ('reset', 'x@example.org', now() - interval '20 minutes', now() + interval '1 minute')`)
	for _, want := range []float64{1200, 0} {
		if err := measured.send(t.Context()); err != nil {
			t.Error(err)
		}
		if got := testutil.ToFloat64(measured.waiting); got < want || got > want+60 {
			t.Errorf("the first mail has waited for %g s, want %g", got, want)
		}
		w.exec(`DELETE FROM mails`)
	}

	// Several who send at once send each mail once.
	ann = w.login("ann", "battery staple")
	for _, email := range []string{"a@example.org", "b@example.org", "c@example.org"} {
		w.call("user-update", ann.AccessToken, 200, fields{"email": email}, nil)
		w.call("email-verify", ann.AccessToken, 200, fields{"password": "battery staple"}, nil)
	}
	w.exec(`DELETE FROM mails WHERE purpose <> 'verify'`) // that the one before was changed
	other := newSender(t, w)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { w.post("mail-send", "", nil) })
		all.Go(func() {
			if err := other.send(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := w.mails.Waiting(); n != 1 { // of an address that is theirs no more nothing is sent
		t.Errorf("%d mails", n)
	}
	if m := w.mails.Next(t); m.To != "c@example.org" {
		t.Errorf("%+v", m)
	}
}

// Whoever asks for a mail has it sent at once, not when a clock calls.
func TestMailSendIsWoken(t *testing.T) {
	target := newWorld(t, nil)
	w := newWorld(t, map[string]string{
		"POSTGRES_URL": target.vars["POSTGRES_URL"], "FUNCTION_URL": target.url + "/{function}",
	})
	target.verified("ann", "ann@example.org")
	w.call("password-forgot", "", 200, fields{"email": "ann@example.org"}, nil)
	if m := target.mails.Next(t); m.To != "ann@example.org" {
		t.Errorf("%+v", m)
	}
}

// Nor does a mail wait for the clock that is asked for while others are sent.
func TestAMailThatIsAskedForWhileOthersAreSentIsSentAtOnce(t *testing.T) {
	target := newWorld(t, nil)
	w := newWorld(t, map[string]string{
		"POSTGRES_URL": target.vars["POSTGRES_URL"], "FUNCTION_URL": target.url + "/{function}",
	})
	sending, goOn := make(chan struct{}), make(chan struct{})
	t.Cleanup(sync.OnceFunc(func() { close(goOn) }))
	var first sync.Once
	target.mails.Refuse = func(to string) error {
		if to == "ann@example.org" {
			first.Do(func() { close(sending); <-goOn })
		}
		return nil
	}
	w.exec(`INSERT INTO users (id, account, name, password, email, email_verified)
		SELECT left(md5(name), 16), name, name, '', name || '@example.org', now() FROM unnest('{ann,bob,cyd}'::text[]) name`)
	w.call("password-forgot", "", 200, fields{"email": "ann@example.org"}, nil)
	<-sending
	for _, email := range []string{"bob@example.org", "cyd@example.org"} {
		w.call("password-forgot", "", 200, fields{"email": email}, nil)
	}
	goOn <- struct{}{}
	for _, want := range []string{"ann@example.org", "bob@example.org", "cyd@example.org"} {
		if m := target.mails.Next(t); m.To != want {
			t.Errorf("%+v, want a mail to %s", m, want)
		}
	}
}

// Of those who ask while the function runs, the first has it called once more.
func TestAWakeIsNotLostWhileAnotherIsUnderWay(t *testing.T) {
	called, goOn := make(chan struct{}, 9), make(chan struct{})
	wake := newWake(func(context.Context) error { called <- struct{}{}; <-goOn; return nil }, imtest.Log(t))
	wake()
	<-called
	for range 5 {
		wake()
	}
	if len(called) > 0 {
		t.Error("it is called twice at once")
	}
	goOn <- struct{}{}
	<-called
	close(goOn)
	wake() // waits for the one before, or is after it
	<-called
	if len(called) > 0 {
		t.Errorf("it is called %d times too many", len(called))
	}
}

func TestWithoutAMailServerMailsAreForgotten(t *testing.T) {
	w := newWorld(t, map[string]string{"SMTP_URL": ""})
	w.call("password-forgot", "", 200, fields{"email": "ann@example.org"}, nil)
	w.noMail()
}

// A mail says nothing that a stranger wrote, but for a few letters.
func TestAMailIsNoPlaceForMessages(t *testing.T) {
	s := &sender{service: "Tidings"}
	m := s.write(im.Mail{Purpose: im.MailVerify, Email: "bob@example.org"}, im.User{Account: "ann", Name: "Buy now\r\nhttps://evil.example"}, "abcd-2345")
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "evil") || !strings.Contains(m.Text, "    abcd-2345\n") || !strings.Contains(m.Text, "15 minutes") {
		t.Errorf("%s", b)
	}
}
