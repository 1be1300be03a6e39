package account

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidings-im/tidings/functions/user"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/imtest/smtptest"
	"github.com/tidings-im/tidings/shared/mail"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/vault"
)

// settings are of services that are not there.
func settings(t testing.TB) map[string]string {
	t.Helper()
	return fntest.Settings(t, map[string]string{
		"ACCOUNT_KEYS":                "a:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("y", 32))),
		"INBOX_STORE":                 "postgres",
		"ONE_CONNECTION_PER_PLATFORM": "false",
		"FUNCTION_URL":                "http://127.0.0.1:1/{function}",
		"OAUTH_REDIRECTS":             redirect + ",com.example.app:/oauth/{provider}",
	})
}

const redirect = "http://127.0.0.1:9/oauth/{provider}"

// own are the functions of the area, theirs those of the area user that it
// stands on.
var (
	own    = []fn.Func{VerifyEmail, ConfirmEmail, ForgotPassword, ResetPassword, SendMails, StartOAuth, EndOAuth, Identities, DeleteIdentity, SetUpTOTP, ConfirmTOTP, DeleteTOTP}
	theirs = []fn.Func{user.Register, user.Login, user.Refresh, user.Get, user.Update, user.Search, user.Delete, user.Sweep}
)

// A world is these functions on real services but for Kafka, and a mail server.
type world struct {
	t     testing.TB
	vars  map[string]string
	url   string
	sql   *pgxpool.Pool
	mails *smtptest.Server
	told  []string // mails of what has changed, as "<to> <subject>"
}

func newWorld(t testing.TB, more map[string]string) *world {
	t.Helper()
	w := &world{t: t, vars: settings(t), mails: smtptest.Start(t, smtptest.Plain)}
	w.vars["POSTGRES_URL"], w.vars["REDIS_URL"] = imtest.Migrated(t, postgres.Migrate), imtest.Redis(t)
	w.vars["SMTP_URL"] = "smtp://" + w.mails.Addr + "?tls=none"
	w.vars["SMTP_TIMEOUT"] = "1m" // no clock tries again
	w.vars["SIGN_INS_PER_MINUTE"], w.vars["MAILS_PER_HOUR"], w.vars["CODES_PER_HOUR"] = "200", "100", "100"
	var mounted http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { mounted.ServeHTTP(rw, r) }))
	t.Cleanup(srv.Close)
	w.url = srv.URL
	maps.Copy(w.vars, more)
	env := imtest.Env(t, w.vars)
	var err error
	if mounted, err = fn.Mount(t.Context(), env, append(own, theirs...)...); err != nil {
		t.Fatal(err)
	}
	if w.sql, err = pgxpool.New(t.Context(), w.vars["POSTGRES_URL"]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.sql.Close)
	return w
}

// post calls a function.
func (w *world) post(function, token string, in any) (status int, answer []byte, err error) {
	a, err := fntest.Post(w.t.Context(), w.url+"/"+function, token, in)
	return a.Status, a.Body, err
}

// postFrom calls a function as a gateway does for somebody at a network address.
func (w *world) postFrom(address, function string, in any) (status int, answer []byte) {
	w.t.Helper()
	a := fntest.PostFrom(w.t, w.url, w.vars["SEAL_KEYS"], address, function, in)
	return a.Status, a.Body
}

type fields = map[string]any

// call calls a function that is to answer with a status. out is filled in, also
// with a problem.
func (w *world) call(function, token string, status int, in, out any) {
	w.t.Helper()
	got, answer, err := w.post(function, token, in)
	if err != nil {
		w.t.Fatal(err)
	}
	if got != status {
		w.t.Fatalf("%s answers %d %s, want %d", function, got, answer, status)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			w.t.Fatal(err)
		}
	}
}

// join registers and signs in.
func (w *world) join(account string) user.SignedIn {
	w.t.Helper()
	w.call("user-register", "", 200, fields{"account": account, "password": "correct horse"}, nil)
	return w.login(account, "correct horse")
}

func (w *world) login(account, password string) (in user.SignedIn) {
	w.t.Helper()
	w.call("user-login", "", 200, fields{"account": account, "password": password, "device": "d-" + im.NewID(), "platform": "web"}, &in)
	return in
}

var mailed = regexp.MustCompile(`(?m)^    ([a-z2-7]{4}-[a-z2-7]{4})\r?$`)

// mail has mails sent and returns the code in the next one, which is to be to
// an address.
func (w *world) mail(to string) (code string) {
	w.t.Helper()
	w.call("mail-send", "", 204, nil, nil)
	m := w.mails.Next(w.t)
	for w.tells(m) {
		m = w.mails.Next(w.t)
	}
	found := mailed.FindStringSubmatch(m.Text)
	if m.To != to || found == nil {
		w.t.Fatalf("the mail is %+v, not to %s", m, to)
	}
	return found[1]
}

// tells reports whether a mail tells of what has changed, and keeps it if so.
func (w *world) tells(m smtptest.Mail) bool {
	for _, c := range changes {
		if strings.HasSuffix(m.Header.Get("Subject"), c.subject) {
			w.told = append(w.told, m.To+" "+c.subject)
			return true
		}
	}
	return false
}

// noMail reports it if a mail is sent.
func (w *world) noMail() {
	w.t.Helper()
	w.call("mail-send", "", 204, nil, nil)
	for w.mails.Waiting() > 0 {
		if m := w.mails.Next(w.t); !w.tells(m) {
			w.t.Errorf("a mail is sent: %+v", m)
		}
	}
	w.counts(0, `SELECT count(*) FROM mails`)
}

// verified joins with an address that is proved.
func (w *world) verified(account, email string) user.SignedIn {
	w.t.Helper()
	in := w.join(account)
	w.call("user-update", in.AccessToken, 200, fields{"email": email}, nil)
	w.call("email-verify", in.AccessToken, 200, fields{"password": "correct horse"}, nil)
	w.call("email-confirm", in.AccessToken, 200, fields{"code": w.mail(email)}, nil)
	return in
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	if _, err := w.sql.Exec(w.t.Context(), query, args...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) counts(want int, query string, args ...any) {
	w.t.Helper()
	var n int
	if err := w.sql.QueryRow(w.t.Context(), query, args...).Scan(&n); err != nil || n != want {
		w.t.Errorf("%s: %d, %v; want %d", query, n, err, want)
	}
}

// newSender returns what sends mails in another process than the world's.
func newSender(t testing.TB, w *world) *sender {
	t.Helper()
	env := imtest.Env(t, w.vars)
	db, dbErr := pgtest.Open(t.Context(), env)
	v, vaultErr := vault.Open(env)
	by, mailErr := mail.Open(env)
	if err := errors.Join(dbErr, vaultErr, mailErr); err != nil {
		t.Fatal(err)
	}
	s := &sender{store: db, smtp: by, vault: v, service: "Tidings", log: env.Log}
	s.sent, s.waiting = newMailMetrics()
	return s
}
