package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// mailing is the front door of a Tidings that sends mails and lets sign in by
// an account elsewhere.
type mailing struct {
	*door
	post      *postbox
	elsewhere *elsewhere
}

func openMailing(t *testing.T, more ...string) *mailing {
	t.Helper()
	post, there := openPostbox(t), openElsewhere(t)
	direct := mountAll(t, append([]string{
		"SMTP_URL", post.URL, "OAUTH_PROVIDERS", there.setting("elsewhere"),
		"OAUTH_REDIRECTS", "https://im.example.org/{provider},app.example:/{provider}",
	}, more...)...)
	return &mailing{&door{t, front(t, direct.vars, direct.url)}, post, there}
}

// proves has somebody say that an address is theirs, and prove it.
func (m *mailing) proves(v visitor, address string) {
	m.t.Helper()
	v.must("PATCH", "/v1/users/me", request{"email": address})
	v.must("POST", "/v1/users/me/email/verify", request{"password": rightPassword})
	v.must("POST", "/v1/users/me/email/confirm", request{"code": m.post.code(address)})
}

func signInWith(v visitor, account, password string, more ...string) (status int, answer string) {
	body := request{"account": account, "password": password, "device": "d-" + account, "platform": "web"}
	for i := 0; i < len(more); i += 2 {
		body[more[i]] = more[i+1]
	}
	return v.try("POST", "/v1/sessions", body)
}

func TestP6APasswordIsResetByWhoReadsTheMailAlone(t *testing.T) {
	t.Parallel()
	m := openMailing(t)
	nobody := visitor{door: m.door}
	ann, eve, bob := m.signUp("ann"), m.signUp("eve"), m.signUp("bob")
	m.proves(ann, "ann@example.org")
	m.proves(eve, "eve@example.org")
	bob.must("PATCH", "/v1/users/me", request{"email": "bob@example.org"}) // and proves nothing

	forgot := func(email string) (int, string) {
		return nobody.try("POST", "/v1/password/forgot", request{"email": email})
	}
	reset := func(email, code string) (int, string) {
		return nobody.try("POST", "/v1/password/reset", request{"email": email, "code": code, "new": "the new password"})
	}
	// Whether somebody has an address is not told.
	wantStatus, want := forgot("ann@example.org")
	if wantStatus != http.StatusOK {
		t.Fatalf("%d %s", wantStatus, want)
	}
	// A handle is as long as the address that it was asked for has it.
	for _, email := range []string{"eve@example.org", "bob@example.org", "cyd@example.org", "ANN@Example.org"} {
		if status, answer := forgot(email); status != wantStatus || len(answer) != len(want) || !strings.HasPrefix(answer, `{"handle":"`) {
			t.Errorf("of %s: %d %s, and of ann %d %s", email, status, answer, wantStatus, want)
		}
	}
	hers, eves := m.post.code("ann@example.org"), m.post.code("eve@example.org")

	// A code is for the account that it was asked for.
	_, wrong := reset("ann@example.org", "aaaa-aaaa")
	for what, try := range map[string][2]string{
		"the code of another":           {"ann@example.org", eves},
		"one's own for another":         {"eve@example.org", hers},
		"of an address that is nobodys": {"nobody@example.org", hers},
		"of one that nobody has proved": {"bob@example.org", hers},
	} {
		if status, answer := reset(try[0], try[1]); status != http.StatusForbidden || answer != wrong {
			t.Errorf("%s: %d %s, and a wrong code %s", what, status, answer, wrong)
		}
	}
	for _, code := range []string{"", "%", "________", strings.Repeat("a", 5000), "null", hers + "a", hers[:4]} {
		if status, answer := reset("ann@example.org", code); status != http.StatusBadRequest {
			t.Errorf("by the code %.20q: %d %s", code, status, answer)
		}
	}
	for _, field := range []string{"user", "account", "id"} {
		nobody.refused("naming another by "+field, "POST", "/v1/password/reset", request{"email": "eve@example.org", "code": eves, "new": "the new password", field: "ann"}, http.StatusBadRequest)
	}
	if status, _ := signInWith(nobody, "ann", rightPassword); status != http.StatusOK {
		t.Error("what was refused has changed the password")
	}
	ann = m.signIn("ann", rightPassword, "d-ann")

	// Nor does a code serve for what it was not mailed for.
	ann.refused("confirming an address by a code to reset", "POST", "/v1/users/me/email/confirm", request{"code": eves}, http.StatusForbidden, http.StatusOK)
	if status, answer := reset("eve@example.org", eves); status != http.StatusOK {
		t.Fatalf("by the right code: %d %s", status, answer)
	}
	eve.refused("a session from before", "GET", "/v1/users/me", nil, http.StatusUnauthorized)
	if status, answer := reset("eve@example.org", eves); status != http.StatusForbidden {
		t.Errorf("by the same code again: %d %s", status, answer)
	}
	if status, _ := signInWith(nobody, "eve", rightPassword); status != http.StatusUnauthorized {
		t.Error("the old password is still good")
	}
	m.signIn("eve", "the new password", "d-eve")

	// Who changes the address makes a code worthless that went to the old one.
	forgot("ann@example.org")
	stale := m.post.code("ann@example.org")
	ann.must("PATCH", "/v1/users/me", request{"email": "ann@example.net"})
	for _, email := range []string{"ann@example.org", "ann@example.net"} {
		if status, answer := reset(email, stale); status != http.StatusForbidden {
			t.Errorf("of %s by a code to an address that is not hers any more: %d %s", email, status, answer)
		}
	}
	m.post.none("bob@example.org")
	m.post.none("nobody@example.org")
}

func TestP6ACodeCannotBeGuessed(t *testing.T) {
	t.Parallel()
	m := openMailing(t)
	nobody := visitor{door: m.door}
	ann := m.signUp("ann")
	m.proves(ann, "ann@example.org")
	ask := func() (handle string) {
		t.Helper()
		var a struct{ Handle string }
		if err := json.Unmarshal([]byte(nobody.must("POST", "/v1/password/forgot", request{"email": "ann@example.org"})), &a); err != nil || a.Handle == "" {
			t.Fatalf("%+v, %v", a, err)
		}
		return a.Handle
	}
	handle := ask()
	code := m.post.code("ann@example.org")
	for i := range 10 {
		if status, answer := nobody.try("POST", "/v1/password/reset", request{"email": "ann@example.org", "handle": handle, "code": fmt.Sprintf("aaaa-aaa%c", 'a'+i), "new": "the new password"}); status != http.StatusForbidden && status != http.StatusTooManyRequests {
			t.Fatalf("a guess is answered by %d %s", status, answer)
		}
	}
	if status, answer := nobody.try("POST", "/v1/password/reset", request{"email": "ann@example.org", "handle": handle, "code": code, "new": "the new password"}); status != http.StatusTooManyRequests {
		t.Errorf("after ten guesses the handle is still good: %s", answer)
	}
	m.signIn("ann", rightPassword, "d-ann")
	// Who guesses takes the code from nobody else.
	if status, answer := nobody.try("POST", "/v1/password/reset", request{"email": "ann@example.org", "handle": ask(), "code": code, "new": "the new password"}); status != http.StatusOK {
		t.Errorf("under another handle: %d %s", status, answer)
	}
}

func TestP6AnAddressIsOneUsersWhoHasProvedIt(t *testing.T) {
	t.Parallel()
	m := openMailing(t)
	ann, eve := m.signUp("ann"), m.signUp("eve")
	m.proves(ann, "ann@example.org")
	eve.must("PATCH", "/v1/users/me", request{"email": "ann@example.org"})
	if got := eve.must("GET", "/v1/users/me", nil); strings.Contains(got, `"email_verified":true`) {
		t.Errorf("who says that an address is theirs has proved it: %s", got)
	}
	for _, field := range []string{"email_verified", "verified"} {
		eve.refused("saying so", "PATCH", "/v1/users/me", request{"email": "ann@example.org", field: true}, http.StatusBadRequest)
	}
	eve.refused("with a password that is not hers", "POST", "/v1/users/me/email/verify", request{"password": "not that of eve"}, http.StatusForbidden)
	eve.refused("for another address", "POST", "/v1/users/me/email/verify", request{"password": rightPassword, "email": "eve@example.org"}, http.StatusBadRequest)
	eve.refused("by a guess", "POST", "/v1/users/me/email/confirm", request{"code": "aaaa-aaaa"}, http.StatusForbidden)
	if status, _ := eve.try("POST", "/v1/users/me/email/verify", request{"password": rightPassword}); status == http.StatusOK {
		code := m.post.code("ann@example.org") // which only ann reads; suppose that she is careless
		eve.refused("an address that another has proved", "POST", "/v1/users/me/email/confirm", request{"code": code}, http.StatusConflict)
	}
	if got := ann.must("GET", "/v1/users/me", nil); !strings.Contains(got, `"email_verified":true`) {
		t.Errorf("ann is %s", got)
	}
}

func TestP6TheSecondFactorCannotBeSkipped(t *testing.T) {
	t.Parallel()
	m := openMailing(t)
	nobody := visitor{door: m.door}
	ann, eve := m.signUp("ann"), m.signUp("eve")
	m.proves(ann, "ann@example.org")
	ann.refused("without a password", "POST", "/v1/users/me/totp", request{}, http.StatusForbidden)
	ann.refused("by a wrong password", "POST", "/v1/users/me/totp", request{"password": "not that of ann"}, http.StatusForbidden)
	var app struct{ Secret string }
	if err := json.Unmarshal([]byte(ann.must("POST", "/v1/users/me/totp", request{"password": rightPassword})), &app); err != nil {
		t.Fatal(err)
	}
	// What is not confirmed is not asked for, so that nobody is shut out.
	ann.refused("by a wrong code", "PUT", "/v1/users/me/totp", request{"code": totp(t, app.Secret, time.Now().Add(time.Hour))}, http.StatusForbidden)
	eve.refused("of another", "PUT", "/v1/users/me/totp", request{"code": totp(t, app.Secret, time.Now())}, http.StatusConflict)
	ann = m.signIn("ann", rightPassword, "d-ann")

	confirmed := totp(t, app.Secret, time.Now())
	var codes struct {
		Recovery []string `json:"recovery_codes"`
	}
	if err := json.Unmarshal([]byte(ann.must("PUT", "/v1/users/me/totp", request{"code": confirmed})), &codes); err != nil || len(codes.Recovery) < 5 {
		t.Fatalf("%+v, %v", codes, err)
	}
	needed := func(what string, more ...string) {
		t.Helper()
		status, answer := signInWith(nobody, "ann", rightPassword, more...)
		if status != http.StatusUnauthorized || !strings.Contains(answer, `"second-factor"`) || strings.Contains(answer, "token") {
			t.Errorf("signing in %s: %d %s", what, status, answer)
		}
	}
	needed("without a code")
	needed("with none", "code", "")
	needed("with another's recovery code", "code", "aaaa-aaaa-aaaa-aaaa")
	needed("with the code that confirmed it, again", "code", confirmed)
	needed("with a code of long ago", "code", totp(t, app.Secret, time.Now().Add(-10*time.Minute)))
	// Whether there is a second factor is told to who has the password alone.
	if status, answer := signInWith(nobody, "ann", "not that of ann"); status != http.StatusUnauthorized || strings.Contains(answer, "second-factor") {
		t.Errorf("with a wrong password: %d %s", status, answer)
	}
	next := totp(t, app.Secret, time.Now().Add(30*time.Second)) // of a clock that is a little fast
	if status, answer := signInWith(nobody, "ann", rightPassword, "code", next); status != http.StatusOK {
		t.Fatalf("with a code: %d %s", status, answer)
	}
	needed("with the same code again", "code", next)
	if status, answer := signInWith(nobody, "ann", rightPassword, "code", codes.Recovery[0]); status != http.StatusOK {
		t.Errorf("with a recovery code: %d %s", status, answer)
	}
	needed("with the same recovery code again", "code", codes.Recovery[0])

	// Who resets the password by mail needs it as well.
	nobody.must("POST", "/v1/password/forgot", request{"email": "ann@example.org"})
	nobody.must("POST", "/v1/password/reset", request{"email": "ann@example.org", "code": m.post.code("ann@example.org"), "new": rightPassword + "!"})
	if status, answer := signInWith(nobody, "ann", rightPassword+"!"); status != http.StatusUnauthorized || !strings.Contains(answer, `"second-factor"`) {
		t.Errorf("after a reset: %d %s", status, answer)
	}
	// Who signs in by an account elsewhere, too.
	status, answer := m.comeBack(nobody, "ann-elsewhere", nil)
	if status != http.StatusUnauthorized || !strings.Contains(answer, `"second-factor"`) || strings.Contains(answer, "token") {
		t.Errorf("by an account elsewhere: %d %s", status, answer)
	}

	status, answer = signInWith(nobody, "ann", rightPassword+"!", "code", codes.Recovery[1])
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	if err := json.Unmarshal([]byte(answer), &ann.account); err != nil {
		t.Fatal(err)
	}
	ann.refused("set up anew", "POST", "/v1/users/me/totp", request{"password": rightPassword + "!"}, http.StatusConflict)
	ann.refused("turned off without a code", "DELETE", "/v1/users/me/totp", request{"password": rightPassword + "!"}, http.StatusForbidden)
	ann.refused("turned off without the password", "DELETE", "/v1/users/me/totp", request{"code": codes.Recovery[2]}, http.StatusForbidden)
	ann.must("DELETE", "/v1/users/me/totp", request{"password": rightPassword + "!", "code": codes.Recovery[3]})
	m.signIn("ann", rightPassword+"!", "d-ann")
}

// begun is what oauth-start answers.
type begun struct{ URL, Flow string }

func (m *mailing) begin(v visitor, body request) (b begun) {
	m.t.Helper()
	if body == nil {
		body = request{}
	}
	if err := json.Unmarshal([]byte(v.must("POST", "/v1/oauth/elsewhere/start", body)), &b); err != nil {
		m.t.Fatal(err)
	}
	return b
}

// comeBack signs somebody in by their account elsewhere; change may change what
// they come back with.
func (m *mailing) comeBack(v visitor, who string, change func(request)) (status int, answer string) {
	m.t.Helper()
	b := m.begin(v, nil)
	state, code := m.elsewhere.agree(b.URL, who)
	body := request{"state": state, "code": code, "flow": b.Flow, "device": "browser", "platform": "web"}
	if change != nil {
		change(body)
	}
	return v.try("POST", "/v1/oauth/elsewhere/callback", body)
}

func TestP6NobodySignsInByAnAccountElsewhereThatIsNotTheirs(t *testing.T) {
	t.Parallel()
	m := openMailing(t)
	nobody := visitor{door: m.door}
	ann, eve := m.signUp("ann"), m.signUp("eve")
	m.proves(ann, "ann@example.org")

	signedIn := func(answer string) im.User {
		t.Helper()
		var got struct{ User im.User }
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Fatal(err)
		}
		return got.User
	}
	back := func(v visitor, body request) (int, string) {
		return v.try("POST", "/v1/oauth/elsewhere/callback", body)
	}
	var refusal string
	refused := func(what string, status int, answer string) {
		t.Helper()
		if refusal == "" {
			refusal = answer
		}
		if status != http.StatusForbidden || answer != refusal {
			t.Errorf("%s: %d %s", what, status, answer)
		}
	}
	with := func(v visitor, b begun, state, code string) request {
		return request{"state": state, "code": code, "flow": b.Flow, "device": "browser", "platform": "web"}
	}

	// What comes back is tied to who began, and good once.
	hers := m.begin(nobody, nil)
	state, code := m.elsewhere.agree(hers.URL, "eve-elsewhere")
	status, answer := back(nobody, with(nobody, begun{Flow: strings.Repeat("A", 26)}, state, code))
	refused("in a browser that did not begin it", status, answer)
	if status, answer = back(nobody, with(nobody, hers, state, code)); status != http.StatusOK {
		t.Errorf("in the browser that began it, after somebody else tried: %d %s", status, answer)
	}
	status, answer = back(nobody, with(nobody, hers, state, code))
	refused("a second time, by the browser that began it", status, answer)
	other, again := m.begin(nobody, nil), m.begin(nobody, nil)
	state, code = m.elsewhere.agree(other.URL, "eve-elsewhere")
	status, answer = back(nobody, with(nobody, again, state, code))
	refused("by the flow of another sign-in", status, answer)
	status, answer = back(nobody, with(nobody, begun{Flow: strings.Repeat("A", 26)}, strings.Repeat("A", 26), "guess"))
	refused("by a state that is none", status, answer)

	first := m.begin(nobody, nil)
	state, code = m.elsewhere.agree(first.URL, "ann-elsewhere")
	body := with(nobody, first, state, code)
	status, answer = back(nobody, body)
	if status != http.StatusOK || signedIn(answer).ID != ann.ID {
		t.Fatalf("who has proved the same address on both sides: %d %s", status, answer)
	}
	status, answer = back(nobody, body)
	refused("a second time", status, answer)

	// An address that was not proved there is nobody's.
	if status, answer := m.comeBack(nobody, "eve-as-ann", nil); status != http.StatusForbidden {
		t.Errorf("with the address of ann, which was not proved: %d %s", status, answer)
	}
	// Nor is one that was not proved here.
	eve.must("PATCH", "/v1/users/me", request{"email": "new@example.org"})
	status, answer = m.comeBack(nobody, "new-elsewhere", nil)
	if status != http.StatusOK || signedIn(answer).ID == eve.ID {
		t.Errorf("whose address eve says is hers: %d %s", status, answer)
	}

	// What links is for who began it.
	ann.refused("linking without the password", "POST", "/v1/oauth/elsewhere/start", request{}, http.StatusForbidden)
	link := m.begin(eve, request{"password": rightPassword})
	state, code = m.elsewhere.agree(link.URL, "anna-elsewhere")
	status, answer = back(ann, with(ann, link, state, code))
	refused("linking to another, who was sent there", status, answer)
	link = m.begin(eve, request{"password": rightPassword})
	state, code = m.elsewhere.agree(link.URL, "anna-elsewhere")
	status, answer = back(nobody, with(nobody, link, state, code))
	refused("signing in by what was to link", status, answer)
	if got := ann.must("GET", "/v1/users/me/identities", nil); strings.Contains(got, "anna") {
		t.Errorf("ann has %s", got)
	}

	for _, to := range []string{"https://evil.example", "https://im.example.org.evil.example/elsewhere", "https://im.example.org/elsewhere/../..", "javascript:alert(1)", "//evil.example", "https://im.example.org/{provider}"} {
		nobody.refused("coming back to "+to, "POST", "/v1/oauth/elsewhere/start", request{"redirect": to}, http.StatusBadRequest)
	}
	nobody.refused("a provider that is none", "POST", "/v1/oauth/nowhere/start", request{}, http.StatusNotFound)
	for _, bearer := range []string{"nonsense", eve.Refresh} {
		v := visitor{door: m.door}
		v.Access = bearer
		v.refused("with a token that is none", "POST", "/v1/oauth/elsewhere/start", request{}, http.StatusUnauthorized)
	}
}
