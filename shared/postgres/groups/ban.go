package groups

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/users"
)

// Announced returns those of users of whom the members of a group were told
// after a time, for eyes to see, that they had come or gone.
func (tx Tx) Announced(ctx context.Context, group string, users []string, after im.Time) ([]string, error) {
	return tx.Strings(ctx, "asking who has come to or gone from group "+group, `
		SELECT user_id FROM group_members WHERE group_id = $1 AND user_id = ANY ($2) AND told > $3
		UNION SELECT user_id FROM group_departures WHERE group_id = $1 AND user_id = ANY ($2) AND told > $3`, group, users, after.Std())
}

// Announce notes that the members of a group that is locked are told that users
// have come or gone.
func (tx Tx) Announce(ctx context.Context, group string, users []string, at im.Time) error {
	batch := &pgx.Batch{}
	batch.Queue(`UPDATE group_members SET told = $3 WHERE group_id = $1 AND user_id = ANY ($2)`, group, users, at.Std())
	batch.Queue(`UPDATE group_departures SET told = $3 WHERE group_id = $1 AND user_id = ANY ($2)`, group, users, at.Std())
	return postgres.Failed(tx.SendBatch(ctx, batch).Close(), "noting who has come to or gone from group %s", group)
}

// NoteLeft notes that a user who was taken out of a group left by themselves.
func (tx Tx) NoteLeft(ctx context.Context, group, user string, at im.Time) error {
	_, err := tx.Exec(ctx, `UPDATE group_departures SET left_at = $3 WHERE group_id = $1 AND user_id = $2`, group, user, at.Std())
	return postgres.Failed(err, "noting that %s has left group %s", user, group)
}

// LeftAfter returns those of users who left a group by themselves after a time.
func (tx Tx) LeftAfter(ctx context.Context, group string, users []string, after im.Time) ([]string, error) {
	return tx.Strings(ctx, "asking who has left group "+group,
		`SELECT user_id FROM group_departures WHERE group_id = $1 AND user_id = ANY ($2) AND left_at > $3`, group, users, after.Std())
}

// Banned returns those of users who are banned from a group.
func (tx Tx) Banned(ctx context.Context, group string, users []string) ([]string, error) {
	return tx.Strings(ctx, "asking who is banned from group "+group, `
		SELECT user_id FROM group_bans WHERE group_id = $1 AND user_id = ANY ($2) AND (until IS NULL OR until > now())`, group, users)
}

// Ban bans users from a group that is locked, or changes until when and why. It
// returns those of them who were not banned so before, and how many are banned
// then.
func (tx Tx) Ban(ctx context.Context, group string, users []string, b im.GroupBan) (changed []string, banned int, err error) {
	batch := &pgx.Batch{}
	batch.Queue(`DELETE FROM group_bans WHERE group_id = $1 AND until <= now()`, group)
	batch.Queue(`
		INSERT INTO group_bans (group_id, user_id, by_id, reason, until, created) SELECT $1, u, $3, $4, $5, $6 FROM unnest($2::text[]) AS u
		ON CONFLICT (group_id, user_id) DO UPDATE SET by_id = $3, reason = $4, until = $5
		WHERE (group_bans.reason, group_bans.until) IS DISTINCT FROM ($4, $5)
		RETURNING user_id`,
		group, users, b.By, b.Reason, postgres.NullTime(b.Until), b.Created.Std()).
		Query(func(rows pgx.Rows) (err error) {
			changed, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
	batch.Queue(`DELETE FROM group_join_requests WHERE group_id = $1 AND user_id = ANY ($2)`, group, users)
	batch.Queue(`SELECT count(*) FROM group_bans WHERE group_id = $1`, group).
		QueryRow(func(row pgx.Row) error { return row.Scan(&banned) })
	return changed, banned, postgres.Failed(tx.SendBatch(ctx, batch).Close(), "banning %d users from group %s", len(users), group)
}

// Unban lifts a ban from a group that is locked, and reports whether there was
// one.
func (tx Tx) Unban(ctx context.Context, group, user string) (was bool, err error) {
	gone, err := tx.Exec(ctx, `DELETE FROM group_bans WHERE group_id = $1 AND user_id = $2`, group, user)
	return gone.RowsAffected() > 0, postgres.Failed(err, "lifting a ban from group %s", group)
}

// Bans returns at most limit of those who are banned from a group, those first
// who were first: those after the user who was banned then.
func (db *Store) Bans(ctx context.Context, group string, after im.Time, user string, limit int) ([]im.GroupBan, error) {
	rows, err := db.Query(ctx, `
		SELECT `+users.ProfileColumns+`, b.by_id, b.reason, b.until, b.created
		FROM group_bans b JOIN users u ON u.id = b.user_id
		WHERE b.group_id = $1 AND (b.created, b.user_id) > ($2, $3) AND (b.until IS NULL OR b.until > now())
		ORDER BY b.created, b.user_id LIMIT $4`, group, after.Std(), user, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading who is banned from group %s", group)
	}
	bans, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (b im.GroupBan, err error) {
		var until *time.Time
		var created time.Time
		err = row.Scan(append(users.ProfileTargets(&b.User), &b.By, &b.Reason, &until, &created)...)
		b.Until, b.Created = postgres.Time(until), im.TimeOf(created)
		return b, err
	})
	return bans, postgres.Failed(err, "reading who is banned from group %s", group)
}
