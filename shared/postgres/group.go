package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
)

// CreateGroup adds a group with its owner and members; the owner need not be
// among the members given, and a member given twice is one. NotFound names the
// users that there are not; nothing is added then.
func (db *DB) CreateGroup(ctx context.Context, g im.GroupInfo) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		members := append([]string{g.Owner}, g.Members...)
		// The lock keeps those who are found from being deleted before the insert.
		rows, err := tx.Query(ctx, `SELECT id FROM users WHERE id = ANY ($1) ORDER BY id FOR KEY SHARE`, members)
		if err != nil {
			return err
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if err := missing(members, found); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		batch.Queue(`INSERT INTO groups (id, name, owner_id, created) VALUES ($1, $2, $3, $4)`, g.ID, g.Name, g.Owner, g.Created.Std())
		batch.Queue(`
			INSERT INTO group_members (group_id, user_id, role, joined)
			SELECT $1, u, CASE u WHEN $2 THEN 'owner' ELSE 'member' END, $3 FROM unnest($4::text[]) AS u`,
			g.ID, g.Owner, g.Created.Std(), found)
		return tx.SendBatch(ctx, batch).Close()
	})
	return failed(err, "creating group %s", g.ID)
}

// missing returns NotFound, naming those of want that are not in found, or nil.
func missing(want, found []string) error {
	have := make(map[string]bool, len(found))
	for _, id := range found {
		have[id] = true
	}
	var names []string
	for _, id := range want {
		if !have[id] {
			have[id] = true
			names = append(names, id)
		}
	}
	const most = 5
	switch n := len(names); {
	case n == 0:
		return nil
	case n == 1:
		return im.Errorf(im.NotFound, "there is no user %s", names[0])
	case n > most:
		names = append(names[:most], fmt.Sprintf("%d more", n-most))
	}
	return im.Errorf(im.NotFound, "there are no users %s", strings.Join(names, ", "))
}

// GroupMembers returns the members of those groups that exist, each list with
// its version: of two lists of one group the one with the greater version is
// the newer.
func (db *DB) GroupMembers(ctx context.Context, groups []string) (map[string]im.Members, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT g.id, g.version, ARRAY (SELECT user_id FROM group_members WHERE group_id = g.id ORDER BY user_id)
		FROM groups g WHERE g.id = ANY ($1)`, groups)
	if err != nil {
		return nil, failed(err, "reading the members of %d groups", len(groups))
	}
	found := make(map[string]im.Members, len(groups))
	var id string
	var m im.Members
	_, err = pgx.ForEachRow(rows, []any{&id, &m.Version, &m.Users}, func() error {
		found[id] = m
		m.Users = nil
		return nil
	})
	return found, failed(err, "reading the members of %d groups", len(groups))
}

// IsMember reports whether a user is a member of a group. Nobody is a member of
// a group that does not exist.
func (db *DB) IsMember(ctx context.Context, group, user string) (bool, error) {
	var is bool
	err := db.pool.QueryRow(ctx,
		`SELECT EXISTS (SELECT FROM group_members WHERE group_id = $1 AND user_id = $2)`, group, user).Scan(&is)
	return is, failed(err, "looking for %s in group %s", user, group)
}
