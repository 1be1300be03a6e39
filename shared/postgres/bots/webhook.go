package bots

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// oldSecretFor is how long a secret that was replaced is signed with, too.
const oldSecretFor = 24 * time.Hour

const webhookColumns = `w.id, w.bot_id, w.url, coalesce(w.conversation, ''), w.disabled IS NULL, w.reason, w.created, w.dropped, w.failing, w.failure,
	(SELECT count(*) FROM webhook_deliveries d WHERE d.webhook_id = w.id)`

func webhookOf(row pgx.CollectableRow) (w im.Webhook, err error) {
	var created time.Time
	var failing *time.Time
	err = row.Scan(&w.ID, &w.Bot, &w.URL, &w.Conversation, &w.Enabled, &w.Reason, &created, &w.Dropped, &failing, &w.Failure, &w.Waiting)
	w.Events, w.Created, w.Failing = im.WebhookEvents, im.TimeOf(created), postgres.Time(failing)
	return w, err
}

// noWebhook gives NotFound to what found no webhook of a bot of its owner.
func noWebhook(err error, format string, args ...any) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return im.Wrap(im.NotFound, err, "you have no such webhook")
	}
	return postgres.Failed(err, format, args...)
}

// CreateWebhook adds a webhook of a bot, with its sealed secret. Denied: the
// bot has most, or is not in the conversation. NotFound: the owner has no such
// bot.
func (db *Store) CreateWebhook(ctx context.Context, owner string, w im.Webhook, secret string, most int) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if err := lockBot(ctx, tx, owner, w.Bot); err != nil {
			return err
		}
		var has int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM webhooks WHERE bot_id = $1`, w.Bot).Scan(&has); err != nil {
			return err
		}
		if has >= most {
			return im.Errorf(im.Denied, "the bot has %d webhooks, and may have no more: delete one", has)
		}
		if err := isIn(ctx, tx, w.Bot, w.Conversation); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO webhooks (id, bot_id, url, conversation, secret, created) VALUES ($1, $2, $3, nullif($4, ''), $5, $6)`,
			w.ID, w.Bot, w.URL, string(w.Conversation), secret, w.Created.Std())
		return err
	})
	return postgres.Failed(err, "creating a webhook of bot %s", w.Bot)
}

// isIn reports as Denied that a bot is not in a conversation, of which it would
// never be told then; all of them, "", it is in. It may leave at any time.
func isIn(ctx context.Context, tx pgx.Tx, bot string, c im.Conversation) error {
	if c == "" || c.Peer(bot) != "" {
		return nil
	}
	var is bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM group_members WHERE group_id = $1 AND user_id = $2)`, c.Group(), bot).Scan(&is)
	if err == nil && !is {
		err = im.Errorf(im.Denied, "the bot is not in this conversation")
	}
	return err
}

// Webhooks returns the webhooks of a bot of an owner, "" for all of them, the
// earliest first.
func (db *Store) Webhooks(ctx context.Context, owner, bot string) ([]im.Webhook, error) {
	rows, err := db.Query(ctx, `
		SELECT `+webhookColumns+` FROM users u JOIN webhooks w ON w.bot_id = u.id
		WHERE u.owner_id = $1 AND u.deleted IS NULL AND ($2 = '' OR u.id = $2) ORDER BY w.created, w.id`, owner, bot)
	if err != nil {
		return nil, postgres.Failed(err, "reading the webhooks of %s", owner)
	}
	hooks, err := pgx.CollectRows(rows, webhookOf)
	return hooks, postgres.Failed(err, "reading the webhooks of %s", owner)
}

// UpdateWebhook changes a webhook and returns it. One that is disabled loses
// what waits; one that is enabled begins anew. NotFound: the owner has none of
// this id. Denied: the bot is not in the conversation.
func (db *Store) UpdateWebhook(ctx context.Context, owner, webhook string, c im.WebhookChange) (w im.Webhook, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var bot string
		err := tx.QueryRow(ctx, `
			SELECT w.bot_id FROM webhooks w JOIN users u ON u.id = w.bot_id
			WHERE w.id = $1 AND u.owner_id = $2 AND u.deleted IS NULL FOR NO KEY UPDATE OF w`, webhook, owner).Scan(&bot)
		if err == nil && c.Conversation != nil {
			err = isIn(ctx, tx, bot, *c.Conversation)
		}
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		batch.Queue(`
			UPDATE webhooks SET
				url          = coalesce($2, url),
				conversation = CASE WHEN $3::text IS NULL THEN conversation ELSE nullif($3, '') END,
				old_secret   = CASE WHEN $4::text IS NULL THEN old_secret ELSE secret END,
				old_until    = CASE WHEN $4::text IS NULL THEN old_until ELSE now() + $5::interval END,
				secret       = coalesce($4, secret)
			WHERE id = $1`, webhook, c.URL, c.Conversation, c.Secret, oldSecretFor)
		switch {
		case c.Enabled != nil && *c.Enabled:
			batch.Queue(`
				UPDATE webhooks SET disabled = NULL, reason = '', told = true, failures = 0, failing = NULL, failure = '', due = NULL, taken = NULL, run = run + 1
				WHERE id = $1 AND disabled IS NOT NULL`, webhook)
		case c.Enabled != nil:
			batch.Queue(`
				UPDATE webhooks SET disabled = now(), reason = $2, told = true, due = NULL, taken = NULL, run = run + 1
				WHERE id = $1 AND disabled IS NULL`, webhook, im.WebhookOff)
			batch.Queue(`DELETE FROM webhook_deliveries WHERE webhook_id = $1`, webhook)
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT `+webhookColumns+` FROM webhooks w WHERE w.id = $1`, webhook)
		if err != nil {
			return err
		}
		w, err = pgx.CollectExactlyOneRow(rows, webhookOf)
		return err
	})
	return w, noWebhook(err, "changing webhook %s", webhook)
}

// DeleteWebhook deletes a webhook. NotFound: the owner has none of this id.
func (db *Store) DeleteWebhook(ctx context.Context, owner, webhook string) error {
	got, err := db.Exec(ctx, `DELETE FROM webhooks USING users u WHERE webhooks.id = $1 AND u.id = webhooks.bot_id AND u.owner_id = $2`, webhook, owner)
	if err == nil && got.RowsAffected() == 0 {
		err = pgx.ErrNoRows
	}
	return noWebhook(err, "deleting webhook %s", webhook)
}

// Among returns those of users that are bots. Who is none never becomes one.
func (db *Store) Among(ctx context.Context, users []string) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT id FROM users WHERE id = ANY ($1) AND (owner_id IS NOT NULL OR orphaned IS NOT NULL)`, users)
	if err != nil {
		return nil, postgres.Failed(err, "reading which users are bots")
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return found, postgres.Failed(err, "reading which users are bots")
}

// WebhooksOf returns the webhooks that are enabled of those of users that are
// bots.
func (db *Store) WebhooksOf(ctx context.Context, users []string) ([]im.WebhookTarget, error) {
	rows, err := db.Query(ctx, `SELECT id, bot_id, coalesce(conversation, '') FROM webhooks WHERE bot_id = ANY ($1) AND disabled IS NULL`, users)
	if err != nil {
		return nil, postgres.Failed(err, "reading webhooks")
	}
	hooks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t im.WebhookTarget, err error) {
		return t, row.Scan(&t.ID, &t.Bot, &t.Conversation)
	})
	return hooks, postgres.Failed(err, "reading webhooks")
}

// lockWebhooks makes who changes the deliveries of webhooks come one after
// another, in an order in which nobody waits for who waits for them.
const lockWebhooks = `SELECT FROM webhooks WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE`

// Enqueue adds deliveries, each once, but for those of webhooks that are not
// enabled any more. Of a webhook that has more than most, or more than bytes of
// them, the oldest are dropped and counted. It returns the URLs, by id, of
// webhooks that can be delivered to at once: nothing failed there.
func (db *Store) Enqueue(ctx context.Context, deliveries []im.WebhookDelivery, most, bytes int) (ready map[string]string, dropped int, err error) {
	n := len(deliveries)
	hooks, conversations, messages := make([]string, n), make([]string, n), make([]string, n)
	times, ids := make([]time.Time, n), make([]pgtype.UUID, n)
	for i, d := range deliveries {
		hooks[i], conversations[i], messages[i], times[i] = d.Webhook, string(d.Conversation), string(d.Message), d.Place.Time.Std()
		if ids[i], err = postgres.ParseUUID(d.Place.ID); err != nil {
			return nil, 0, err
		}
	}
	batch := &pgx.Batch{} // which is one transaction
	batch.Queue(lockWebhooks, hooks)
	batch.Queue(`
		INSERT INTO webhook_deliveries (webhook_id, time, message_id, conversation, message)
		SELECT n.* FROM unnest($1::text[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[]) AS n (webhook_id, time, message_id, conversation, message)
		JOIN webhooks w ON w.id = n.webhook_id AND w.disabled IS NULL
		ON CONFLICT DO NOTHING`, hooks, times, ids, conversations, messages)
	batch.Queue(`
		WITH counted AS (
			SELECT webhook_id, time, message_id,
				count(*) OVER later AS n, sum(octet_length(message)) OVER later AS bytes
			FROM webhook_deliveries WHERE webhook_id = ANY ($1)
			WINDOW later AS (PARTITION BY webhook_id ORDER BY time DESC, message_id DESC)
		), gone AS (
			DELETE FROM webhook_deliveries d USING counted c
			WHERE d.webhook_id = c.webhook_id AND d.time = c.time AND d.message_id = c.message_id AND (c.n > $2 OR c.bytes > $3)
			RETURNING d.webhook_id
		), counts AS (SELECT webhook_id, count(*) AS n FROM gone GROUP BY webhook_id),
		noted AS (UPDATE webhooks w SET dropped = w.dropped + c.n FROM counts c WHERE w.id = c.webhook_id)
		SELECT coalesce(sum(n), 0)::bigint FROM counts`, hooks, most, bytes).
		QueryRow(func(row pgx.Row) error { return row.Scan(&dropped) })
	ready = make(map[string]string)
	batch.Queue(`
		UPDATE webhooks SET due = CASE WHEN failures = 0 THEN least(due, now()) ELSE coalesce(due, now()) END
		WHERE id = ANY ($1) AND disabled IS NULL
		RETURNING id, url, failures = 0`, hooks).
		Query(func(rows pgx.Rows) error {
			var id, url string
			var healthy bool
			_, err := pgx.ForEachRow(rows, []any{&id, &url, &healthy}, func() error {
				if healthy {
					ready[id] = url
				}
				return nil
			})
			return err
		})
	if err := db.SendBatch(ctx, batch).Close(); err != nil {
		return nil, 0, postgres.Failed(err, "adding %d deliveries to webhooks", n)
	}
	return ready, dropped, nil
}

// Withdraw takes deliveries of messages that were recalled from webhooks.
func (db *Store) Withdraw(ctx context.Context, webhooks, messages []string) error {
	ids := make([]pgtype.UUID, len(messages))
	for i, m := range messages {
		var err error
		if ids[i], err = postgres.ParseUUID(m); err != nil {
			return err
		}
	}
	batch := &pgx.Batch{}
	batch.Queue(lockWebhooks, webhooks)
	batch.Queue(`DELETE FROM webhook_deliveries WHERE webhook_id = ANY ($1) AND message_id = ANY ($2)`, webhooks, ids)
	return postgres.Failed(db.SendBatch(ctx, batch).Close(), "withdrawing deliveries of webhooks")
}

// TakeWebhook takes a webhook that is due, so that nobody else delivers to it
// before lease is over, and returns at most limit deliveries: the earliest ones,
// none of a conversation of which an earlier one is not due yet. It returns
// false if there is nothing to take.
func (db *Store) TakeWebhook(ctx context.Context, webhook string, lease time.Duration, limit int) (r im.WebhookRun, ok bool, err error) {
	batch := &pgx.Batch{}
	batch.Queue(`
		UPDATE webhooks SET taken = now() + $2::interval, run = run + 1
		WHERE id = $1 AND disabled IS NULL AND due <= now() AND (taken IS NULL OR taken <= now())
		RETURNING id, bot_id, run, url, secret, CASE WHEN old_until > now() THEN old_secret ELSE '' END, failures, dropped`, webhook, lease).
		QueryRow(func(row pgx.Row) error {
			return row.Scan(&r.ID, &r.Bot, &r.Run, &r.URL, &r.Secret, &r.OldSecret, &r.Failures, &r.Dropped)
		})
	batch.Queue(`
		SELECT conversation, time, message_id, message, attempts FROM (
			SELECT *, bool_or(due > now()) OVER (PARTITION BY conversation ORDER BY time, message_id) AS waits
			FROM webhook_deliveries WHERE webhook_id = $1) d
		WHERE NOT waits ORDER BY time, message_id LIMIT $2`, webhook, limit).
		Query(func(rows pgx.Rows) error {
			r.Deliveries, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (d im.WebhookDelivery, err error) {
				var at time.Time
				var id pgtype.UUID
				err = row.Scan(&d.Conversation, &at, &id, &d.Message, &d.Attempts)
				d.Webhook, d.Place = webhook, im.Place{Time: im.TimeOf(at), ID: id.String()}
				return d, err
			})
			return err
		})
	err = db.SendBatch(ctx, batch).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		return im.WebhookRun{}, false, nil
	}
	return r, err == nil, postgres.Failed(err, "taking webhook %s", webhook)
}

// SettleWebhook notes what came of a run, and returns whether there is more to
// deliver at once. What somebody else's later run has found stays.
func (db *Store) SettleWebhook(ctx context.Context, o im.WebhookOutcome) (more bool, err error) {
	places := func(n int, at func(int) im.Place) (times []time.Time, ids []pgtype.UUID, err error) {
		times, ids = make([]time.Time, n), make([]pgtype.UUID, n)
		for i := range n {
			times[i] = at(i).Time.Std()
			if ids[i], err = postgres.ParseUUID(at(i).ID); err != nil {
				return nil, nil, err
			}
		}
		return times, ids, nil
	}
	doneTimes, doneIDs, err := places(len(o.Done), func(i int) im.Place { return o.Done[i] })
	if err != nil {
		return false, err
	}
	retryTimes, retryIDs, err := places(len(o.Retry), func(i int) im.Place { return o.Retry[i].Place })
	if err != nil {
		return false, err
	}
	after := make([]time.Duration, len(o.Retry))
	for i, r := range o.Retry {
		after[i] = r.After
	}
	batch := &pgx.Batch{}
	batch.Queue(lockWebhooks, []string{o.Webhook})
	batch.Queue(`
		DELETE FROM webhook_deliveries WHERE webhook_id = $1
		AND (time, message_id) IN (SELECT * FROM unnest($2::timestamptz[], $3::uuid[]))`, o.Webhook, doneTimes, doneIDs)
	batch.Queue(`
		UPDATE webhook_deliveries d SET attempts = attempts + 1, due = now() + r.after
		FROM unnest($2::timestamptz[], $3::uuid[], $4::interval[]) AS r (time, message_id, after)
		WHERE d.webhook_id = $1 AND d.time = r.time AND d.message_id = r.message_id`, o.Webhook, retryTimes, retryIDs, after)
	batch.Queue(`
		UPDATE webhooks SET
			taken    = NULL,
			dropped  = greatest(dropped - $3, 0),
			failures = $4,
			failure  = $5,
			failing  = CASE WHEN $4 > 0 THEN coalesce(failing, now()) END,
			due      = greatest(now() + $6::interval, (
				SELECT min(due) FROM (
					SELECT DISTINCT ON (conversation) due FROM webhook_deliveries
					WHERE webhook_id = $1 ORDER BY conversation, time, message_id) AS first))
		WHERE id = $1 AND run = $2 AND disabled IS NULL`, o.Webhook, o.Run, o.Told, o.Failures, o.Failure, o.After)
	// NULL, for greatest ignores what is: if nothing waits.
	batch.Queue(`
		UPDATE webhooks SET due = NULL WHERE id = $1 AND run = $2
		AND NOT EXISTS (SELECT FROM webhook_deliveries WHERE webhook_id = $1)`, o.Webhook, o.Run)
	batch.Queue(`
		UPDATE webhooks SET disabled = now(), reason = CASE WHEN $3 THEN 'gone' ELSE 'failing' END, told = false, due = NULL
		WHERE id = $1 AND run = $2 AND disabled IS NULL
		AND ($3 OR failures >= $5 AND failing <= now() - $4::interval)`, o.Webhook, o.Run, o.Gone, o.DisableAfter, o.DisableBeyond)
	batch.Queue(`
		WITH off AS (SELECT id FROM webhooks WHERE id = $1 AND disabled IS NOT NULL),
		gone AS (DELETE FROM webhook_deliveries d USING off WHERE d.webhook_id = off.id RETURNING d.webhook_id)
		UPDATE webhooks SET dropped = dropped + (SELECT count(*) FROM gone) FROM off WHERE webhooks.id = off.id`, o.Webhook)
	batch.Queue(`SELECT coalesce(due <= now(), false) FROM webhooks WHERE id = $1`, o.Webhook).
		QueryRow(func(row pgx.Row) error { return row.Scan(&more) })
	err = db.SendBatch(ctx, batch).Close()
	if errors.Is(err, pgx.ErrNoRows) { // deleted meanwhile
		return false, nil
	}
	return more, postgres.Failed(err, "noting what came of webhook %s", o.Webhook)
}

// DueWebhooks returns at most limit webhooks that are due, with their URLs,
// those first that have been for longest.
func (db *Store) DueWebhooks(ctx context.Context, limit int) (due []im.WebhookRun, err error) {
	rows, err := db.Query(ctx, `SELECT id, url FROM webhooks WHERE due <= now() AND disabled IS NULL AND (taken IS NULL OR taken <= now()) ORDER BY due LIMIT $1`, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading webhooks that are due")
	}
	due, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r im.WebhookRun, err error) {
		return r, row.Scan(&r.ID, &r.URL)
	})
	return due, postgres.Failed(err, "reading webhooks that are due")
}

// OverdueWebhook returns for how long the webhook has been due that has been for
// longest and that nobody delivers to, or 0 if none is due.
func (db *Store) OverdueWebhook(ctx context.Context) (by time.Duration, err error) {
	err = db.QueryRow(ctx, `
		SELECT coalesce(now() - min(due), '0') FROM webhooks WHERE due <= now() AND disabled IS NULL AND (taken IS NULL OR taken <= now())`).Scan(&by)
	return by, postgres.Failed(err, "asking which webhook is overdue")
}

// ExpireDeliveries drops and counts deliveries older than age, at most limit,
// and returns how many.
func (db *Store) ExpireDeliveries(ctx context.Context, age time.Duration, limit int) (gone int, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT id FROM webhooks WHERE id IN (
				SELECT webhook_id FROM webhook_deliveries WHERE created <= now() - $1::interval ORDER BY created LIMIT $2)
			ORDER BY id FOR NO KEY UPDATE SKIP LOCKED`, age, limit)
		if err != nil {
			return err
		}
		hooks, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, `
			WITH old AS (
				SELECT webhook_id, time, message_id FROM webhook_deliveries
				WHERE webhook_id = ANY ($1) AND created <= now() - $2::interval LIMIT $3
			), gone AS (
				DELETE FROM webhook_deliveries d USING old o
				WHERE d.webhook_id = o.webhook_id AND d.time = o.time AND d.message_id = o.message_id RETURNING d.webhook_id
			), counts AS (SELECT webhook_id, count(*) AS n FROM gone GROUP BY webhook_id),
			noted AS (UPDATE webhooks w SET dropped = w.dropped + c.n FROM counts c WHERE w.id = c.webhook_id)
			SELECT coalesce(sum(n), 0)::bigint FROM counts`, hooks, age, limit).Scan(&gone)
	})
	return gone, postgres.Failed(err, "dropping old deliveries of webhooks")
}

// UntoldWebhooks returns at most limit webhooks that were disabled and whose
// owners have not been told.
func (db *Store) UntoldWebhooks(ctx context.Context, limit int) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT id FROM webhooks WHERE NOT told ORDER BY disabled LIMIT $1`, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading webhooks that were disabled")
	}
	hooks, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return hooks, postgres.Failed(err, "reading webhooks that were disabled")
}

// ToldWebhook notes that the owner of a webhook is told that it was disabled,
// and returns the owner and the webhook. It returns false if they know.
func (tx Tx) ToldWebhook(ctx context.Context, webhook string) (owner string, w im.Webhook, was bool, err error) {
	var failing *time.Time
	err = tx.QueryRow(ctx, `
		UPDATE webhooks SET told = true FROM users u
		WHERE webhooks.id = $1 AND NOT told AND u.id = bot_id AND u.deleted IS NULL AND u.orphaned IS NULL
		RETURNING u.owner_id, webhooks.id, bot_id, reason, failing, failure`, webhook).
		Scan(&owner, &w.ID, &w.Bot, &w.Reason, &failing, &w.Failure)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", im.Webhook{}, false, nil
	}
	w.Failing = postgres.Time(failing)
	return owner, w, err == nil, postgres.Failed(err, "noting that the owner of webhook %s is told", webhook)
}
