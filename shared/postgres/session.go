package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
)

// CreateSession adds a session and the hash of its first refresh token, which
// is good until expires. A session that the device still has is ended by it:
// its id is returned, "" if there is none, for its sockets to be closed.
func (db *DB) CreateSession(ctx context.Context, s im.Session, refreshHash []byte, expires time.Time) (ended string, err error) {
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		ended = ""
		batch := &pgx.Batch{}
		batch.Queue(`UPDATE sessions SET ended = now() WHERE user_id = $1 AND device = $2 AND ended IS NULL RETURNING id`, s.User, s.Device).
			Query(func(rows pgx.Rows) error {
				_, err := pgx.ForEachRow(rows, []any{&ended}, func() error { return nil })
				return err
			})
		batch.Queue(`INSERT INTO sessions (id, user_id, device, platform, created) VALUES ($1, $2, $3, $4, $5)`,
			s.ID, s.User, s.Device, s.Platform, s.Created.Std())
		batch.Queue(`INSERT INTO refresh_tokens (hash, session_id, expires) VALUES ($1, $2, $3)`, refreshHash, s.ID, expires)
		return tx.SendBatch(ctx, batch).Close()
	})
	switch {
	case violates(err, "sessions_device"):
		return "", im.Wrap(im.Conflict, err, "this device is signing in twice at once; try again")
	case violates(err, "sessions_user_id_fkey"):
		return "", im.Wrap(im.NotFound, err, "there is no such user")
	case err != nil:
		return "", failed(err, "creating a session of %s", s.User)
	}
	return ended, nil
}

// RotateRefresh takes the refresh token of one hash out of use and puts that
// of another in its place, good until expires. It returns their session.
//
// Unauthenticated means that the old one is not known, has expired or belongs
// to a session that has ended. Denied means that it was used before: whoever
// holds it, or whoever rotated it, has stolen it, so the session is ended; it
// is returned, for its sockets to be closed.
// (RFC 9700, §4.14.2: refresh token rotation.)
func (db *DB) RotateRefresh(ctx context.Context, oldHash, newHash []byte, expires time.Time) (im.Session, error) {
	var s im.Session
	var refused error
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		var created time.Time
		var used, ended, expired bool
		err := tx.QueryRow(ctx, `
			SELECT s.id, s.user_id, s.device, s.platform, s.created, t.used IS NOT NULL, s.ended IS NOT NULL, t.expires <= now()
			FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id
			WHERE t.hash = $1
			FOR UPDATE`, oldHash).
			Scan(&s.ID, &s.User, &s.Device, &s.Platform, &created, &used, &ended, &expired)
		s.Created = im.TimeOf(created)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			refused = im.Wrap(im.Unauthenticated, err, "the refresh token is not known: sign in again")
			return nil
		case err != nil:
			return err
		case ended:
			refused = im.Errorf(im.Unauthenticated, "the session has ended: sign in again")
			return nil
		case used:
			refused = im.Errorf(im.Denied, "the refresh token was used before: its session has been ended, sign in again")
			_, err := tx.Exec(ctx, `UPDATE sessions SET ended = now() WHERE id = $1`, s.ID)
			return err
		case expired:
			refused = im.Errorf(im.Unauthenticated, "the refresh token has expired: sign in again")
			return nil
		}
		batch := &pgx.Batch{}
		batch.Queue(`UPDATE refresh_tokens SET used = now() WHERE hash = $1`, oldHash)
		batch.Queue(`DELETE FROM refresh_tokens WHERE session_id = $1 AND expires <= now()`, s.ID)
		batch.Queue(`INSERT INTO refresh_tokens (hash, session_id, expires) VALUES ($1, $2, $3)`, newHash, s.ID, expires)
		return tx.SendBatch(ctx, batch).Close()
	})
	switch {
	case err != nil:
		return im.Session{}, failed(err, "rotating a refresh token")
	case errors.Is(refused, im.Denied):
		return s, refused
	case refused != nil:
		return im.Session{}, refused
	}
	return s, nil
}

// EndSession ends a session: its refresh tokens are worth nothing any more.
// Ending one that has ended, or never was, does nothing.
func (db *DB) EndSession(ctx context.Context, session string) error {
	_, err := db.pool.Exec(ctx, `UPDATE sessions SET ended = now() WHERE id = $1 AND ended IS NULL`, session)
	return failed(err, "ending session %s", session)
}
