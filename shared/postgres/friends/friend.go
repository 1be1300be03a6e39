package friends

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/users"
)

// LockPair keeps everybody else from changing how user and other stand to each
// other until the transaction ends, and returns how they do. Nothing is locked
// if either does not exist.
//
// Locks are taken in one order by all: users, which keeps them from being
// deleted meanwhile; then pairs; then lists of friends by id of their user.
func (tx Tx) LockPair(ctx context.Context, user, other string) (im.PairState, error) {
	p := im.PairOf(user, other)
	batch := &pgx.Batch{}
	batch.Queue(`SELECT FROM users WHERE id IN ($1, $2) AND deleted IS NULL ORDER BY id FOR SHARE`, p.A, p.B)
	batch.Queue(`
		INSERT INTO relation_versions AS v (a, b)
		SELECT $1, $2 WHERE 2 = (SELECT count(*) FROM users WHERE id IN ($1, $2) AND deleted IS NULL)
		ON CONFLICT (a, b) DO UPDATE SET version = v.version`, p.A, p.B)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return im.PairState{}, postgres.Failed(err, "locking %s and %s", user, other)
	}
	return tx.PairState(ctx, user, other)
}

// PairState returns how user stands to other, which may change at any time
// unless the two are locked.
func (tx Tx) PairState(ctx context.Context, user, other string) (im.PairState, error) {
	var s im.PairState
	var asked, askedBy *time.Time
	var hidden *bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM users WHERE id = $1 AND deleted IS NULL),
		       o.friend_requests <> 'nobody',
		       EXISTS (SELECT FROM friendships WHERE user_id = $1 AND friend_id = $2),
		       EXISTS (SELECT FROM blocks WHERE user_id = $1 AND blocked_id = $2),
		       EXISTS (SELECT FROM blocks WHERE user_id = $2 AND blocked_id IN ($1, (SELECT owner_id FROM users WHERE id = $1))),
		       (SELECT created FROM friend_requests WHERE from_user = $1 AND to_user = $2),
		       r.created, r.hidden
		FROM users o LEFT JOIN friend_requests r ON r.from_user = $2 AND r.to_user = $1
		WHERE o.id = $2 AND o.deleted IS NULL`, user, other).
		Scan(&s.Exist, &s.Takes, &s.Friends, &s.Blocks, &s.BlockedBy, &asked, &askedBy, &hidden)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !s.Exist {
		return im.PairState{}, nil
	}
	if err != nil {
		return im.PairState{}, postgres.Failed(err, "reading how %s stands to %s", user, other)
	}
	if asked != nil {
		s.Asked = im.TimeOf(*asked)
	}
	if askedBy != nil {
		s.AskedBy, s.Hidden = im.TimeOf(*askedBy), *hidden
	}
	return s, nil
}

// OpenRequests returns how many requests to be friends user has made after a
// time. Older ones are over, and forgotten. Nobody else changes the user's list
// of friends, or counts for the user, until the transaction ends.
func (tx Tx) OpenRequests(ctx context.Context, user string, after im.Time) (n int, err error) {
	batch := &pgx.Batch{}
	queueLockList(batch, user)
	batch.Queue(`
		DELETE FROM friend_requests WHERE (from_user, to_user) IN (
			SELECT from_user, to_user FROM friend_requests WHERE from_user = $1 AND created <= $2 FOR UPDATE SKIP LOCKED
		)`, user, after.Std()) // those who are asked are not locked: nobody is waited for
	batch.Queue(`SELECT count(*) FROM friend_requests WHERE from_user = $1 AND created > $2`, user, after.Std()).
		QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
	err = tx.SendBatch(ctx, batch).Close()
	return n, postgres.Failed(err, "counting the requests of %s", user)
}

// AddRequest adds a request to be friends, in place of one that is over. The
// two are locked.
func (tx Tx) AddRequest(ctx context.Context, a im.Ask) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO friend_requests (from_user, to_user, message, source, created, hidden) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (from_user, to_user) DO UPDATE
		SET message = excluded.message, source = excluded.source, created = excluded.created, hidden = excluded.hidden`,
		a.From, a.To, a.Message, a.Source, a.At.Std(), a.Hidden)
	return postgres.Failed(err, "adding a request of %s", a.From)
}

// RemoveRequest removes a request to be friends. The two are locked.
func (tx Tx) RemoveRequest(ctx context.Context, from, to string) error {
	_, err := tx.Exec(ctx, `DELETE FROM friend_requests WHERE from_user = $1 AND to_user = $2`, from, to)
	return postgres.Failed(err, "removing a request of %s", from)
}

// Befriend makes two users friends, who are locked and are none, and removes
// what they have asked each other. It returns how many friends each has now.
func (tx Tx) Befriend(ctx context.Context, user, other string) (users, others int, err error) {
	both := []string{user, other}
	batch := &pgx.Batch{}
	queueRaiseLists(batch, both)
	batch.Queue(`
		INSERT INTO friendships (user_id, friend_id, version)
		SELECT user_id, CASE user_id WHEN $1 THEN $2 ELSE $1 END, version FROM friend_lists WHERE user_id IN ($1, $2)`, user, other)
	batch.Queue(`DELETE FROM friend_tombstones WHERE (user_id, friend_id) IN (($1, $2), ($2, $1))`, user, other)
	batch.Queue(`DELETE FROM friend_requests WHERE (from_user, to_user) IN (($1, $2), ($2, $1))`, user, other)
	batch.Queue(`
		SELECT (SELECT count(*) FROM friendships WHERE user_id = $1), (SELECT count(*) FROM friendships WHERE user_id = $2)`, user, other).
		QueryRow(func(row pgx.Row) error { return row.Scan(&users, &others) })
	tx.queueRaisePairs(batch, `SELECT $2::text`, user, other)
	err = tx.SendBatch(ctx, batch).Close()
	return users, others, postgres.Failed(err, "making %s and %s friends", user, other)
}

// Unfriend ends a friendship of two users, who are locked.
func (tx Tx) Unfriend(ctx context.Context, user, other string) error {
	both := []string{user, other}
	batch := &pgx.Batch{}
	queueRaiseLists(batch, both)
	batch.Queue(`DELETE FROM friendships WHERE (user_id, friend_id) IN (($1, $2), ($2, $1))`, user, other)
	batch.Queue(`
		INSERT INTO friend_tombstones (user_id, friend_id, version)
		SELECT user_id, CASE user_id WHEN $1 THEN $2 ELSE $1 END, version FROM friend_lists WHERE user_id IN ($1, $2)`, user, other)
	queueForget(batch, both)
	tx.queueRaisePairs(batch, `SELECT $2::text`, user, other)
	return postgres.Failed(tx.SendBatch(ctx, batch).Close(), "ending the friendship of %s and %s", user, other)
}

// SetRemark notes what user calls a friend, and reports whether that is
// something new. NotFound: they are not friends.
func (tx Tx) SetRemark(ctx context.Context, user, friend, remark string) (changed bool, err error) {
	var had string
	err = tx.QueryRow(ctx, `SELECT remark FROM friendships WHERE user_id = $1 AND friend_id = $2`, user, friend).Scan(&had)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, im.Wrap(im.NotFound, err, "this user is not a friend of yours")
	}
	if err != nil || had == remark {
		return false, postgres.Failed(err, "reading a remark of %s", user)
	}
	batch := &pgx.Batch{}
	queueRaiseLists(batch, []string{user})
	found := false
	batch.Queue(`
		UPDATE friendships f SET remark = $3, version = l.version FROM friend_lists l
		WHERE l.user_id = $1 AND f.user_id = $1 AND f.friend_id = $2`, user, friend, remark).
		Exec(func(tag pgconn.CommandTag) error { found = tag.RowsAffected() > 0; return nil })
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return false, postgres.Failed(err, "writing a remark of %s", user)
	}
	if !found { // removed meanwhile
		return false, im.Errorf(im.NotFound, "this user is not a friend of yours")
	}
	return true, nil
}

// Block has user block other, who are locked, and hides from user what other
// has asked. It returns how many user has blocked now.
func (tx Tx) Block(ctx context.Context, user, other string) (n int, err error) {
	batch := &pgx.Batch{}
	queueLockList(batch, user) // so that two blocks are not counted at once
	batch.Queue(`INSERT INTO blocks (user_id, blocked_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`, user, other)
	batch.Queue(`
		UPDATE friend_requests SET hidden = true
		WHERE to_user = $1 AND from_user IN (SELECT $2::text UNION SELECT id FROM users WHERE owner_id = $2 AND deleted IS NULL)`, user, other)
	batch.Queue(`SELECT count(*) FROM blocks WHERE user_id = $1`, user).
		QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
	tx.queueRaisePairs(batch, withBots, user, other)
	err = tx.SendBatch(ctx, batch).Close()
	return n, postgres.Failed(err, "blocking for %s", user)
}

// withBots are $2 and their bots, whom a block of them covers.
const withBots = `SELECT $2::text UNION SELECT id FROM users WHERE owner_id = $2 AND deleted IS NULL`

// Unblock undoes Block. What was hidden stays hidden.
func (tx Tx) Unblock(ctx context.Context, user, other string) error {
	batch := &pgx.Batch{}
	batch.Queue(`DELETE FROM blocks WHERE user_id = $1 AND blocked_id = $2`, user, other)
	tx.queueRaisePairs(batch, withBots, user, other)
	return postgres.Failed(tx.SendBatch(ctx, batch).Close(), "ending a block of %s", user)
}

// RemoveAllFriends removes the friendships of a user who is being deleted, and
// requests and blocks in both directions. It returns who were friends. The row
// of the user is locked by it, or was before.
func (tx Tx) RemoveAllFriends(ctx context.Context, user string) (friends []string, err error) {
	batch := &pgx.Batch{}
	// Whoever else changes something between the user and another holds this
	// lock too (LockPair), so that nothing is added from here on …
	batch.Queue(`SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE`, user)
	// … and whoever else is being deleted holds these.
	tx.queueRaisePairs(batch, `
		SELECT friend_id FROM friendships WHERE user_id = $1
		UNION SELECT blocked_id FROM blocks WHERE user_id = $1
		UNION SELECT user_id FROM blocks WHERE blocked_id = $1
		UNION SELECT to_user FROM friend_requests WHERE from_user = $1
		UNION SELECT from_user FROM friend_requests WHERE to_user = $1`, user)
	batch.Queue(`SELECT coalesce(array_agg(friend_id), '{}') FROM friendships WHERE user_id = $1`, user).
		QueryRow(func(row pgx.Row) error { return row.Scan(&friends) })
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, postgres.Failed(err, "locking the relations of %s", user)
	}
	batch = &pgx.Batch{}
	queueRaiseLists(batch, append([]string{user}, friends...))
	batch.Queue(`DELETE FROM friendships WHERE user_id = $1`, user)
	batch.Queue(`DELETE FROM friendships WHERE friend_id = $1 AND user_id = ANY ($2)`, user, friends)
	batch.Queue(`
		INSERT INTO friend_tombstones (user_id, friend_id, version)
		SELECT user_id, $1, version FROM friend_lists WHERE user_id = ANY ($2)`, user, friends)
	queueForget(batch, friends)
	batch.Queue(`DELETE FROM friend_tombstones WHERE user_id = $1`, user)
	batch.Queue(`DELETE FROM friend_lists WHERE user_id = $1`, user)
	batch.Queue(`DELETE FROM friend_requests WHERE from_user = $1`, user)
	batch.Queue(`DELETE FROM friend_requests WHERE to_user = $1`, user)
	batch.Queue(`DELETE FROM blocks WHERE user_id = $1`, user)
	batch.Queue(`DELETE FROM blocks WHERE blocked_id = $1`, user)
	err = tx.SendBatch(ctx, batch).Close()
	return friends, postgres.Failed(err, "removing the friends of %s", user)
}

// queueLockList locks a user's list of friends.
func queueLockList(batch *pgx.Batch, user string) {
	batch.Queue(`
		INSERT INTO friend_lists AS l (user_id) VALUES ($1)
		ON CONFLICT (user_id) DO UPDATE SET version = l.version`, user)
}

// queueRaiseLists locks the lists of friends of users, in order, and makes the
// next version of each.
func queueRaiseLists(batch *pgx.Batch, users []string) {
	batch.Queue(`
		INSERT INTO friend_lists AS l (user_id, version)
		SELECT u, 1 FROM unnest($1::text[]) AS u ORDER BY u COLLATE "C"
		ON CONFLICT (user_id) DO UPDATE SET version = l.version + 1`, users)
}

// queueRaisePairs makes the next version of the relation of user with each of
// those whom a query returns, and notes that caches have to forget the one
// before. user is $1 of the query, args are what follows.
func (tx Tx) queueRaisePairs(batch *pgx.Batch, others string, user string, args ...any) {
	batch.Queue(`
		INSERT INTO relation_versions AS v (a, b, version)
		SELECT least($1 COLLATE "C", o), greatest($1 COLLATE "C", o), 1 FROM (`+others+`) AS x (o) ORDER BY 1, 2
		ON CONFLICT (a, b) DO UPDATE SET version = v.version + 1
		RETURNING a, b, version`, append([]any{user}, args...)...).
		Query(func(rows pgx.Rows) error {
			var s im.Stale
			_, err := pgx.ForEachRow(rows, []any{&s.Pair.A, &s.Pair.B, &s.Version}, func() error {
				tx.MarkStale(s)
				return nil
			})
			return err
		})
}

// tombstones is how many of those who were removed from a list are known of it.
const tombstones = 1000

// queueForget forgets who was removed from the lists of users the longest ago,
// if there are too many.
func queueForget(batch *pgx.Batch, users []string) {
	batch.Queue(`
		WITH old AS MATERIALIZED (
			SELECT u, (SELECT version FROM friend_tombstones WHERE user_id = u ORDER BY version DESC OFFSET $2 LIMIT 1) AS upto
			FROM unnest($1::text[]) AS u
		), gone AS (
			DELETE FROM friend_tombstones t USING old WHERE t.user_id = old.u AND t.version <= old.upto
		)
		UPDATE friend_lists l SET forgotten = old.upto FROM old WHERE l.user_id = old.u AND old.upto IS NOT NULL`, users, tombstones)
}

// A page of a list is joined with users by LATERAL … LIMIT 1: PostgreSQL does
// not know how long a page is, and might read all users for it otherwise.

// Friends returns at most limit friends of user, by id, those after the id
// given, and the version of the list before they were read.
func (db *Store) Friends(ctx context.Context, user, after string, limit int) (friends []im.Friend, version int64, err error) {
	batch := &pgx.Batch{}
	batch.Queue(`SELECT coalesce(max(version), 0) FROM friend_lists WHERE user_id = $1`, user).
		QueryRow(func(row pgx.Row) error { return row.Scan(&version) })
	batch.Queue(`
		SELECT f.remark, f.created, f.version, `+users.ProfileColumns+`
		FROM friendships f CROSS JOIN LATERAL (SELECT * FROM users WHERE id = f.friend_id LIMIT 1) AS u
		WHERE f.user_id = $1 AND f.friend_id > $2 ORDER BY f.friend_id LIMIT $3`, user, after, limit).
		Query(func(rows pgx.Rows) (err error) {
			friends, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (im.Friend, error) {
				var f im.Friend
				var since time.Time
				err := row.Scan(append([]any{&f.Remark, &since, &f.Version}, users.ProfileTargets(&f.User)...)...)
				f.Since = im.TimeOf(since)
				return f, err
			})
			return err
		})
	err = db.SendBatch(ctx, batch).Close()
	return friends, version, postgres.Failed(err, "reading the friends of %s", user)
}

// FriendChanges returns at most limit changes of the list of friends of user,
// those after a place. Of somebody who changed more than once it is the last
// change.
func (db *Store) FriendChanges(ctx context.Context, user string, after im.FriendPlace, limit int) (c im.FriendChanges, err error) {
	batch := &pgx.Batch{}
	batch.Queue(`SELECT coalesce(max(version), 0) FROM friend_lists WHERE user_id = $1`, user).
		QueryRow(func(row pgx.Row) error { return row.Scan(&c.Version) })
	batch.Queue(`
		SELECT c.removed, c.remark, c.created, c.version, `+users.ProfileColumns+`
		FROM (
			(SELECT false, friend_id, remark, created, version FROM friendships
			 WHERE user_id = $1 AND (version, friend_id) > ($2, $3) ORDER BY version, friend_id LIMIT $4)
			UNION ALL
			(SELECT true, friend_id, '', now(), version FROM friend_tombstones
			 WHERE user_id = $1 AND (version, friend_id) > ($2, $3) ORDER BY version, friend_id LIMIT $4)
			ORDER BY 5, 2 LIMIT $4
		) AS c (removed, id, remark, created, version) CROSS JOIN LATERAL (SELECT * FROM users WHERE id = c.id LIMIT 1) AS u
		ORDER BY c.version, c.id`, user, after.Version, after.ID, limit).
		Query(func(rows pgx.Rows) (err error) {
			c.Changes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (im.FriendChange, error) {
				var f im.FriendChange
				var since time.Time
				err := row.Scan(append([]any{&f.Removed, &f.Remark, &since, &f.Version}, users.ProfileTargets(&f.User)...)...)
				f.Since = im.TimeOf(since)
				return f, err
			})
			return err
		})
	// After what it is about: what is forgotten before this is read is missing
	// above.
	batch.Queue(`SELECT coalesce(max(forgotten), 0) <= $2 FROM friend_lists WHERE user_id = $1`, user, after.Version).
		QueryRow(func(row pgx.Row) error { return row.Scan(&c.Known) })
	err = db.SendBatch(ctx, batch).Close()
	c.Known = c.Known && after.Version <= c.Version
	return c, postgres.Failed(err, "reading the changes of the friends of %s", user)
}

// FriendRequests returns at most limit requests to be friends, newest first:
// those which user has made or, of incoming ones, may see. They were made after
// a time and come after a request in this order.
func (db *Store) FriendRequests(ctx context.Context, user string, incoming bool, since im.Time, after im.FriendRequest, limit int) ([]im.FriendRequest, error) {
	sql := `
		SELECT r.message, r.source, r.created, ` + users.ProfileColumns + `
		FROM friend_requests r CROSS JOIN LATERAL (SELECT * FROM users WHERE id = r.to_user LIMIT 1) AS u
		WHERE r.from_user = $1 AND r.created > $2 AND (r.created, r.to_user) < ($3, $4)
		ORDER BY r.created DESC, r.to_user DESC LIMIT $5`
	if incoming {
		sql = `
		SELECT r.message, r.source, r.created, ` + users.ProfileColumns + `
		FROM friend_requests r CROSS JOIN LATERAL (SELECT * FROM users WHERE id = r.from_user LIMIT 1) AS u
		WHERE r.to_user = $1 AND NOT r.hidden AND r.created > $2 AND (r.created, r.from_user) < ($3, $4)
		ORDER BY r.created DESC, r.from_user DESC LIMIT $5`
	}
	rows, err := db.Query(ctx, sql, user, since.Std(), after.RequestedAt.Std(), after.User.ID, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading the requests of %s", user)
	}
	requests, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (im.FriendRequest, error) {
		var r im.FriendRequest
		var at time.Time
		err := row.Scan(append([]any{&r.Message, &r.Source, &at}, users.ProfileTargets(&r.User)...)...)
		r.RequestedAt = im.TimeOf(at)
		return r, err
	})
	return requests, postgres.Failed(err, "reading the requests of %s", user)
}

// Blocks returns at most limit of those whom user has blocked, newest first:
// those after one in this order.
func (db *Store) Blocks(ctx context.Context, user string, after im.Block, limit int) ([]im.Block, error) {
	rows, err := db.Query(ctx, `
		SELECT b.created, `+users.ProfileColumns+`
		FROM blocks b CROSS JOIN LATERAL (SELECT * FROM users WHERE id = b.blocked_id LIMIT 1) AS u
		WHERE b.user_id = $1 AND (b.created, b.blocked_id) < ($2, $3)
		ORDER BY b.created DESC, b.blocked_id DESC LIMIT $4`, user, after.Since.Std(), after.User.ID, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading the blocks of %s", user)
	}
	blocks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (im.Block, error) {
		var b im.Block
		var at time.Time
		err := row.Scan(append([]any{&at}, users.ProfileTargets(&b.User)...)...)
		b.Since = im.TimeOf(at)
		return b, err
	})
	return blocks, postgres.Failed(err, "reading the blocks of %s", user)
}
