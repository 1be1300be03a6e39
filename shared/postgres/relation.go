package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
)

// Relations returns the relation of each pair, by one query.
func (db *DB) Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	as, bs := make([]string, len(pairs)), make([]string, len(pairs))
	for i, p := range pairs {
		as[i], bs[i] = p.A, p.B
	}
	rows, err := db.pool.Query(ctx, `
		SELECT p.a, p.b,
		       EXISTS (SELECT FROM users WHERE id = p.a) AND EXISTS (SELECT FROM users WHERE id = p.b),
		       EXISTS (SELECT FROM blocks WHERE user_id = p.a AND blocked_id = p.b)
		       OR EXISTS (SELECT FROM blocks WHERE user_id = p.b AND blocked_id = p.a),
		       EXISTS (SELECT FROM friendships WHERE user_id = p.a AND friend_id = p.b)
		FROM unnest($1::text[], $2::text[]) AS p (a, b)`, as, bs)
	if err != nil {
		return nil, failed(err, "reading %d relations", len(pairs))
	}
	relations := make(map[im.Pair]im.Relation, len(pairs))
	var p im.Pair
	var r im.Relation
	_, err = pgx.ForEachRow(rows, []any{&p.A, &p.B, &r.Exist, &r.Blocked, &r.Friends}, func() error {
		relations[p] = r
		return nil
	})
	return relations, failed(err, "reading %d relations", len(pairs))
}
