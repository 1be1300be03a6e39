package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/mail"
	"github.com/tidings-im/tidings/shared/vault"
)

const (
	codeLife  = 15 * time.Minute
	mailAge   = time.Hour        // after which a mail that could not be sent is of no use
	mailLease = 30 * time.Second // longer than it takes to send one

	mostFailures = 5 // of a run, after which there is no sense in going on
)

type mailStore interface {
	// DueMails returns mails that are to be sent and leaves them to the caller
	// for a lease. Those that were asked for age ago it deletes.
	DueMails(ctx context.Context, age, lease time.Duration, limit int) ([]im.Mail, error)
	// Addressee returns whom a mail is for, as they are now. NotFound: nobody.
	Addressee(ctx context.Context, m im.Mail) (im.User, error)
	// PutCode stores a code, as its hash and encrypted, and returns it encrypted;
	// or one that was mailed before for the same purpose, and is good.
	PutCode(ctx context.Context, user, purpose, email string, hash []byte, sealed string, life time.Duration) (kept string, err error)
	// Mailed deletes a mail that was sent, or will never be.
	Mailed(ctx context.Context, id int64) error
	// OldestMail returns how long ago the mail was asked for that waits for
	// longest, 0 if none does.
	OldestMail(ctx context.Context) (time.Duration, error)
	// SweepCodes deletes codes that have expired.
	SweepCodes(ctx context.Context, limit int) error
}

type smtp interface {
	// Send sends a mail. Invalid: it can never be.
	Send(ctx context.Context, m mail.Mail) error
}

// sender sends the mails that were asked for.
type sender struct {
	store   mailStore
	smtp    smtp // nil: there is no server
	vault   *vault.Vault
	service string // what mails call this service
	sent    *prometheus.CounterVec
	waiting prometheus.Gauge
	log     *slog.Logger
}

func newMailMetrics() (sent *prometheus.CounterVec, waiting prometheus.Gauge) {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_mails_total", Help: "Mails that were asked for, by what became of them.",
		}, []string{"outcome"}), prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidings_mails_waiting_seconds", Help: "How long ago the mail was asked for that waited for longest when mail-send looked last.",
		})
}

// send sends what is due, until there is nothing or half of the time that ctx
// leaves it is over. What cannot be sent now stays for the next run. It takes
// one mail at a time, so that none waits for the end of a lease that was not
// tried. A mail is sent twice if this is cut off between sending and noting it;
// the code in the later one is good then.
func (s *sender) send(ctx context.Context) error {
	if s.smtp == nil {
		return s.drop(ctx)
	}
	deadline, bounded := ctx.Deadline()
	enough := time.Now().Add(time.Until(deadline) / 2)
	var failed []error
	for len(failed) < mostFailures && !(bounded && time.Now().After(enough)) {
		due, err := s.store.DueMails(ctx, mailAge, mailLease, 1)
		if err != nil {
			return err
		}
		if len(due) == 0 {
			break
		}
		if err := s.one(ctx, due[0]); err != nil {
			s.log.WarnContext(ctx, "a mail is left to a later run", "purpose", due[0].Purpose, "tries", due[0].Tries, "err", err)
			s.sent.WithLabelValues("failed").Inc()
			failed = append(failed, err)
		}
	}
	oldest, err := s.store.OldestMail(ctx)
	if err == nil {
		s.waiting.Set(oldest.Seconds())
	}
	return errors.Join(errors.Join(failed...), err, s.store.SweepCodes(ctx, 1000))
}

// drop forgets mails that nobody can send, so that they do not come all at
// once when there is a server.
func (s *sender) drop(ctx context.Context) error {
	due, err := s.store.DueMails(ctx, mailAge, mailLease, 50)
	for _, m := range due {
		s.log.WarnContext(ctx, "a mail is not sent: there is no mail server", "purpose", m.Purpose, "err", mail.ErrOff)
		s.sent.WithLabelValues("off").Inc()
		err = errors.Join(err, s.store.Mailed(ctx, m.ID))
	}
	return err
}

// one sends one mail, if it is for anybody.
func (s *sender) one(ctx context.Context, m im.Mail) error {
	u, err := s.store.Addressee(ctx, m)
	if errors.Is(err, im.NotFound) {
		s.sent.WithLabelValues("nobody").Inc()
		return s.store.Mailed(ctx, m.ID)
	}
	if err != nil {
		return err
	}
	text, tells := s.tell(m, u)
	if !tells {
		typed, err := s.code(ctx, m, u)
		if err != nil {
			return err
		}
		text = s.write(m, u, typed)
	}
	err = s.smtp.Send(ctx, text)
	switch {
	case errors.Is(err, im.Invalid):
		s.log.ErrorContext(ctx, "a mail is refused for good", "purpose", m.Purpose, "user", u.ID, "err", err)
		s.sent.WithLabelValues("refused").Inc()
	case err != nil:
		return err
	default:
		s.sent.WithLabelValues("sent").Inc()
	}
	return s.store.Mailed(ctx, m.ID)
}

// code returns the code that a mail is to hold: the one that was mailed before,
// while that is good, so that nobody who asks for a code makes one worthless that
// is on its way.
func (s *sender) code(ctx context.Context, m im.Mail, u im.User) (typed string, err error) {
	of := []string{m.Purpose, u.ID, m.Email}
	typed = vault.NewCode(codeLen)
	code, _ := vault.ParseCode(typed, codeLen)
	kept, err := s.store.PutCode(ctx, u.ID, m.Purpose, m.Email, s.vault.Hash(code, of...), s.vault.Seal([]byte(typed), of...), codeLife)
	if err != nil {
		return "", err
	}
	b, _, err := s.vault.Open(kept, of...)
	if err != nil {
		return "", fmt.Errorf("reading a code that was mailed: %w", err)
	}
	return string(b), nil
}

// write returns a mail with a code. Nothing in it but the account is of what
// users write, and that is of a few letters: who has mails sent to strangers
// says nothing to them.
func (s *sender) write(m im.Mail, u im.User, code string) mail.Mail {
	var text strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&text, format+"\n", args...) }
	subject := "Your code to choose a new password"
	if m.Purpose == im.MailVerify {
		subject = "Your code to confirm your e-mail address"
		line("The account %q of %s says that this e-mail address is its own. If it is yours, enter this code:", u.Account, s.service)
	} else {
		line("Somebody, probably you, asked for a new password for your account %q of %s. Enter this code to choose one:", u.Account, s.service)
	}
	line("")
	line("    %s", code)
	line("")
	line("It is good for %d minutes. Nobody of %s will ever ask you for it.", int(codeLife.Minutes()), s.service)
	line("If you did not ask for it, there is nothing that you have to do.")
	return mail.Mail{To: m.Email, Subject: s.service + ": " + subject, Text: text.String()}
}

// changes are what mails tell of that has changed.
var changes = map[string]struct{ subject, text string }{
	im.MailEmailChanged:    {"Your e-mail address was changed", "The e-mail address of your account %q of %s was this one, and is another now, or none."},
	im.MailPasswordChanged: {"Your password was changed", "Your account %q of %s has a new password. All devices were signed out."},
	im.MailFactorAdded:     {"A second factor was added", "Signing in to your account %q of %s takes a code of an authenticator now."},
	im.MailFactorRemoved:   {"The second factor was removed", "Signing in to your account %q of %s takes no code of an authenticator any more."},
}

// tell returns a mail that tells of what has changed, and false if m is of
// another purpose. There is no link in it to follow.
func (s *sender) tell(m im.Mail, u im.User) (mail.Mail, bool) {
	c, ok := changes[m.Purpose]
	if !ok {
		return mail.Mail{}, false
	}
	text := fmt.Sprintf(c.text, u.Account, s.service) + `

If it was you, there is nothing that you have to do.
If it was not, somebody else is signed in as you: choose a new password, and look at
your devices, bots and accounts elsewhere.
`
	if m.Purpose == im.MailEmailChanged {
		text = fmt.Sprintf(c.text, u.Account, s.service) + `

If it was you, there is nothing that you have to do.
If it was not, sign in, choose a new password, and give your e-mail address again.
`
	}
	return mail.Mail{To: m.Email, Subject: s.service + ": " + c.subject, Text: text}, true
}
