package notifications

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// PutSubscription makes a subscription that of its session, in place of the one
// it had. Any other session of the same endpoint loses it: it is the same
// browser. A user who has more than most loses those that are oldest.
// Unauthenticated: the session has ended.
func (db *Store) PutSubscription(ctx context.Context, s im.PushSubscription, most int) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		// Under this lock the session does not end; when it does, its
		// subscription goes with it.
		err := tx.QueryRow(ctx, `SELECT FROM sessions WHERE id = $1 AND user_id = $2 AND ended IS NULL FOR SHARE`, s.Session, s.User).Scan()
		if errors.Is(err, pgx.ErrNoRows) {
			return im.Errorf(im.Unauthenticated, "the session has ended: sign in again")
		}
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		batch.Queue(`DELETE FROM push_subscriptions WHERE endpoint = $1 AND session_id <> $2`, s.Endpoint, s.Session)
		batch.Queue(`
			INSERT INTO push_subscriptions (session_id, user_id, endpoint, p256dh, auth, show_text) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (session_id) DO UPDATE SET
				endpoint = excluded.endpoint, p256dh = excluded.p256dh, auth = excluded.auth, show_text = excluded.show_text,
				since = now(), failures = 0, failing = NULL`,
			s.Session, s.User, s.Endpoint, s.P256dh, s.Auth, s.ShowText)
		batch.Queue(`
			DELETE FROM push_subscriptions WHERE session_id IN (
				SELECT session_id FROM push_subscriptions WHERE user_id = $1 ORDER BY since DESC, session_id OFFSET $2)`, s.User, most)
		return tx.SendBatch(ctx, batch).Close()
	})
	if postgres.Violates(err, "push_subscriptions_endpoint") { // another session subscribed with it a moment ago
		return im.Wrap(im.Unavailable, err, "another session subscribes with this endpoint: try again")
	}
	return postgres.Failed(err, "subscribing session %s", s.Session)
}

// HasSubscription reports whether a subscription is that of its session, as it
// is in every respect.
func (db *Store) HasSubscription(ctx context.Context, s im.PushSubscription) (had bool, err error) {
	err = db.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM push_subscriptions
			WHERE session_id = $1 AND user_id = $2 AND endpoint = $3 AND p256dh = $4 AND auth = $5 AND show_text = $6)`,
		s.Session, s.User, s.Endpoint, s.P256dh, s.Auth, s.ShowText).Scan(&had)
	return had, postgres.Failed(err, "reading the subscription of session %s", s.Session)
}

// RemoveSubscription removes the subscription of a session, if it is still of
// this endpoint, or whichever it is if that is "".
func (db *Store) RemoveSubscription(ctx context.Context, session, endpoint string) error {
	_, err := db.Exec(ctx, `DELETE FROM push_subscriptions WHERE session_id = $1 AND ($2 = '' OR endpoint = $2)`, session, endpoint)
	return postgres.Failed(err, "removing the subscription of session %s", session)
}

// SubscriptionsAnswered notes that the push services of subscriptions took what
// they were sent.
func (db *Store) SubscriptionsAnswered(ctx context.Context, sessions []string) error {
	_, err := db.Exec(ctx, `UPDATE push_subscriptions SET failures = 0, failing = NULL WHERE session_id = ANY ($1) AND failing IS NOT NULL`, sessions)
	return postgres.Failed(err, "noting that %d push services answer", len(sessions))
}

// SubscriptionsFailed notes that the push services of subscriptions did not
// take what they were sent, and removes those of which so many attempts in a
// row failed, the first of them so long ago. It returns how many.
func (db *Store) SubscriptionsFailed(ctx context.Context, sessions []string, most int, after time.Duration) (removed int, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE push_subscriptions SET failures = failures + 1, failing = coalesce(failing, now())
			WHERE session_id IN (SELECT session_id FROM push_subscriptions WHERE session_id = ANY ($1) ORDER BY session_id FOR UPDATE)`, sessions)
		if err != nil {
			return err
		}
		got, err := tx.Exec(ctx, `
			DELETE FROM push_subscriptions WHERE session_id = ANY ($1) AND failures >= $2 AND failing < now() - $3::interval`, sessions, most, after)
		removed = int(got.RowsAffected())
		return err
	})
	return removed, postgres.Failed(err, "noting that %d push services do not answer", len(sessions))
}

// Subscribers returns those of users that have a subscription.
func (db *Store) Subscribers(ctx context.Context, users []string) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT DISTINCT user_id FROM push_subscriptions WHERE user_id = ANY ($1)`, users)
	if err != nil {
		return nil, postgres.Failed(err, "reading who has subscribed")
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return found, postgres.Failed(err, "reading who has subscribed")
}
