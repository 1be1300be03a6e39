package groups

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/users"
)

// AskToJoin notes that a user, who is held and not in it, asks to join a group
// that is locked. It returns false if they have asked before. TooLarge: so many
// ask already.
func (tx Tx) AskToJoin(ctx context.Context, group, user, message string, at im.Time, most int) (asked bool, err error) {
	doing := "asking to join group " + group
	var again bool
	var waiting int
	err = tx.QueryRow(ctx, `
		SELECT count(*), coalesce(bool_or(user_id = $2), false) FROM group_join_requests WHERE group_id = $1`, group, user).
		Scan(&waiting, &again)
	switch {
	case err != nil:
		return false, postgres.Failed(err, "%s", doing)
	case again:
		return false, nil
	case waiting >= most:
		return false, im.Errorf(im.TooLarge, "%d users wait to be let into this group already: try again when they have been answered", waiting)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO group_join_requests (group_id, user_id, message, requested) VALUES ($1, $2, $3, $4)`, group, user, message, at.Std())
	return true, postgres.Failed(err, "%s", doing)
}

// DropJoinRequest forgets that a user asks to join a group that is locked, and
// reports whether they did.
func (tx Tx) DropJoinRequest(ctx context.Context, group, user string) (asked bool, err error) {
	gone, err := tx.Exec(ctx, `DELETE FROM group_join_requests WHERE group_id = $1 AND user_id = $2`, group, user)
	return gone.RowsAffected() > 0, postgres.Failed(err, "answering who asks to join group %s", group)
}

// HasAsked reports whether a user asks to join a group.
func (tx Tx) HasAsked(ctx context.Context, group, user string) (asked bool, err error) {
	err = tx.QueryRow(ctx,
		`SELECT EXISTS (SELECT FROM group_join_requests WHERE group_id = $1 AND user_id = $2)`, group, user).Scan(&asked)
	return asked, postgres.Failed(err, "asking who asks to join group %s", group)
}

// JoinRequests returns at most limit of those who ask to join a group, those
// first who have asked first: those after the user who asked then.
func (db *Store) JoinRequests(ctx context.Context, group string, after im.Time, user string, limit int) ([]im.JoinRequest, error) {
	rows, err := db.Query(ctx, `
		SELECT `+users.ProfileColumns+`, r.message, r.requested
		FROM group_join_requests r JOIN users u ON u.id = r.user_id
		WHERE r.group_id = $1 AND (r.requested, r.user_id) > ($2, $3)
		ORDER BY r.requested, r.user_id LIMIT $4`, group, after.Std(), user, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading who asks to join group %s", group)
	}
	requests, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r im.JoinRequest, err error) {
		var at time.Time
		err = row.Scan(append(users.ProfileTargets(&r.User), &r.Message, &at)...)
		r.RequestedAt = im.TimeOf(at)
		return r, err
	})
	return requests, postgres.Failed(err, "reading who asks to join group %s", group)
}
