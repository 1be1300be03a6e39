package friends

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// GroupAdds returns who may make each of those users that there are a member of
// a group.
func (db *Store) GroupAdds(ctx context.Context, users []string) (map[string]string, error) {
	rows, err := db.Query(ctx, `SELECT id, group_adds FROM users WHERE id = ANY ($1) AND deleted IS NULL`, users)
	if err != nil {
		return nil, postgres.Failed(err, "reading who may add %d users to groups", len(users))
	}
	adds := make(map[string]string, len(users))
	var user, who string
	_, err = pgx.ForEachRow(rows, []any{&user, &who}, func() error {
		adds[user] = who
		return nil
	})
	return adds, postgres.Failed(err, "reading who may add %d users to groups", len(users))
}

// Relations returns the relation of each pair, with its version, by one query.
// Who has blocked somebody has blocked their bots.
func (db *Store) Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	return relationsOf(ctx, db, pairs)
}

// Relations returns the relation of each pair, which may change at any time.
func (tx Tx) Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	return relationsOf(ctx, tx, pairs)
}

func relationsOf(ctx context.Context, from postgres.Querier, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	as, bs := make([]string, len(pairs)), make([]string, len(pairs))
	for i, p := range pairs {
		p = im.PairOf(p.A, p.B) // as relation_versions has it
		as[i], bs[i] = p.A, p.B
	}
	rows, err := from.Query(ctx, `
		SELECT p.i,
		       EXISTS (SELECT FROM users WHERE id = p.a AND deleted IS NULL)
		       AND EXISTS (SELECT FROM users WHERE id = p.b AND deleted IS NULL),
		       EXISTS (SELECT FROM blocks WHERE user_id = p.a AND blocked_id IN (p.b, (SELECT owner_id FROM users WHERE id = p.b)))
		       OR EXISTS (SELECT FROM blocks WHERE user_id = p.b AND blocked_id IN (p.a, (SELECT owner_id FROM users WHERE id = p.a))),
		       EXISTS (SELECT FROM friendships WHERE user_id = p.a AND friend_id = p.b),
		       coalesce((SELECT version FROM relation_versions v WHERE v.a = p.a AND v.b = p.b), 0)
		FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS p (a, b, i)`, as, bs)
	if err != nil {
		return nil, postgres.Failed(err, "reading %d relations", len(pairs))
	}
	relations := make(map[im.Pair]im.Relation, len(pairs))
	var i int
	var r im.Relation
	_, err = pgx.ForEachRow(rows, []any{&i, &r.Exist, &r.Blocked, &r.Friends, &r.Version}, func() error {
		relations[pairs[i-1]] = r
		return nil
	})
	return relations, postgres.Failed(err, "reading %d relations", len(pairs))
}
