package accounts

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/users"
)

// maxMails is how many mails wait to be sent at most.
const maxMails = 10_000

// maxAttempts is how often a user may try a code that was mailed to verify their
// address. Codes to reset a password may be tried by anybody, so that they are
// counted by who tries, and go by nobody's attempts.
const maxAttempts = 5

// Ask notes that a mail is to be sent, if it does not wait already. It looks
// nothing up, so that nobody learns by it what there is. Overloaded: too many
// wait.
func (db *Store) Ask(ctx context.Context, purpose, email, user string) error {
	got, err := db.Exec(ctx, `
		INSERT INTO mails (purpose, email, user_id)
		SELECT $1, $2, nullif($3, '') WHERE (SELECT count(*) FROM (SELECT FROM mails LIMIT $4) m) < $4
		ON CONFLICT ON CONSTRAINT mails_once DO UPDATE SET created = now()`, purpose, email, user, maxMails)
	if err == nil && got.RowsAffected() == 0 {
		err = &im.Error{Kind: im.Overloaded, Msg: "too many mails wait to be sent: try again later", RetryAfter: time.Minute}
	}
	return postgres.Failed(err, "asking for a mail")
}

// DueMails returns at most limit mails that are to be sent, those first that
// are due for longest, and leaves them to the caller for a lease; each try makes
// the next lease longer. Those that were asked for age ago it deletes.
func (db *Store) DueMails(ctx context.Context, age, lease time.Duration, limit int) ([]im.Mail, error) {
	if _, err := db.Exec(ctx, `
		DELETE FROM mails WHERE id IN (SELECT id FROM mails WHERE created <= now() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED)`, age, maxMails); err != nil {
		return nil, postgres.Failed(err, "deleting mails that are too old")
	}
	rows, err := db.Query(ctx, `
		UPDATE mails SET tries = tries + 1, due = now() + $1::interval * (tries + 1)
		WHERE id IN (SELECT id FROM mails WHERE due <= now() ORDER BY due LIMIT $2 FOR UPDATE SKIP LOCKED)
		RETURNING id, purpose, email, coalesce(user_id, ''), tries, now() - created`, lease, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading mails")
	}
	due, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m im.Mail, err error) {
		return m, row.Scan(&m.ID, &m.Purpose, &m.Email, &m.User, &m.Tries, &m.Age)
	})
	return due, postgres.Failed(err, "reading mails")
}

// OldestMail returns how long ago the mail was asked for that waits for longest,
// or 0 if none does.
func (db *Store) OldestMail(ctx context.Context) (age time.Duration, err error) {
	err = db.QueryRow(ctx, `SELECT coalesce(now() - min(created), '0') FROM mails`).Scan(&age)
	return age, postgres.Failed(err, "asking which mail waits for longest")
}

// Mailed deletes a mail that was sent, or will never be. One that was asked
// for again meanwhile is deleted, too.
func (db *Store) Mailed(ctx context.Context, id int64) error {
	_, err := db.Exec(ctx, `DELETE FROM mails WHERE id = $1`, id)
	return postgres.Failed(err, "deleting a mail")
}

// Addressee returns whom a mail is for, as they are now. NotFound: nobody, not
// any more, or there is no need.
func (db *Store) Addressee(ctx context.Context, m im.Mail) (u im.User, err error) {
	of, args := `email = $1 AND id = $2 AND email_verified IS NOT NULL`, []any{m.Email, m.User}
	switch m.Purpose {
	case im.MailReset:
		of, args = `email = $1 AND email_verified IS NOT NULL`, []any{m.Email}
	case im.MailVerify:
		of = `email = $1 AND id = $2 AND email_verified IS NULL`
	case im.MailEmailChanged:
		of, args = `id = $1`, []any{m.User} // the address was theirs
	}
	err = db.QueryRow(ctx, `SELECT id, account, name FROM users WHERE deleted IS NULL AND `+of, args...).Scan(&u.ID, &u.Account, &u.Name)
	return u, users.NotFound(err, "reading whom a mail is for")
}

// codeAge is for how long a code is mailed again to who asks again.
const codeAge = 45 * time.Minute

// PutCode stores a code, as its hash and encrypted, that is about to be mailed to
// an address of a user, for a while, and returns it encrypted. If one was mailed
// to the address for the same purpose before, and is good, it is that one, and
// good for as long: whoever asks for another takes it from nobody.
func (db *Store) PutCode(ctx context.Context, user, purpose, email string, hash []byte, sealed string, life time.Duration) (kept string, err error) {
	const good = `c.email = excluded.email AND c.expires > now() AND c.created > now() - $7::interval AND (c.attempts < $8 OR c.purpose = 'reset') AND c.sealed IS NOT NULL`
	err = db.QueryRow(ctx, `
		INSERT INTO email_codes AS c (user_id, purpose, email, hash, sealed, expires) VALUES ($1, $2, $3, $4, $5, now() + $6::interval)
		ON CONFLICT (user_id, purpose) DO UPDATE SET email = excluded.email, expires = excluded.expires,
			hash     = CASE WHEN `+good+` THEN c.hash ELSE excluded.hash END,
			sealed   = CASE WHEN `+good+` THEN c.sealed ELSE excluded.sealed END,
			created  = CASE WHEN `+good+` THEN c.created ELSE now() END,
			attempts = CASE WHEN `+good+` THEN c.attempts ELSE 0 END
		RETURNING sealed`,
		user, purpose, email, hash, sealed, life, codeAge, maxAttempts).Scan(&kept)
	return kept, postgres.Failed(err, "storing a code of %s", user)
}

// SweepCodes deletes at most limit codes that have expired.
func (db *Store) SweepCodes(ctx context.Context, limit int) error {
	_, err := db.Exec(ctx, `
		DELETE FROM email_codes WHERE (user_id, purpose) IN (
			SELECT user_id, purpose FROM email_codes WHERE expires <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)`, limit)
	return postgres.Failed(err, "sweeping codes")
}

// errCode is the one answer to a code that is wrong, has expired, was used or
// tried too often, and to one that nobody was sent.
var errCode = im.Errorf(im.Denied, "the code is another, has expired, or was tried too often: ask for a new one")

// redeem uses up the code of a user that was mailed to an address, if is
// reports that its hash is that of the code that was given. An attempt counts
// whatever becomes of it, so the transaction has to be committed even if the
// second result, which is for the client, is an error.
func redeem(ctx context.Context, tx pgx.Tx, user, purpose, email string, is func(hash []byte) bool) (err, refused error) {
	var hash []byte
	err = tx.QueryRow(ctx, `
		UPDATE email_codes SET attempts = attempts + 1
		WHERE user_id = $1 AND purpose = $2 AND email = $3 AND expires > now() AND (attempts < $4 OR purpose = 'reset')
		RETURNING hash`, user, purpose, email, maxAttempts).Scan(&hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errCode
	}
	if err != nil {
		return err, nil
	}
	if !is(hash) {
		return nil, errCode
	}
	_, err = tx.Exec(ctx, `DELETE FROM email_codes WHERE user_id = $1 AND purpose = $2`, user, purpose)
	return err, nil
}

// ConfirmEmail notes that a user has proved that their e-mail address is
// theirs, by the code of which is reports that it was mailed, and returns them.
// Denied: it is not that code. Conflict: another user has proved it. NotFound:
// the user is not there any more.
func (db *Store) ConfirmEmail(ctx context.Context, user string, is func(user, email string, hash []byte) bool) (u im.Self, err error) {
	var refused error
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var email string
		var verified bool
		err := tx.QueryRow(ctx, `
			SELECT coalesce(email, ''), email_verified IS NOT NULL FROM users WHERE id = $1 AND deleted IS NULL FOR NO KEY UPDATE`, user).
			Scan(&email, &verified)
		if err != nil {
			return users.NotFound(err, "locking user %s", user)
		}
		if !verified {
			err, refused = redeem(ctx, tx, user, im.MailVerify, email, func(hash []byte) bool { return is(user, email, hash) })
			if err != nil || refused != nil {
				return err
			}
			if _, err = tx.Exec(ctx, `UPDATE users SET email_verified = now() WHERE id = $1`, user); err != nil {
				return err
			}
		}
		u, err = users.SelfOf(tx.QueryRow(ctx, `SELECT `+users.SelfColumns+` FROM users u WHERE u.id = $1`, user))
		return err
	})
	switch {
	case postgres.Violates(err, "users_email_verified"):
		return im.Self{}, im.Wrap(im.Conflict, err, "this e-mail address is another account's: whoever it belongs to can recover that account by it")
	case err != nil:
		return im.Self{}, postgres.Failed(err, "confirming the e-mail address of %s", user)
	}
	return u, refused
}

// ResetPassword puts the hash of a password in the place of whatever the user
// has who has proved that an e-mail address is theirs, and ends all of their
// sessions, and what else is said, by the code of which is reports that it was
// mailed. It returns the sessions that have ended, of bots too. The owner is to
// be mailed. Denied: it is not that code, or there is no such user. An error of
// fit, which is called with the user once the code is right, is returned, and
// the code stays good.
func (db *Store) ResetPassword(ctx context.Context, email string, is func(user string, hash []byte) bool, fit func(im.User) error, passwordHash string, also im.Revocation) (u im.User, ended []im.Session, err error) {
	var refused error
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		// The lock keeps those waiting who sign in with the old password.
		err := tx.QueryRow(ctx, `
			SELECT id, account, name FROM users WHERE email = $1 AND email_verified IS NOT NULL AND deleted IS NULL FOR NO KEY UPDATE`, email).
			Scan(&u.ID, &u.Account, &u.Name)
		if errors.Is(err, pgx.ErrNoRows) {
			refused = errCode
			return nil
		}
		if err != nil {
			return err
		}
		if err, refused = redeem(ctx, tx, u.ID, im.MailReset, email, func(hash []byte) bool { return is(u.ID, hash) }); err != nil || refused != nil {
			return err
		}
		if err := fit(u); err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, `UPDATE users SET password = $2 WHERE id = $1`, u.ID, passwordHash); err != nil {
			return err
		}
		if ended, err = users.EndAll(ctx, tx, u.ID, also); err != nil {
			return err
		}
		return users.TellOwner(ctx, tx, im.MailPasswordChanged, u.ID)
	})
	if err = postgres.Failed(err, "resetting a password"); err == nil {
		err = refused
	}
	if err != nil {
		return im.User{}, nil, err
	}
	return u, ended, nil
}
