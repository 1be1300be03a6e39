package users

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// maxUsed is how many used refresh tokens of a session are remembered, so that
// nobody fills the table by refreshing: ten days of a device that refreshes
// every quarter of an hour.
const maxUsed = 1000

// A session is locked before its refresh tokens, by everybody who changes
// either, so that what is read of them under the lock is how they are.

// CreateSession adds a session and the hash of its first refresh token, which
// is good until expires. A session that the device still has is ended by it,
// and so are those that were seen longest ago if the user has more than most;
// their ids are returned, for their sockets to be closed. NotFound: the user is
// not there any more, or has another password than that of the hash by now.
func (db *Store) CreateSession(ctx context.Context, s im.Session, passwordHash string, refreshHash []byte, expires time.Time, most int) (ended []string, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		// Under this lock a user signs in on one device at a time, and neither
		// changes the password nor is deleted meanwhile.
		err := tx.QueryRow(ctx, `SELECT id FROM users WHERE id = $1 AND password = $2 AND deleted IS NULL FOR NO KEY UPDATE`,
			s.User, passwordHash).Scan(nil)
		if err != nil {
			return NotFound(err, "locking user %s", s.User)
		}
		if ended, err = EndSessions(ctx, tx, `user_id = $1 AND device = $2`, s.User, s.Device); err != nil {
			return err
		}
		more, err := EndSessions(ctx, tx, `id IN (
			SELECT id FROM sessions WHERE user_id = $1 AND ended IS NULL
			ORDER BY coalesce(seen, created) DESC, id OFFSET $2)`, s.User, most-1)
		if err != nil {
			return err
		}
		ended = append(ended, more...)
		return addSession(ctx, tx, s, refreshHash, expires)
	})
	if err != nil {
		return nil, postgres.Failed(err, "creating a session of %s", s.User)
	}
	return ended, nil
}

func addSession(ctx context.Context, tx pgx.Tx, s im.Session, refreshHash []byte, expires time.Time) error {
	batch := &pgx.Batch{}
	batch.Queue(`INSERT INTO sessions (id, user_id, device, platform, created, seen) VALUES ($1, $2, $3, $4, $5, $5)`,
		s.ID, s.User, s.Device, s.Platform, s.Created.Std())
	batch.Queue(`INSERT INTO refresh_tokens (hash, session_id, expires) VALUES ($1, $2, $3)`, refreshHash, s.ID, expires)
	return tx.SendBatch(ctx, batch).Close()
}

// EndSessions ends those sessions that a condition is true of and that have not
// ended, and returns them.
func EndSessions(ctx context.Context, tx postgres.Querier, condition string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, `UPDATE sessions SET ended = now() WHERE ended IS NULL AND `+condition+` RETURNING id`, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// RotateRefresh takes the refresh token of one hash out of use and puts that
// of another in its place, good until expires. It returns their session.
//
// Unauthenticated means that the old one is not known, has expired or belongs
// to a session that has ended. Denied means that it was used before: whoever
// holds it, or whoever rotated it, has stolen it, so the session is ended; it
// is returned, for its sockets to be closed.
// (RFC 9700, §4.14.2: refresh token rotation.)
//
// A token that was used before may be rotated again for grace after it was
// first used, if what took its place was not used yet: the answer that carried
// it may have been lost. What took its place is out of use then, and ends the
// session if it is seen after all. So at any time one token of a session is
// good, and whoever is the second to use one, or holds one that was replaced,
// ends the session when they come back. What a thief gains by the grace is
// this: one who takes a token from a device within those seconds of its use has
// until the device refreshes next, instead of nothing; and one who uses it
// first, if the device comes within those seconds too, is known by it only if
// they refresh again, but keeps the one access token that they were given.
// Both are bounded by how long an access token is good. With a grace of 0 a
// token is good once.
func (db *Store) RotateRefresh(ctx context.Context, oldHash, newHash []byte, expires time.Time, grace time.Duration) (im.Session, error) {
	var s im.Session
	var refused error
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var created, proved time.Time
		var hasEnded bool
		err := tx.QueryRow(ctx, `
			SELECT id, user_id, device, platform, created, coalesce(proved, created), ended IS NOT NULL FROM sessions
			WHERE id = (SELECT session_id FROM refresh_tokens WHERE hash = $1)
			FOR NO KEY UPDATE`, oldHash).
			Scan(&s.ID, &s.User, &s.Device, &s.Platform, &created, &proved, &hasEnded)
		s.Created, s.Proved = im.TimeOf(created), im.TimeOf(proved)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			refused = im.Wrap(im.Unauthenticated, err, "the refresh token is not known: sign in again")
			return nil
		case err != nil:
			return err
		case hasEnded:
			refused = im.Errorf(im.Unauthenticated, "the session has ended: sign in again")
			return nil
		}
		var used, again, expired bool
		var successor []byte
		err = tx.QueryRow(ctx, `
			SELECT t.used IS NOT NULL, t.successor,
			       coalesce(t.used > now() - $2::interval AND n.hash IS NOT NULL AND n.used IS NULL, false), t.expires <= now()
			FROM refresh_tokens t LEFT JOIN refresh_tokens n ON n.hash = t.successor
			WHERE t.hash = $1`, oldHash, grace).
			Scan(&used, &successor, &again, &expired)
		switch {
		case errors.Is(err, pgx.ErrNoRows): // forgotten since its session was looked up
			refused = im.Wrap(im.Unauthenticated, err, "the refresh token is not known: sign in again")
			return nil
		case err != nil:
			return err
		case used && !again:
			refused = im.Errorf(im.Denied, "the refresh token was used before: its session has been ended, sign in again")
			_, err := tx.Exec(ctx, `UPDATE sessions SET ended = now() WHERE id = $1`, s.ID)
			return err
		case expired:
			refused = im.Errorf(im.Unauthenticated, "the refresh token has expired: sign in again")
			return nil
		}
		batch := &pgx.Batch{}
		if again {
			batch.Queue(`UPDATE refresh_tokens SET used = now() WHERE hash = $1`, successor)
		}
		batch.Queue(`UPDATE refresh_tokens SET used = coalesce(used, now()), successor = $2 WHERE hash = $1`, oldHash, newHash)
		batch.Queue(`
			DELETE FROM refresh_tokens WHERE session_id = $1 AND (expires <= now() OR hash IN (
				SELECT hash FROM refresh_tokens WHERE session_id = $1 AND used IS NOT NULL ORDER BY expires DESC OFFSET $2))`, s.ID, maxUsed)
		batch.Queue(`INSERT INTO refresh_tokens (hash, session_id, expires) VALUES ($1, $2, $3)`, newHash, s.ID, expires)
		batch.Queue(`UPDATE sessions SET seen = now() WHERE id = $1 AND (seen IS NULL OR seen < now() - interval '1 minute')`, s.ID)
		return tx.SendBatch(ctx, batch).Close()
	})
	switch {
	case err != nil:
		return im.Session{}, postgres.Failed(err, "rotating a refresh token")
	case errors.Is(refused, im.Denied):
		return s, refused
	case refused != nil:
		return im.Session{}, refused
	}
	return s, nil
}

// RefreshSession returns the session of the refresh token of a hash, whether it is
// good or not; "" if the token is not known.
func (db *Store) RefreshSession(ctx context.Context, hash []byte) (session string, err error) {
	err = db.QueryRow(ctx, `SELECT session_id FROM refresh_tokens WHERE hash = $1`, hash).Scan(&session)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return session, postgres.Failed(err, "reading whose refresh token it is")
}

// ProveSession notes that a user has proved by a session who they are, and
// returns it. NotFound: they have none of this id that has not ended.
func (db *Store) ProveSession(ctx context.Context, user, session string) (im.Session, error) {
	s := im.Session{ID: session, User: user}
	var created, proved time.Time
	err := db.QueryRow(ctx, `
		UPDATE sessions SET proved = now() WHERE id = $2 AND user_id = $1 AND ended IS NULL
		RETURNING device, platform, created, proved`, user, session).Scan(&s.Device, &s.Platform, &created, &proved)
	if errors.Is(err, pgx.ErrNoRows) {
		return im.Session{}, im.Wrap(im.NotFound, err, "there is no such session")
	}
	s.Created, s.Proved = im.TimeOf(created), im.TimeOf(proved)
	return s, postgres.Failed(err, "renewing the proof of a session of %s", user)
}

// Sessions returns at most limit sessions of a user that have not ended, those
// first that were seen last.
func (db *Store) Sessions(ctx context.Context, user string, limit int) ([]im.Session, error) {
	rows, err := db.Query(ctx, `
		SELECT id, user_id, device, platform, created, coalesce(seen, created) FROM sessions
		WHERE user_id = $1 AND ended IS NULL
		ORDER BY 6 DESC, id LIMIT $2`, user, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading the sessions of %s", user)
	}
	sessions, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s im.Session, err error) {
		var created, seen time.Time
		err = row.Scan(&s.ID, &s.User, &s.Device, &s.Platform, &created, &seen)
		s.Created, s.Seen = im.TimeOf(created), im.TimeOf(seen)
		return s, err
	})
	return sessions, postgres.Failed(err, "reading the sessions of %s", user)
}

// EndSession ends a session of a user: its refresh tokens are worth nothing any
// more. Ending one that has ended does nothing. NotFound: the user has no such
// session.
func (db *Store) EndSession(ctx context.Context, user, session string) error {
	got, err := db.Exec(ctx, `UPDATE sessions SET ended = coalesce(ended, now()) WHERE id = $1 AND user_id = $2`, session, user)
	if err == nil && got.RowsAffected() == 0 {
		return im.Errorf(im.NotFound, "you have no such session")
	}
	return postgres.Failed(err, "ending session %s", session)
}

// Told notes that everybody knows that these sessions have ended.
func (db *Store) Told(ctx context.Context, sessions []string) error {
	_, err := db.Exec(ctx, `UPDATE sessions SET told = true WHERE id = ANY ($1) AND ended IS NOT NULL AND NOT told`, sessions)
	return postgres.Failed(err, "noting that %d sessions are known to have ended", len(sessions))
}

// Untold returns at most limit sessions that ended at least age ago and that
// Told was not called of, those that ended first.
func (db *Store) Untold(ctx context.Context, age time.Duration, limit int) ([]im.Session, error) {
	rows, err := db.Query(ctx, `
		SELECT id, user_id FROM sessions WHERE ended <= now() - $1::interval AND NOT told
		ORDER BY ended LIMIT $2`, age, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading sessions that have ended")
	}
	sessions, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s im.Session, err error) {
		return s, row.Scan(&s.ID, &s.User)
	})
	return sessions, postgres.Failed(err, "reading sessions that have ended")
}

// SweepTokens deletes at most limit refresh tokens that have expired, and ends
// the sessions that have none left. It returns how many are gone; 0 means that
// none is left that nobody else is at.
func (db *Store) SweepTokens(ctx context.Context, limit int) (gone int, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT id FROM sessions WHERE id IN (
				SELECT session_id FROM refresh_tokens WHERE expires <= now() ORDER BY expires LIMIT $1)
			ORDER BY id FOR NO KEY UPDATE SKIP LOCKED`, limit)
		if err != nil {
			return err
		}
		sessions, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		got, err := tx.Exec(ctx, `
			DELETE FROM refresh_tokens WHERE hash IN (
				SELECT hash FROM refresh_tokens WHERE session_id = ANY ($1) AND expires <= now() LIMIT $2)`, sessions, limit)
		if err != nil {
			return err
		}
		gone = int(got.RowsAffected())
		_, err = EndSessions(ctx, tx, `id = ANY ($1) AND NOT EXISTS (SELECT FROM refresh_tokens t WHERE t.session_id = sessions.id)`, sessions)
		return err
	})
	return gone, postgres.Failed(err, "sweeping refresh tokens")
}

// SweepSessions deletes at most limit sessions that ended at least age ago, and
// returns how many.
func (db *Store) SweepSessions(ctx context.Context, age time.Duration, limit int) (gone int, err error) {
	got, err := db.Exec(ctx, `
		DELETE FROM sessions WHERE id IN (
			SELECT id FROM sessions WHERE ended <= now() - $1::interval AND told ORDER BY ended LIMIT $2
			FOR UPDATE SKIP LOCKED)`, age, limit)
	return int(got.RowsAffected()), postgres.Failed(err, "sweeping sessions")
}
