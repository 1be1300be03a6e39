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

// UserByIdentity returns the user who signs in by an account elsewhere, and the
// hash of their password, "" if they have none. NotFound: nobody does.
func (db *Store) UserByIdentity(ctx context.Context, issuer, subject string) (u im.User, passwordHash string, err error) {
	err = db.QueryRow(ctx, `
		SELECT u.id, u.account, u.name, u.password FROM identities i JOIN users u ON u.id = i.user_id
		WHERE i.issuer = $1 AND i.subject = $2 AND u.deleted IS NULL`, issuer, subject).
		Scan(&u.ID, &u.Account, &u.Name, &passwordHash)
	return u, passwordHash, users.NotFound(err, "reading whose identity it is")
}

// UserByEmail returns the user who has proved that an e-mail address is theirs,
// likewise.
func (db *Store) UserByEmail(ctx context.Context, email string) (u im.User, passwordHash string, err error) {
	err = db.QueryRow(ctx, `
		SELECT id, account, name, password FROM users WHERE email = $1 AND email_verified IS NOT NULL AND deleted IS NULL`, email).
		Scan(&u.ID, &u.Account, &u.Name, &passwordHash)
	return u, passwordHash, users.NotFound(err, "reading whose address it is")
}

// AddIdentity has a user sign in by an account elsewhere. Email is the address
// that the user has to have proved for it, or "" if it does not depend on one.
// Doing so again does nothing. Conflict: it is another user's, or the user has
// another of the same provider. NotFound: the user is not there any more, or the
// address is not theirs any more.
func (db *Store) AddIdentity(ctx context.Context, user, email string, c im.Claim) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			SELECT id FROM users WHERE id = $1 AND deleted IS NULL AND ($2 = '' OR email = $2 AND email_verified IS NOT NULL)
			FOR NO KEY UPDATE`, user, email).Scan(nil)
		if err != nil {
			return users.NotFound(err, "locking user %s", user)
		}
		return addIdentity(ctx, tx, user, c)
	})
	return postgres.Failed(err, "linking an identity to %s", user)
}

func addIdentity(ctx context.Context, tx pgx.Tx, user string, c im.Claim) error {
	name := c.Account
	if name == "" {
		name = c.Email
	}
	var owner string
	err := tx.QueryRow(ctx, `
		INSERT INTO identities (issuer, subject, provider, user_id, name) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (issuer, subject) DO UPDATE SET provider = identities.provider
		RETURNING user_id`, c.Issuer, c.Subject, c.Provider, user, name).Scan(&owner)
	switch {
	case postgres.Violates(err, "identities_provider"):
		return im.Wrap(im.Conflict, err, "another account of %s is linked to this one: remove it first", c.Provider)
	case err != nil:
		return err
	case owner != user:
		return im.Errorf(im.Conflict, "this account of %s is linked to another user", c.Provider)
	}
	return nil
}

// CreateUserOf adds a user who signs in by an account elsewhere and has no
// password. The e-mail address of the claim is theirs, and proved. Conflict: the
// account, the address or the identity is taken.
func (db *Store) CreateUserOf(ctx context.Context, u im.User, c im.Claim) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO users (id, account, name, password, email, email_since, email_verified) VALUES ($1, $2, $3, '', $4, now(), now())`,
			u.ID, u.Account, u.Name, c.Email)
		if err != nil {
			return err
		}
		if err := users.CheckFree(ctx, tx, u.Account, ""); err != nil {
			return err
		}
		return addIdentity(ctx, tx, u.ID, c)
	})
	return postgres.Failed(err, "creating user %s", u.ID)
}

// Identities returns the accounts elsewhere by which a user signs in.
func (db *Store) Identities(ctx context.Context, user string) ([]im.Identity, error) {
	rows, err := db.Query(ctx, `SELECT provider, name, created FROM identities WHERE user_id = $1 ORDER BY provider`, user)
	if err != nil {
		return nil, postgres.Failed(err, "reading the identities of %s", user)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (i im.Identity, err error) {
		var created time.Time
		err = row.Scan(&i.Provider, &i.Name, &created)
		i.Created = im.TimeOf(created)
		return i, err
	})
	return all, postgres.Failed(err, "reading the identities of %s", user)
}

// DeleteIdentity removes an account elsewhere by which a user signs in. To
// remove one that is not there does nothing. Conflict: they could not sign in
// any more.
func (db *Store) DeleteIdentity(ctx context.Context, user, provider string) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var password bool
		err := tx.QueryRow(ctx, `SELECT password <> '' FROM users WHERE id = $1 AND deleted IS NULL FOR NO KEY UPDATE`, user).Scan(&password)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		got, err := tx.Exec(ctx, `DELETE FROM identities WHERE user_id = $1 AND provider = $2`, user, provider)
		if err != nil || got.RowsAffected() == 0 || password {
			return err
		}
		var left bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM identities WHERE user_id = $1)`, user).Scan(&left); err != nil {
			return err
		}
		if !left {
			return im.Errorf(im.Conflict, "it is the only way to sign in: choose a password first, by asking to reset it")
		}
		return nil
	})
	return postgres.Failed(err, "removing an identity of %s", user)
}
