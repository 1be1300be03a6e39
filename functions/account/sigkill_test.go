package account

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/imtest/smtptest"
	"github.com/tidings-im/tidings/shared/imtest/steps"
	"github.com/tidings-im/tidings/shared/proc"
)

const dieMailing = "ACCOUNT_TEST_MAILS"

// TestAProcessThatMails is what the next test kills, and nothing otherwise.
func TestAProcessThatMails(t *testing.T) {
	if os.Getenv(dieMailing) == "" {
		return
	}
	env := proc.NewEnv(os.Getenv, slog.New(slog.DiscardHandler))
	defer env.Close()
	h, err := fn.Mount(t.Context(), env, SendMails)
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/"+SendMails.Name, nil))
	if answer.Code != http.StatusNoContent {
		t.Fatal(answer.Code, answer.Body)
	}
}

// A process that sends mails is killed by SIGKILL after each of its statements
// and each reply of the mail server. The next run sends what it has left: there
// is a mail with a code that is good, and there are two at most, of which the
// first is sent if the server had taken it already; they hold the same code.
func TestAKilledMailSenderLosesNoMailAndNoCode(t *testing.T) {
	w := newWorld(t, map[string]string{"CODES_PER_HOUR": "1000", "SIGN_INS_PER_MINUTE": "1000"})
	w.verified("ann", "ann@example.org")
	watch := steps.New(t)
	env := []string{dieMailing + "=1", "POSTGRES_URL=" + watch.Postgres(w.vars["POSTGRES_URL"]), "SMTP_URL=smtp://" + watch.Replies(w.mails.Addr) + "?tls=none",
		"SEAL_KEYS=" + w.vars["SEAL_KEYS"], "ACCOUNT_KEYS=" + w.vars["ACCOUNT_KEYS"]}
	kills := map[string]int{}
	twice := 0
	for at := 1; ; at++ {
		w.exec(`INSERT INTO mails (purpose, email) VALUES ('reset', 'ann@example.org')`)
		killed := watch.Run("TestAProcessThatMails", env, at, steps.After)
		w.exec(`UPDATE mails SET due = now()`) // the lease is over
		w.call("mail-send", "", 204, nil, nil)
		w.counts(0, `SELECT count(*) FROM mails`)
		var mails []smtptest.Mail
		for w.mails.Waiting() > 0 {
			mails = append(mails, w.mails.Next(t))
		}
		if len(mails) < 1 || len(mails) > 2 {
			t.Fatalf("killed after step %d, %q, there are %d mails", at, killed, len(mails))
		}
		code := mailed.FindStringSubmatch(mails[0].Text)[1]
		if last := mailed.FindStringSubmatch(mails[len(mails)-1].Text)[1]; last != code {
			t.Errorf("killed after step %d, %q, the second mail makes the code of the first worthless", at, killed)
		}
		w.call("password-reset", "", 200, fields{"email": "ann@example.org", "code": code, "new": "battery staple"}, nil)
		w.exec(`DELETE FROM mails`) // of the password that was changed
		twice += len(mails) - 1
		if killed == "" {
			break
		}
		kills[strings.Fields(killed)[0]]++
	}
	t.Logf("killed after %v; %d were sent twice", kills, twice)
	if kills["reply"] < 5 || kills["INSERT"] == 0 || kills["UPDATE"] == 0 || twice == 0 {
		t.Errorf("killed after %v; %d were sent twice", kills, twice)
	}
}
