package groups

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// groupColumns are what a group is to a user, of a row g of groups and a row m
// of group_members, which there may not be.
const groupColumns = `g.id, g.name, g.about, g.owner_id, g.policy, g.muted, g.slow_seconds, g.members, g.version, g.created, m.role, m.muted_until, m.joined`

func groupOf(row pgx.CollectableRow) (g im.GroupInfo, err error) {
	var created time.Time
	var role *im.Role
	var muted, joined *time.Time
	err = row.Scan(&g.ID, &g.Name, &g.About, &g.Owner, &g.Policy, &g.Muted, &g.SlowSeconds, &g.Members, &g.Version, &created, &role, &muted, &joined)
	g.Conversation, g.Created = im.Group(g.ID), im.TimeOf(created)
	if role != nil {
		g.Me = &im.InGroup{Role: *role, MutedUntil: postgres.Time(muted), Joined: postgres.Time(joined)}
	}
	return g, err
}

const selectGroup = `
	SELECT ` + groupColumns + ` FROM groups g LEFT JOIN group_members m ON m.group_id = g.id AND m.user_id = $2
	WHERE g.id = $1 AND g.dissolved IS NULL`

// Group returns a group as a user sees it. NotFound: there is none, or it was
// dissolved.
func (db *Store) Group(ctx context.Context, group, user string) (im.GroupInfo, error) {
	rows, err := db.Query(ctx, selectGroup, group, user)
	return oneGroup(rows, err, group)
}

func oneGroup(rows pgx.Rows, err error, group string) (g im.GroupInfo, _ error) {
	if err == nil {
		g, err = pgx.CollectExactlyOneRow(rows, groupOf)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return im.GroupInfo{}, im.NoGroup()
	}
	return g, postgres.Failed(err, "reading group %s", group)
}

// Groups returns at most limit groups of a user, those first that they joined
// last: those before the group that they joined then, or from the last on if
// joined is 0.
func (db *Store) Groups(ctx context.Context, user string, joined im.Time, group string, limit int) ([]im.GroupInfo, error) {
	if joined == 0 {
		joined = im.TimeOf(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
	}
	rows, err := db.Query(ctx, `
		SELECT `+groupColumns+` FROM group_members m JOIN groups g ON g.id = m.group_id
		WHERE m.user_id = $1 AND (m.joined, m.group_id) < ($2, $3)
		ORDER BY m.joined DESC, m.group_id DESC LIMIT $4`, user, joined.Std(), group, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading the groups of %s", user)
	}
	groups, err := pgx.CollectRows(rows, groupOf)
	return groups, postgres.Failed(err, "reading the groups of %s", user)
}

// LockGroup returns a group as a user sees it, which it is until the
// transaction ends. NotFound: there is none, or it was dissolved. Who locks
// several does so in the order of their ids, and holds users before groups.
func (tx Tx) LockGroup(ctx context.Context, group, user string) (im.GroupInfo, error) {
	// Two statements: what the first waits for, it does not see all of.
	batch := &pgx.Batch{}
	batch.Queue(`SELECT FROM groups WHERE id = $1 FOR UPDATE`, group)
	batch.Queue(selectGroup, group, user)
	results := tx.SendBatch(ctx, batch)
	defer results.Close()
	if _, err := results.Exec(); err != nil {
		return im.GroupInfo{}, postgres.Failed(err, "locking group %s", group)
	}
	rows, err := results.Query()
	g, err := oneGroup(rows, err, group)
	if err != nil {
		return g, err
	}
	return g, postgres.Failed(results.Close(), "locking group %s", group)
}

// CreateGroup adds a group with its owner and members, users that are held. It
// returns false, and adds nothing, if there is or was a group of this id.
func (tx Tx) CreateGroup(ctx context.Context, g im.GroupInfo, members []string) (made bool, err error) {
	added, err := tx.Exec(ctx, `
		INSERT INTO groups (id, name, about, owner_id, policy, version, created) VALUES ($1, $2, $3, $4, $5, 0, $6)
		ON CONFLICT (id) DO NOTHING`, g.ID, g.Name, g.About, g.Owner, g.Policy, g.Created.Std())
	if err != nil || added.RowsAffected() == 0 {
		return false, postgres.Failed(err, "creating group %s", g.ID)
	}
	if _, err := tx.AddMembers(ctx, g.ID, append([]string{g.Owner}, members...), g.Created); err != nil {
		return false, err
	}
	_, err = tx.Exec(ctx, `UPDATE group_members SET role = 'owner' WHERE group_id = $1 AND user_id = $2`, g.ID, g.Owner)
	return true, postgres.Failed(err, "creating group %s", g.ID)
}

// raise raises the version of a group whose row the transaction has locked, and
// returns it. Each change of the group is marked by it.
func (tx Tx) raise(ctx context.Context, group string) (version int64, err error) {
	err = tx.QueryRow(ctx, `UPDATE groups SET version = version + 1 WHERE id = $1 RETURNING version`, group).Scan(&version)
	if err != nil {
		return 0, postgres.Failed(err, "raising the version of group %s", group)
	}
	tx.MarkStale(im.Stale{Group: group, Version: version})
	return version, nil
}

// changeGroup raises the version of a group that is locked, and runs a
// statement whose $1 is the group and whose $2 is the version.
func (tx Tx) changeGroup(ctx context.Context, group, statement string, args ...any) (version int64, err error) {
	if version, err = tx.raise(ctx, group); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, statement, append([]any{group, version}, args...)...)
	return version, postgres.Failed(err, "changing group %s", group)
}

// UpdateGroup changes a group that is locked, and returns its version.
func (tx Tx) UpdateGroup(ctx context.Context, group string, c im.GroupChange) (version int64, err error) {
	return tx.changeGroup(ctx, group, `
		UPDATE groups SET name = coalesce($3, name), about = coalesce($4, about), policy = coalesce($5, policy), slow_seconds = coalesce($6, slow_seconds)
		WHERE id = $1 AND version = $2`, c.Name, c.About, c.Policy, c.SlowSeconds)
}

// MuteGroup mutes all of a group that is locked but its owner and admins, or
// lifts that, and returns its version.
func (tx Tx) MuteGroup(ctx context.Context, group string, muted bool) (version int64, err error) {
	return tx.changeGroup(ctx, group, `UPDATE groups SET muted = $3 WHERE id = $1 AND version = $2`, muted)
}

// DissolveGroup takes all members out of a group that is locked, for good, and
// returns them, and its version. From then on there is no such group.
func (tx Tx) DissolveGroup(ctx context.Context, group string) (members []string, version int64, err error) {
	if members, err = tx.MembersOf(ctx, group); err != nil {
		return nil, 0, err
	}
	if version, err = tx.raise(ctx, group); err != nil {
		return nil, 0, err
	}
	batch := &pgx.Batch{}
	batch.Queue(`DELETE FROM group_members WHERE group_id = $1`, group)
	batch.Queue(`DELETE FROM group_departures WHERE group_id = $1`, group)
	batch.Queue(`DELETE FROM group_join_requests WHERE group_id = $1`, group)
	batch.Queue(`DELETE FROM group_bans WHERE group_id = $1`, group)
	batch.Queue(`UPDATE groups SET members = 0, dissolved = now() WHERE id = $1`, group)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, 0, postgres.Failed(err, "dissolving group %s", group)
	}
	return members, version, nil
}
