package users

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/postgres"
)

// Walk returns after which user a walk through all of them goes on, and where
// it is to go on the next time.
func (db *Store) Walk(ctx context.Context, name string, limit int) (users []string, err error) {
	rows, err := db.Query(ctx, `
		SELECT id FROM users WHERE id > coalesce((SELECT after FROM walks WHERE name = $1), '') ORDER BY id LIMIT $2`, name, limit)
	if err != nil {
		return nil, postgres.Failed(err, "walking through users for %s", name)
	}
	users, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return users, postgres.Failed(err, "walking through users for %s", name)
}

// Walked notes up to which user a walk has come; "" begins it anew.
func (db *Store) Walked(ctx context.Context, name, user string) error {
	_, err := db.Exec(ctx, `
		INSERT INTO walks (name, after) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET after = excluded.after`, name, user)
	return postgres.Failed(err, "noting how far %s has come", name)
}
