package accounts

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/users"
)

// Factor returns the second factor of a user; NotFound if they have none, not
// even one that they have not confirmed.
func (db *Store) Factor(ctx context.Context, user string) (f im.Factor, err error) {
	err = db.QueryRow(ctx, `SELECT secret, confirmed IS NOT NULL, last_step FROM second_factors WHERE user_id = $1`, user).
		Scan(&f.Secret, &f.Confirmed, &f.LastStep)
	if errors.Is(err, pgx.ErrNoRows) {
		return f, im.Wrap(im.NotFound, err, "there is no second factor")
	}
	return f, postgres.Failed(err, "reading the second factor of %s", user)
}

// SetFactor gives a user a second factor that they have yet to confirm, in the
// place of one that they have not. Conflict: they have confirmed one. NotFound:
// the user is not there any more.
func (db *Store) SetFactor(ctx context.Context, user, secret string) error {
	got, err := db.Exec(ctx, `
		INSERT INTO second_factors (user_id, secret) SELECT id, $2 FROM users WHERE id = $1 AND deleted IS NULL FOR NO KEY UPDATE
		ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret, created = now(), last_step = 0 WHERE second_factors.confirmed IS NULL`,
		user, secret)
	if err == nil && got.RowsAffected() == 0 {
		_, err = users.New(db.DB).Self(ctx, user)
		if err == nil {
			err = im.Errorf(im.Conflict, "there is a second factor: remove it first")
		}
	}
	return postgres.Failed(err, "setting up the second factor of %s", user)
}

// ConfirmFactor has the second factor of a user asked for from now on, if its
// secret still is the given one, and stores the hashes of recovery codes. The
// owner is to be mailed.
// Conflict: it was confirmed, or set up anew.
func (db *Store) ConfirmFactor(ctx context.Context, user, secret string, step int64, recovery [][]byte) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		got, err := tx.Exec(ctx, `
			UPDATE second_factors SET confirmed = now(), last_step = $3 WHERE user_id = $1 AND secret = $2 AND confirmed IS NULL`, user, secret, step)
		if err != nil {
			return err
		}
		if got.RowsAffected() == 0 {
			return im.Errorf(im.Conflict, "the second factor was confirmed already, or set up anew")
		}
		if _, err = tx.Exec(ctx, `INSERT INTO recovery_codes (user_id, hash) SELECT $1, unnest($2::bytea[])`, user, recovery); err != nil {
			return err
		}
		return users.TellOwner(ctx, tx, im.MailFactorAdded, user)
	})
	return postgres.Failed(err, "confirming the second factor of %s", user)
}

// UseStep notes that the code of a step was used, and stores the secret as it
// is encrypted now. It returns false if that step, or a later one, was used
// before: of two who use a code at once, one does.
func (db *Store) UseStep(ctx context.Context, user string, step int64, secret string) (bool, error) {
	got, err := db.Exec(ctx, `UPDATE second_factors SET last_step = $2, secret = $3 WHERE user_id = $1 AND last_step < $2`, user, step, secret)
	return got.RowsAffected() == 1, postgres.Failed(err, "using a code of %s", user)
}

// UseRecoveryCode uses up a recovery code, and returns false if there is none of
// the hash.
func (db *Store) UseRecoveryCode(ctx context.Context, user string, hash []byte) (bool, error) {
	got, err := db.Exec(ctx, `DELETE FROM recovery_codes WHERE user_id = $1 AND hash = $2`, user, hash)
	return got.RowsAffected() == 1, postgres.Failed(err, "using a recovery code of %s", user)
}

// DeleteFactor removes the second factor of a user, and the recovery codes. The
// owner is to be mailed, if it was asked for.
func (db *Store) DeleteFactor(ctx context.Context, user string) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var confirmed bool
		err := tx.QueryRow(ctx, `DELETE FROM second_factors WHERE user_id = $1 RETURNING confirmed IS NOT NULL`, user).Scan(&confirmed)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil || !confirmed {
			return err
		}
		return users.TellOwner(ctx, tx, im.MailFactorRemoved, user)
	})
	return postgres.Failed(err, "removing the second factor of %s", user)
}
