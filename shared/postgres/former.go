package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var settingHold = proc.Setting{Name: "ACCOUNT_HOLD", Default: "2160h", Doc: "for how long nobody can register the account of a user, or of a bot of somebody else, who was deleted, so that nobody is taken for them; 0 is not at all, forever is for ever"}

// A hold is for how long accounts of deleted users are nobody's.
type hold struct {
	life    time.Duration
	forever bool
}

func holdOf(env *proc.Env) (hold, error) {
	set := env.Settings()
	switch set.String(settingHold) {
	case "0":
		return hold{}, set.Err()
	case "forever":
		return hold{forever: true}, set.Err()
	}
	return hold{life: set.Duration(settingHold)}, set.Err()
}

// sweptFormer is how many accounts are free again at most whenever another one
// is held, so that what is held does not grow.
const sweptFormer = 10

// keep notes that nobody takes the account of a user, who is about to be
// cleared.
func (h hold) keep(batch *pgx.Batch, user string) {
	batch.Queue(`
		DELETE FROM former_accounts WHERE hash = ANY (ARRAY(
			SELECT hash FROM former_accounts WHERE until <= now() ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED))`, sweptFormer)
	if h == (hold{}) {
		return
	}
	batch.Queue(`
		INSERT INTO former_accounts (hash, owner_id, until)
		SELECT sha256(convert_to(account, 'UTF8')), owner_id, CASE WHEN $2 THEN 'infinity' ELSE now() + $3::interval END FROM users WHERE id = $1
		ON CONFLICT (hash) DO UPDATE SET owner_id = excluded.owner_id, until = excluded.until`, user, h.forever, h.life)
}

// free returns a Conflict if an account is that of somebody who was deleted a
// while ago, unless it was a bot of an owner, "" of none. It comes after the row
// of the account was made: who deleted them at the same time is waited for then.
func free(ctx context.Context, tx pgx.Tx, account, owner string) error {
	var held bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM former_accounts
			WHERE hash = sha256(convert_to($1, 'UTF8')) AND until > now() AND (owner_id = $2) IS NOT TRUE)`, account, owner).Scan(&held)
	if err == nil && held {
		return im.Errorf(im.Conflict, "the account %q is taken", account)
	}
	return err
}

func taken(account string, err error) error {
	return im.Wrap(im.Conflict, err, "the account %q is taken", account)
}
