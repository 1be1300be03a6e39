package groups

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/users"
)

// GroupMembers returns the members of those groups that exist, each with the
// version of the group: of two of one group the one with the greater version is
// the newer.
func (db *Store) GroupMembers(ctx context.Context, groups []string) (map[string]im.Members, error) {
	rows, err := db.Query(ctx, `
		SELECT g.id, g.version, g.muted, g.slow_seconds, m.users, m.staff, m.muted, m.until
		FROM groups g CROSS JOIN LATERAL (
			SELECT coalesce(array_agg(user_id ORDER BY user_id), '{}') AS users,
			       coalesce(array_agg(user_id) FILTER (WHERE role <> 'member'), '{}') AS staff,
			       coalesce(array_agg(user_id ORDER BY user_id) FILTER (WHERE muted_until > now()), '{}') AS muted,
			       coalesce(array_agg(muted_until ORDER BY user_id) FILTER (WHERE muted_until > now()), '{}') AS until
			FROM group_members WHERE group_id = g.id) m
		WHERE g.id = ANY ($1) AND g.dissolved IS NULL`, groups)
	if err != nil {
		return nil, postgres.Failed(err, "reading the members of %d groups", len(groups))
	}
	found := make(map[string]im.Members, len(groups))
	for rows.Next() {
		var id string
		var m im.Members
		var muted []string
		var until []time.Time
		if err := rows.Scan(&id, &m.Version, &m.Muted, &m.Slow, &m.Users, &m.Staff, &muted, &until); err != nil {
			rows.Close()
			return nil, postgres.Failed(err, "reading the members of %d groups", len(groups))
		}
		if len(muted) > 0 {
			m.MutedUntil = make(map[string]im.Time, len(muted))
			for i, user := range muted {
				m.MutedUntil[user] = im.TimeOf(until[i])
			}
		}
		found[id] = m
	}
	return found, postgres.Failed(rows.Err(), "reading the members of %d groups", len(groups))
}

// IsMember reports whether a user is a member of a group. Nobody is a member of
// a group that does not exist.
func (db *Store) IsMember(ctx context.Context, group, user string) (bool, error) {
	var is bool
	err := db.QueryRow(ctx,
		`SELECT EXISTS (SELECT FROM group_members WHERE group_id = $1 AND user_id = $2)`, group, user).Scan(&is)
	return is, postgres.Failed(err, "looking for %s in group %s", user, group)
}

// MemberList returns at most limit members of a group in the order of their
// ids, those after a user.
func (db *Store) MemberList(ctx context.Context, group, after string, limit int) ([]im.GroupMember, error) {
	return db.memberList(ctx, group, `
		SELECT `+users.ProfileColumns+`, m.role, m.joined, m.muted_until, m.version
		FROM group_members m JOIN users u ON u.id = m.user_id
		WHERE m.group_id = $1 AND m.user_id > $2
		ORDER BY m.user_id LIMIT $3`, after, limit)
}

// MembersSince returns at most limit of those who joined a group, were changed
// in it or left it after a version of it, in the order in which they did; those
// of that version whose ids come after user are among them. Who left has no
// role. Who changes meanwhile comes later, so who reads to the end misses
// nobody.
func (db *Store) MembersSince(ctx context.Context, group string, version int64, user string, limit int) ([]im.GroupMember, error) {
	const part = `WHERE group_id = $1 AND (version, user_id) > ($2, $3) ORDER BY version, user_id LIMIT $4`
	return db.memberList(ctx, group, `
		SELECT `+users.ProfileColumns+`, m.role, m.joined, m.muted_until, m.version
		FROM (
			(SELECT user_id, role, joined, muted_until, version FROM group_members `+part+`)
			UNION ALL
			(SELECT user_id, NULL, NULL, NULL, version FROM group_departures `+part+`)
			ORDER BY version, user_id LIMIT $4
		) m JOIN users u ON u.id = m.user_id
		ORDER BY m.version, m.user_id`, version, user, limit)
}

func (db *Store) memberList(ctx context.Context, group, query string, args ...any) ([]im.GroupMember, error) {
	rows, err := db.Query(ctx, query, append([]any{group}, args...)...)
	if err != nil {
		return nil, postgres.Failed(err, "reading the members of group %s", group)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m im.GroupMember, err error) {
		var role *im.Role
		var joined, muted *time.Time
		err = row.Scan(append(users.ProfileTargets(&m.User), &role, &joined, &muted, &m.Version)...)
		if role != nil {
			m.Role = *role
		}
		m.Joined, m.MutedUntil = postgres.Time(joined), postgres.Time(muted)
		return m, err
	})
	return list, postgres.Failed(err, "reading the members of group %s", group)
}

// HoldUsers keeps users from being deleted until the transaction ends, and
// returns those that there are, sorted. Who locks groups, too, does this first.
func (tx Tx) HoldUsers(ctx context.Context, users []string) (found []string, err error) {
	return tx.Strings(ctx, "looking for users", `
		SELECT id FROM users WHERE id = ANY ($1) AND deleted IS NULL ORDER BY id FOR KEY SHARE`, users)
}

// MembersOf returns the members of a group, sorted.
func (tx Tx) MembersOf(ctx context.Context, group string) ([]string, error) {
	return tx.Strings(ctx, "reading the members of group "+group,
		`SELECT user_id FROM group_members WHERE group_id = $1 ORDER BY user_id`, group)
}

// StaffOf returns the owner and the admins of a group, sorted.
func (tx Tx) StaffOf(ctx context.Context, group string) ([]string, error) {
	return tx.Strings(ctx, "reading the admins of group "+group,
		`SELECT user_id FROM group_members WHERE group_id = $1 AND role <> 'member' ORDER BY user_id`, group)
}

// InGroup returns what those of users are in a group who are in it.
func (tx Tx) InGroup(ctx context.Context, group string, users []string) (map[string]im.InGroup, error) {
	rows, err := tx.Query(ctx, `
		SELECT user_id, role, muted_until, joined FROM group_members WHERE group_id = $1 AND user_id = ANY ($2)`, group, users)
	if err != nil {
		return nil, postgres.Failed(err, "reading members of group %s", group)
	}
	in := make(map[string]im.InGroup, len(users))
	var user string
	var role im.Role
	var muted, joined *time.Time
	_, err = pgx.ForEachRow(rows, []any{&user, &role, &muted, &joined}, func() error {
		in[user] = im.InGroup{Role: role, MutedUntil: postgres.Time(muted), Joined: postgres.Time(joined)}
		return nil
	})
	return in, postgres.Failed(err, "reading members of group %s", group)
}

// HaveLeft reports whether a user was in a group and is not.
func (tx Tx) HaveLeft(ctx context.Context, group, user string) (left bool, err error) {
	err = tx.QueryRow(ctx,
		`SELECT EXISTS (SELECT FROM group_departures WHERE group_id = $1 AND user_id = $2)`, group, user).Scan(&left)
	return left, postgres.Failed(err, "asking who has left group %s", group)
}

// InManyGroups returns those of users who are in at least so many groups.
func (tx Tx) InManyGroups(ctx context.Context, users []string, many int) ([]string, error) {
	return tx.Strings(ctx, "counting groups of users", `
		SELECT u FROM unnest($1::text[]) AS u
		WHERE (SELECT count(*) FROM (SELECT FROM group_members WHERE user_id = u LIMIT $2) m) >= $2`, users, many)
}

// AddMembers adds users, who are held and not in it, to a group that is locked,
// and returns its version. What they asked of the group is answered by it.
func (tx Tx) AddMembers(ctx context.Context, group string, users []string, at im.Time) (version int64, err error) {
	if version, err = tx.raise(ctx, group); err != nil {
		return 0, err
	}
	batch := &pgx.Batch{}
	batch.Queue(`
		INSERT INTO group_members (group_id, user_id, role, joined, muted_until, told, version)
		SELECT $1, u, 'member', $3, d.muted_until, d.told, $4
		FROM unnest($2::text[]) AS u LEFT JOIN group_departures d ON d.group_id = $1 AND d.user_id = u`,
		group, users, at.Std(), version)
	batch.Queue(`UPDATE groups SET members = members + cardinality($2::text[]) WHERE id = $1`, group, users)
	batch.Queue(`DELETE FROM group_departures WHERE group_id = $1 AND user_id = ANY ($2)`, group, users)
	batch.Queue(`DELETE FROM group_join_requests WHERE group_id = $1 AND user_id = ANY ($2)`, group, users)
	return version, postgres.Failed(tx.SendBatch(ctx, batch).Close(), "adding %d users to group %s", len(users), group)
}

// RemoveMembers takes users out of a group that is locked. It returns those who
// were in it, but for its owner, who stays, and the version of the group, which
// is 0 if nobody was removed.
func (tx Tx) RemoveMembers(ctx context.Context, group string, users []string) (removed []string, version int64, err error) {
	doing := "removing users from group " + group
	removed, err = tx.Strings(ctx, doing, `
		WITH gone AS (DELETE FROM group_members WHERE group_id = $1 AND user_id = ANY ($2) AND role <> 'owner' RETURNING user_id, muted_until, told)
		INSERT INTO group_departures (group_id, user_id, version, muted_until, told)
		SELECT g.id, user_id, g.version + 1, CASE WHEN muted_until > now() THEN muted_until END, told FROM gone, groups g WHERE g.id = $1
		RETURNING user_id`, group, users)
	if err != nil || len(removed) == 0 {
		return nil, 0, err
	}
	version, err = tx.changeGroup(ctx, group, `UPDATE groups SET members = members - $3 WHERE id = $1 AND version = $2`, len(removed))
	return removed, version, err
}

// SetRole makes a member of a group that is locked an admin, or a member again,
// and returns the version of the group.
func (tx Tx) SetRole(ctx context.Context, group, user string, role im.Role) (version int64, err error) {
	return tx.changeGroup(ctx, group,
		`UPDATE group_members SET role = $4, version = $2 WHERE group_id = $1 AND user_id = $3 AND role <> 'owner'`, user, role)
}

// HandOver makes a member the owner of a group that is locked, and its owner an
// admin, and returns the version of the group. The owner is not muted.
func (tx Tx) HandOver(ctx context.Context, group, to string) (version int64, err error) {
	if version, err = tx.raise(ctx, group); err != nil {
		return 0, err
	}
	batch := &pgx.Batch{}
	batch.Queue(`UPDATE group_members SET role = 'admin', version = $2 WHERE group_id = $1 AND role = 'owner' AND user_id <> $3`, group, version, to)
	batch.Queue(`UPDATE group_members SET role = 'owner', muted_until = NULL, version = $2 WHERE group_id = $1 AND user_id = $3`, group, version, to)
	batch.Queue(`UPDATE groups SET owner_id = $2 WHERE id = $1`, group, to)
	return version, postgres.Failed(tx.SendBatch(ctx, batch).Close(), "handing over group %s", group)
}

// MuteMember mutes a member of a group that is locked until a time, or lifts
// that if it is 0, and returns the version of the group.
func (tx Tx) MuteMember(ctx context.Context, group, user string, until im.Time) (version int64, err error) {
	return tx.changeGroup(ctx, group,
		`UPDATE group_members SET muted_until = $4, version = $2 WHERE group_id = $1 AND user_id = $3`, user, postgres.NullTime(until))
}

// LeaveAllGroups takes a user out of all groups, keeps them from getting into
// another until the transaction ends, and returns the notices of it. Groups
// that they own go to the admin who has been in them for longest, else to the
// member who has; those without are dissolved.
func (tx Tx) LeaveAllGroups(ctx context.Context, user string) ([]im.Notice, error) {
	tx.SetFree() // who is deleted goes, whatever it costs
	doing := "taking " + user + " out of all groups"
	batch := &pgx.Batch{}
	batch.Queue(`SELECT FROM users WHERE id = $1 FOR UPDATE`, user)
	// Before what is in them, as everybody does: also those that are only asked.
	batch.Queue(`
		WITH theirs AS MATERIALIZED (
			SELECT group_id FROM group_members WHERE user_id = $1
			UNION SELECT group_id FROM group_join_requests WHERE user_id = $1 ORDER BY group_id
		)
		SELECT FROM theirs CROSS JOIN LATERAL (SELECT FROM groups WHERE id = group_id LIMIT 1 FOR UPDATE) AS g`, user)
	batch.Queue(`DELETE FROM group_join_requests WHERE user_id = $1`, user)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, postgres.Failed(err, "%s", doing)
	}
	groups, err := tx.Strings(ctx, doing, `SELECT group_id FROM group_members WHERE user_id = $1 ORDER BY group_id`, user)
	if err != nil {
		return nil, err
	}
	var notices []im.Notice
	for _, group := range groups {
		told, err := tx.leave(ctx, group, user)
		if err != nil {
			return nil, err
		}
		notices = append(notices, told...)
	}
	return notices, nil
}

// leave takes a user out of a group that is locked, whatever they are in it.
func (tx Tx) leave(ctx context.Context, group, user string) (notices []im.Notice, err error) {
	in, err := tx.InGroup(ctx, group, []string{user})
	if err != nil {
		return nil, err
	}
	tell := func(typ string, data map[string]any) error {
		n, err := im.NewNotice(typ, im.Group(group), user, data)
		notices = append(notices, n)
		return err
	}
	if in[user].Role == im.RoleOwner {
		heir, err := tx.Strings(ctx, "looking for an heir of group "+group, `
			SELECT user_id FROM group_members WHERE group_id = $1 AND user_id <> $2
			ORDER BY role = 'admin' DESC, joined, user_id LIMIT 1`, group, user)
		if err != nil {
			return nil, err
		}
		if len(heir) == 0 {
			_, _, err := tx.DissolveGroup(ctx, group)
			return nil, err
		}
		version, err := tx.HandOver(ctx, group, heir[0])
		if err != nil {
			return nil, err
		}
		if err := tell(im.GroupRole, map[string]any{"user": heir[0], "role": im.RoleOwner, "version": version}); err != nil {
			return nil, err
		}
	}
	_, version, err := tx.RemoveMembers(ctx, group, []string{user})
	if err != nil {
		return nil, err
	}
	return notices, tell(im.GroupLeft, map[string]any{"user": user, "version": version})
}
