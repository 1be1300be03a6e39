package friends

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/postgres"
)

// SeenBy returns those of users who let viewer see whether they are online:
// oneself, and others by their setting, unless they have blocked the viewer.
func (db *Store) SeenBy(ctx context.Context, viewer string, users []string) ([]string, error) {
	rows, err := db.Query(ctx, `
		SELECT u.id FROM users u
		WHERE u.id = ANY ($2) AND u.deleted IS NULL
		  AND (u.id = $1
		       OR NOT EXISTS (SELECT FROM blocks WHERE user_id = u.id AND blocked_id IN ($1, (SELECT owner_id FROM users WHERE id = $1)))
		          AND (u.presence = 'everyone'
		               OR u.presence = 'friends' AND EXISTS (SELECT FROM friendships WHERE user_id = u.id AND friend_id = $1)))`,
		viewer, users)
	if err != nil {
		return nil, postgres.Failed(err, "reading whose presence %s may see", viewer)
	}
	seen, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return seen, postgres.Failed(err, "reading whose presence %s may see", viewer)
}

// Watchers returns the friends of each user who are told when the user comes or
// goes, at most limit of each: none of a user who does not let friends see it,
// and nobody with whom there is a block.
func (db *Store) Watchers(ctx context.Context, users []string, limit int) (map[string][]string, error) {
	rows, err := db.Query(ctx, `
		SELECT u.id, f.friend_id FROM users u
		CROSS JOIN LATERAL (
			SELECT friend_id FROM friendships
			WHERE user_id = u.id
			  AND NOT EXISTS (SELECT FROM blocks WHERE user_id = u.id AND blocked_id IN (friend_id, (SELECT owner_id FROM users WHERE id = friend_id)))
			  AND NOT EXISTS (SELECT FROM blocks WHERE user_id = friend_id AND blocked_id IN (u.id, u.owner_id))
			ORDER BY friend_id LIMIT $2) f
		WHERE u.id = ANY ($1) AND u.deleted IS NULL AND u.presence <> 'nobody'`, users, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading who is told of %d users", len(users))
	}
	watchers := make(map[string][]string)
	var user, friend string
	_, err = pgx.ForEachRow(rows, []any{&user, &friend}, func() error {
		watchers[user] = append(watchers[user], friend)
		return nil
	})
	return watchers, postgres.Failed(err, "reading who is told of %d users", len(users))
}
