package users

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// TellOwner notes that a user is to be mailed of what has changed, if they have
// proved an address. It does not ask how many mails wait: there is one of each
// change at a time, and only who may change it makes one.
func TellOwner(ctx context.Context, tx pgx.Tx, change, user string) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO mails (purpose, email, user_id)
		SELECT $1, email, id FROM users WHERE id = $2 AND deleted IS NULL AND email_verified IS NOT NULL
		ON CONFLICT ON CONSTRAINT mails_once DO UPDATE SET created = now()`, change, user)
	return err
}

// CreateUser adds a user. Conflict means that the account is taken, or was that
// of somebody who was deleted a while ago.
func (db *Store) CreateUser(ctx context.Context, u im.User, passwordHash string) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx,
			`INSERT INTO users (id, account, name, password) VALUES ($1, $2, $3, $4)`,
			u.ID, u.Account, u.Name, passwordHash)
		if err != nil {
			return err
		}
		return CheckFree(ctx, tx, u.Account, "")
	})
	if postgres.Violates(err, "users_account") {
		return Taken(u.Account, err)
	}
	return postgres.Failed(err, "creating user %s", u.ID)
}

// UserByAccount returns the user of an account and the hash of their password.
func (db *Store) UserByAccount(ctx context.Context, account string) (u im.User, passwordHash string, err error) {
	err = db.QueryRow(ctx,
		`SELECT id, account, name, password FROM users WHERE account = $1 AND owner_id IS NULL`, account).
		Scan(&u.ID, &u.Account, &u.Name, &passwordHash)
	if errors.Is(err, pgx.ErrNoRows) {
		return im.User{}, "", im.Wrap(im.NotFound, err, "there is no account of this name")
	}
	return u, passwordHash, postgres.Failed(err, "reading an account")
}

// Password returns the account of a user and the hash of their password.
// NotFound: there is no such user, or not any more.
func (db *Store) Password(ctx context.Context, user string) (account, hash string, err error) {
	err = db.QueryRow(ctx, `SELECT account, password FROM users WHERE id = $1 AND deleted IS NULL`, user).Scan(&account, &hash)
	return account, hash, NotFound(err, "reading the password of %s", user)
}

// Profile returns what everybody may see of a user. Of one who was deleted it
// is that, and the id.
func (db *Store) Profile(ctx context.Context, user string) (p im.Profile, err error) {
	err = db.QueryRow(ctx, `SELECT `+ProfileColumns+` FROM users u WHERE u.id = $1`, user).Scan(ProfileTargets(&p)...)
	return p, NotFound(err, "reading the profile of %s", user)
}

// SelfColumns are what a user sees of themselves, of a row u of users, in the
// order of SelfOf.
const SelfColumns = ProfileColumns + `, coalesce(u.email, ''), u.email_verified IS NOT NULL, coalesce(u.phone, ''),
	EXISTS (SELECT FROM second_factors f WHERE f.user_id = u.id AND f.confirmed IS NOT NULL), u.password = '',
	u.find_by_email, u.find_by_phone, u.presence, u.friend_requests, u.group_adds, u.created`

// SelfOf reads a row of SelfColumns.
func SelfOf(row pgx.Row) (u im.Self, err error) {
	var created time.Time
	s := &u.Settings
	err = row.Scan(append(ProfileTargets(&u.Profile), &u.Email, &u.EmailVerified, &u.Phone, &u.SecondFactor, &u.NoPassword,
		&s.FindByEmail, &s.FindByPhone, &s.Presence, &s.FriendRequests, &s.GroupAdds, &created)...)
	u.Created = im.TimeOf(created)
	return u, err
}

// Self returns a user as they see themselves. NotFound: there is no such user,
// or not any more.
func (db *Store) Self(ctx context.Context, user string) (im.Self, error) {
	u, err := SelfOf(db.QueryRow(ctx, `SELECT `+SelfColumns+` FROM users u WHERE u.id = $1 AND u.deleted IS NULL`, user))
	return u, NotFound(err, "reading user %s", user)
}

// UpdateUser changes a user and returns them. What is changed is checked
// already. Another e-mail address voids the codes that were mailed to the one
// before, which is mailed that there is another if it was proved. NotFound: there is no such user, or not any more.
func (db *Store) UpdateUser(ctx context.Context, user string, c im.UserChange) (im.Self, error) {
	u, err := SelfOf(db.QueryRow(ctx, `
		WITH void AS (DELETE FROM email_codes WHERE user_id = $1 AND email <> $5::text),
		told AS (
			INSERT INTO mails (purpose, email, user_id)
			SELECT $12, email, id FROM users
			WHERE id = $1 AND deleted IS NULL AND email_verified IS NOT NULL AND email IS DISTINCT FROM coalesce($5, email)
			ON CONFLICT ON CONSTRAINT mails_once DO UPDATE SET created = now()
		),
		freed AS (
			UPDATE avatars SET unused = now() WHERE owner_id = $1 AND unused IS NULL AND right($4::text, length(key)) <> key
		)
		UPDATE users u SET
			name            = coalesce($2, name),
			bio             = coalesce($3, bio),
			avatar          = coalesce($4, avatar),
			avatar_checked  = coalesce($4, avatar_checked),
			email           = CASE WHEN $5::text IS NULL THEN email ELSE nullif($5, '') END,
			email_since     = CASE WHEN $5::text IS NULL OR $5 = email THEN email_since ELSE now() END,
			email_verified  = CASE WHEN $5::text IS NULL OR $5 = email THEN email_verified END,
			phone           = CASE WHEN $6::text IS NULL THEN phone ELSE nullif($6, '') END,
			phone_since     = CASE WHEN $6::text IS NULL OR $6 = phone THEN phone_since ELSE now() END,
			find_by_email   = coalesce($7, find_by_email),
			find_by_phone   = coalesce($8, find_by_phone),
			presence        = coalesce($9, presence),
			friend_requests = coalesce($10, friend_requests),
			group_adds      = coalesce($11, group_adds)
		WHERE u.id = $1 AND u.deleted IS NULL
		RETURNING `+SelfColumns,
		user, c.Name, c.Bio, c.Avatar, c.Email, c.Phone, c.FindByEmail, c.FindByPhone, c.Presence, c.FriendRequests, c.GroupAdds, im.MailEmailChanged))
	return u, NotFound(err, "changing user %s", user)
}

// NotFound gives NotFound to what found no user.
func NotFound(err error, format string, args ...any) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return im.Wrap(im.NotFound, err, "there is no such user")
	}
	return postgres.Failed(err, format, args...)
}

// maxFound is the most users that a search returns.
const maxFound = 5

// FindByAccount returns the user of an account, or none.
func (db *Store) FindByAccount(ctx context.Context, account string) ([]im.Profile, error) {
	return db.find(ctx, `SELECT `+ProfileColumns+` FROM users u WHERE u.account = $1`, account)
}

// FindByEmail returns the user who has proved that an e-mail address is theirs
// or, if nobody has, those who say so, who have for longest first; of these who
// want to be found by it and have not blocked the seeker. It returns a few at
// most.
func (db *Store) FindByEmail(ctx context.Context, seeker, email string) ([]im.Profile, error) {
	return db.find(ctx, `
		SELECT `+ProfileColumns+` FROM users u
		WHERE u.email = $1 AND u.find_by_email
		  AND (u.email_verified IS NOT NULL OR NOT EXISTS (SELECT FROM users v WHERE v.email = $1 AND v.email_verified IS NOT NULL))
		  AND NOT EXISTS (SELECT FROM blocks b WHERE b.user_id = u.id AND b.blocked_id IN ($2, (SELECT owner_id FROM users WHERE id = $2)))
		ORDER BY u.email_verified IS NULL, u.email_since LIMIT $3`, email, seeker, maxFound)
}

// FindByPhone returns the users who say that a telephone number is theirs,
// likewise.
func (db *Store) FindByPhone(ctx context.Context, seeker, phone string) ([]im.Profile, error) {
	return db.find(ctx, `
		SELECT `+ProfileColumns+` FROM users u
		WHERE u.phone = $1 AND u.find_by_phone
		  AND NOT EXISTS (SELECT FROM blocks b WHERE b.user_id = u.id AND b.blocked_id IN ($2, (SELECT owner_id FROM users WHERE id = $2)))
		ORDER BY u.phone_since LIMIT $3`, phone, seeker, maxFound)
}

func (db *Store) find(ctx context.Context, query string, args ...any) ([]im.Profile, error) {
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return nil, postgres.Failed(err, "searching users")
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p im.Profile, err error) {
		return p, row.Scan(ProfileTargets(&p)...)
	})
	return found, postgres.Failed(err, "searching users")
}

// ChangePassword puts the hash of a password in the place of another, ends all
// sessions of the user, and begins one of the device that has changed it, with
// its first refresh token. It ends what else is said and returns the sessions
// that have ended, of bots too. The owner is to be mailed. Conflict: the password
// is another one by now.
func (db *Store) ChangePassword(ctx context.Context, s im.Session, oldHash, newHash string, refreshHash []byte, expires time.Time, also im.Revocation) (ended []im.Session, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		// The lock keeps those waiting who sign in with the old password.
		got, err := tx.Exec(ctx, `UPDATE users SET password = $3 WHERE id = $1 AND password = $2 AND deleted IS NULL`, s.User, oldHash, newHash)
		if err != nil {
			return err
		}
		if got.RowsAffected() == 0 {
			return im.Errorf(im.Conflict, "the password was changed meanwhile")
		}
		if ended, err = EndAll(ctx, tx, s.User, also); err != nil {
			return err
		}
		if err := TellOwner(ctx, tx, im.MailPasswordChanged, s.User); err != nil {
			return err
		}
		return addSession(ctx, tx, s, refreshHash, expires)
	})
	if err != nil {
		return nil, postgres.Failed(err, "changing the password of %s", s.User)
	}
	return ended, nil
}

// EndAll ends all sessions of a user, and what else is said, and returns those
// that have ended, of bots too.
func EndAll(ctx context.Context, tx pgx.Tx, user string, also im.Revocation) ([]im.Session, error) {
	of := `user_id = $1`
	if also.Bots {
		of = `user_id = ANY (ARRAY(SELECT id FROM users WHERE owner_id = $1 AND deleted IS NULL UNION ALL SELECT $1))` // an OR would walk through all
	}
	rows, err := tx.Query(ctx, `UPDATE sessions SET ended = now() WHERE ended IS NULL AND `+of+` RETURNING id, user_id`, user)
	if err != nil {
		return nil, err
	}
	ended, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s im.Session, err error) {
		return s, row.Scan(&s.ID, &s.User)
	})
	if err != nil {
		return nil, err
	}
	batch := &pgx.Batch{}
	if also.Bots {
		batch.Queue(`
			WITH off AS (
				UPDATE webhooks SET disabled = now(), reason = $2, told = true, due = NULL, taken = NULL, run = run + 1
				WHERE disabled IS NULL AND bot_id IN (SELECT id FROM users WHERE owner_id = $1 AND deleted IS NULL)
				RETURNING id
			) DELETE FROM webhook_deliveries WHERE webhook_id IN (SELECT id FROM off)`, user, im.WebhookOff)
	}
	if also.Identities {
		batch.Queue(`DELETE FROM identities WHERE user_id = $1`, user)
	}
	return ended, tx.SendBatch(ctx, batch).Close()
}
