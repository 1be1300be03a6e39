package users

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// sweptFormer is how many accounts are free again at most whenever another one
// is held, so that what is held does not grow.
const sweptFormer = 10

// QueueHold has nobody take the account of a user, who is about to be cleared.
func QueueHold(batch *pgx.Batch, h postgres.Hold, user string) {
	batch.Queue(`
		DELETE FROM former_accounts WHERE hash = ANY (ARRAY(
			SELECT hash FROM former_accounts WHERE until <= now() ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED))`, sweptFormer)
	if h == (postgres.Hold{}) {
		return
	}
	batch.Queue(`
		INSERT INTO former_accounts (hash, owner_id, until)
		SELECT sha256(convert_to(account, 'UTF8')), owner_id, CASE WHEN $2 THEN 'infinity' ELSE now() + $3::interval END FROM users WHERE id = $1
		ON CONFLICT (hash) DO UPDATE SET owner_id = excluded.owner_id, until = excluded.until`, user, h.Forever, h.Life)
}

// CheckFree returns a Conflict if an account is that of somebody who was deleted a
// while ago, unless it was a bot of an owner, "" of none. It comes after the row
// of the account was made: who deleted them at the same time is waited for then.
func CheckFree(ctx context.Context, tx pgx.Tx, account, owner string) error {
	var held bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM former_accounts
			WHERE hash = sha256(convert_to($1, 'UTF8')) AND until > now() AND (owner_id = $2) IS NOT TRUE)`, account, owner).Scan(&held)
	if err == nil && held {
		return im.Errorf(im.Conflict, "the account %q is taken", account)
	}
	return err
}

// Taken is err, which says that an account is another's, as a Conflict.
func Taken(account string, err error) error {
	return im.Wrap(im.Conflict, err, "the account %q is taken", account)
}
