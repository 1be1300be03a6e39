package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
)

// CreateUser adds a user. Conflict means that the account is taken.
func (db *DB) CreateUser(ctx context.Context, u im.User, passwordHash string) error {
	_, err := db.pool.Exec(ctx,
		`INSERT INTO users (id, account, name, password) VALUES ($1, $2, $3, $4)`,
		u.ID, u.Account, u.Name, passwordHash)
	if violates(err, "users_account") {
		return im.Wrap(im.Conflict, err, "the account %q is taken", u.Account)
	}
	return failed(err, "creating user %s", u.ID)
}

// UserByAccount returns the user of an account and the hash of their password.
func (db *DB) UserByAccount(ctx context.Context, account string) (u im.User, passwordHash string, err error) {
	err = db.pool.QueryRow(ctx,
		`SELECT id, account, name, password FROM users WHERE account = $1`, account).
		Scan(&u.ID, &u.Account, &u.Name, &passwordHash)
	if errors.Is(err, pgx.ErrNoRows) {
		return im.User{}, "", im.Wrap(im.NotFound, err, "there is no account of this name")
	}
	return u, passwordHash, failed(err, "reading an account")
}
