package notifications

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// devicesOfUser bounds the devices of one user that are notified.
const devicesOfUser = 100

// Absences returns which devices may have to be notified of arrivals: of users
// who have neither muted the conversation nor blocked the sender, those devices
// that have subscribed, or all that are signed in if all is true, without those
// to which a notification of the conversation is due already. A device is
// there once for each arrival.
//
// What is left out for being due already is sure to be sent after this, by
// somebody who sees the messages that are in inboxes now.
func (db *Store) Absences(ctx context.Context, arrivals []im.Arrival, all bool) ([]im.Absence, error) {
	devices := `SELECT session_id FROM push_subscriptions WHERE user_id = k.user_id`
	if all {
		devices = `SELECT id FROM sessions WHERE user_id = k.user_id AND ended IS NULL AND platform <> 'bot'`
	}
	users, conversations, senders := make([]string, len(arrivals)), make([]string, len(arrivals)), make([]string, len(arrivals))
	for i, a := range arrivals {
		users[i], conversations[i], senders[i] = a.User, string(a.Conversation), a.From
	}
	// Written so, PostgreSQL has no other way than the primary keys.
	rows, err := db.Query(ctx, `
		SELECT k.n, d.session_id FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS k (user_id, conversation, sender, n)
		CROSS JOIN LATERAL (`+devices+` LIMIT $4) AS d (session_id)
		WHERE (SELECT muted FROM conversation_states c WHERE c.user_id = k.user_id AND c.conversation = k.conversation) IS NOT TRUE
		  AND (SELECT true FROM blocks b WHERE b.user_id = k.user_id AND b.blocked_id = k.sender) IS NOT TRUE
		  AND (SELECT true FROM blocks b WHERE b.user_id = k.user_id AND b.blocked_id = (SELECT owner_id FROM users u WHERE u.id = k.sender)) IS NOT TRUE
		  AND (SELECT due IS NOT NULL AND (NOT taken OR next_id IS NOT NULL) FROM notifications n
		       WHERE n.session_id = d.session_id AND n.conversation = k.conversation) IS NOT TRUE`,
		users, conversations, senders, devicesOfUser)
	if err != nil {
		return nil, postgres.Failed(err, "looking up the devices of %d recipients", len(arrivals))
	}
	var absences []im.Absence
	var n int64
	var session string
	_, err = pgx.ForEachRow(rows, []any{&n, &session}, func() error {
		a := arrivals[n-1]
		absences = append(absences, im.Absence{User: a.User, Session: session, Conversation: a.Conversation, Message: a.Message})
		return nil
	})
	return absences, postgres.Failed(err, "looking up the devices of %d recipients", len(arrivals))
}

// NoteNotifications notes that notifications are due to devices, which are
// there once for each conversation. Where one is due already, it stays as it
// is; where one is being sent, another follows it. It returns how long it is
// until the first is due; -1 if none was noted.
func (db *Store) NoteNotifications(ctx context.Context, absences []im.Absence, at im.NotifyTiming) (time.Duration, error) {
	sessions, conversations := make([]string, len(absences)), make([]string, len(absences))
	users, messages := make([]string, len(absences)), make([]string, len(absences))
	for i, a := range absences {
		sessions[i], conversations[i], users[i], messages[i] = a.Session, string(a.Conversation), a.User, a.Message
	}
	ids, err := postgres.ParseUUIDs(messages)
	if err != nil {
		return -1, err
	}
	// In the order of the key, so that no two who note wait for each other.
	var first *time.Duration
	err = db.QueryRow(ctx, `
		WITH noted AS (
			INSERT INTO notifications AS n (session_id, conversation, user_id, message_id, due, expires)
			SELECT k.*, now() + $5::interval, now() + $6::interval FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) AS k (session_id, conversation, user_id, message_id)
			ORDER BY k.session_id COLLATE "C", k.conversation COLLATE "C"
			ON CONFLICT (session_id, conversation) DO UPDATE SET
				message_id = CASE WHEN n.due IS NULL THEN excluded.message_id ELSE n.message_id END,
				next_id    = CASE WHEN n.due IS NULL THEN NULL ELSE excluded.message_id END,
				due        = CASE WHEN n.due IS NULL THEN greatest(excluded.due, n.sent + $7::interval) ELSE n.due END,
				attempts   = CASE WHEN n.due IS NULL THEN 0 ELSE n.attempts END,
				expires    = CASE WHEN n.due IS NULL THEN excluded.expires ELSE n.expires END
			WHERE n.due IS NULL OR n.taken AND n.next_id IS NULL
			RETURNING due)
		SELECT min(due) - now() FROM noted`,
		sessions, conversations, users, ids, at.After, at.TTL, at.Every).Scan(&first)
	if err != nil || first == nil {
		return -1, postgres.Failed(err, "noting %d notifications", len(absences))
	}
	return max(*first, 0), nil
}

// TakeNotifications returns at most limit notifications that are due, those
// first that have been for longest, and leaves them to the caller for a while:
// those that the caller does nothing with are due again after it.
func (db *Store) TakeNotifications(ctx context.Context, limit int, lease time.Duration) ([]im.Notification, error) {
	rows, err := db.Query(ctx, `
		WITH found AS (
			SELECT session_id, conversation FROM notifications WHERE due <= now() ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED),
		took AS (
			UPDATE notifications n SET due = now() + $2::interval, taken = true, attempts = attempts + 1, next_id = NULL
			FROM found f WHERE n.session_id = f.session_id AND n.conversation = f.conversation RETURNING n.*)
		SELECT t.user_id, t.session_id, t.conversation, t.message_id, t.attempts, t.expires, t.due,
		       s.device, s.platform, p.endpoint, p.p256dh, p.auth, p.show_text, p.failing, p.failures, c.read_id, c.muted
		FROM took t
		LEFT JOIN LATERAL (SELECT * FROM sessions WHERE id = t.session_id AND ended IS NULL LIMIT 1) s ON true
		LEFT JOIN LATERAL (SELECT * FROM push_subscriptions WHERE session_id = t.session_id LIMIT 1) p ON true
		LEFT JOIN LATERAL (SELECT * FROM conversation_states WHERE user_id = t.user_id AND conversation = t.conversation LIMIT 1) c ON true`,
		limit, lease)
	if err != nil {
		return nil, postgres.Failed(err, "taking notifications that are due")
	}
	taken, err := pgx.CollectRows(rows, scanNotification)
	return taken, postgres.Failed(err, "taking notifications that are due")
}

func scanNotification(row pgx.CollectableRow) (n im.Notification, err error) {
	var message, read pgtype.UUID
	var expires, lease time.Time
	var failing *time.Time
	var device, platform, endpoint *string
	var p256dh, auth []byte
	var showText, muted *bool
	var failures *int
	err = row.Scan(&n.User, &n.Session, &n.Conversation, &message, &n.Attempt, &expires, &lease,
		&device, &platform, &endpoint, &p256dh, &auth, &showText, &failing, &failures, &read, &muted)
	if err != nil {
		return n, err
	}
	n.Message, n.Read = postgres.FormatUUID(message), postgres.FormatUUID(read)
	n.Expires, n.Lease = im.TimeOf(expires), im.TimeOf(lease)
	n.Muted = muted != nil && *muted
	n.Ended = device == nil
	if !n.Ended {
		n.Device, n.Platform = *device, *platform
	}
	if !n.Ended && endpoint != nil {
		n.Push = &im.PushSubscription{
			User: n.User, Session: n.Session, Endpoint: *endpoint, P256dh: p256dh, Auth: auth, ShowText: *showText,
			Failing: postgres.Time(failing), Failures: *failures,
		}
	}
	return n, nil
}

// leased locks those notifications that are left still to who took them, in
// the order of the key, and says at which place of the arguments each is.
const leased = `
	WITH mine AS MATERIALIZED (
		SELECT k.session_id, k.conversation, k.n
		FROM unnest($1::text[], $2::text[], $3::timestamptz[]) WITH ORDINALITY AS k (session_id, conversation, due, n)
		CROSS JOIN LATERAL (
			SELECT FROM notifications n
			WHERE n.session_id = k.session_id AND n.conversation = k.conversation AND n.due = k.due AND n.taken
			FOR UPDATE) AS locked)`

// leases returns the arguments of leased. It sorts the notifications.
func leases(taken []im.Notification) (sessions, conversations []string, due []time.Time) {
	slices.SortFunc(taken, func(a, b im.Notification) int {
		return cmp.Or(strings.Compare(a.Session, b.Session), strings.Compare(string(a.Conversation), string(b.Conversation)))
	})
	for _, n := range taken {
		sessions, conversations, due = append(sessions, n.Session), append(conversations, string(n.Conversation)), append(due, n.Lease.Std())
	}
	return sessions, conversations, due
}

// SentNotifications notes that notifications which are left still to who took
// them were sent. Messages that came meanwhile are due later.
func (db *Store) SentNotifications(ctx context.Context, taken []im.Notification, at im.NotifyTiming) error {
	sessions, conversations, due := leases(slices.Clone(taken))
	_, err := db.Exec(ctx, leased+`
		UPDATE notifications n SET
			message_id = coalesce(n.next_id, n.message_id), next_id = NULL, taken = false, attempts = 0, sent = now(),
			due     = CASE WHEN n.next_id IS NOT NULL THEN now() + $4::interval END,
			expires = CASE WHEN n.next_id IS NOT NULL THEN now() + $5::interval ELSE n.expires END
		FROM mine WHERE n.session_id = mine.session_id AND n.conversation = mine.conversation`,
		sessions, conversations, due, at.Every, at.TTL)
	return postgres.Failed(err, "noting that %d notifications are sent", len(taken))
}

// DropNotifications drops notifications which are left still to who took them.
// Messages that came meanwhile are due later.
func (db *Store) DropNotifications(ctx context.Context, taken []im.Notification, at im.NotifyTiming) error {
	sessions, conversations, due := leases(slices.Clone(taken))
	_, err := db.Exec(ctx, leased+`,
		again AS (
			UPDATE notifications n SET
				message_id = n.next_id, next_id = NULL, taken = false, attempts = 0,
				due = now() + $4::interval, expires = now() + $5::interval
			FROM mine WHERE n.session_id = mine.session_id AND n.conversation = mine.conversation AND n.next_id IS NOT NULL)
		DELETE FROM notifications n USING mine
		WHERE n.session_id = mine.session_id AND n.conversation = mine.conversation AND n.next_id IS NULL`,
		sessions, conversations, due, at.After, at.TTL)
	return postgres.Failed(err, "dropping %d notifications", len(taken))
}

// PostponeNotifications has notifications which are left still to who took them
// sent later, each after the Wait that it says.
func (db *Store) PostponeNotifications(ctx context.Context, taken []im.Notification) error {
	taken = slices.Clone(taken)
	sessions, conversations, due := leases(taken)
	waits, attempts := make([]time.Duration, len(taken)), make([]int, len(taken))
	for i, n := range taken {
		waits[i], attempts[i] = n.Wait, n.Attempt
	}
	_, err := db.Exec(ctx, leased+`
		UPDATE notifications n SET
			due = least(now() + ($4::interval[])[mine.n], n.expires), attempts = ($5::integer[])[mine.n], taken = false, next_id = NULL
		FROM mine WHERE n.session_id = mine.session_id AND n.conversation = mine.conversation`,
		sessions, conversations, due, waits, attempts)
	return postgres.Failed(err, "postponing %d notifications", len(taken))
}

// NextNotification returns how long it is until a notification is due; false
// if none is.
func (db *Store) NextNotification(ctx context.Context) (time.Duration, bool, error) {
	var in *time.Duration
	err := db.QueryRow(ctx, `SELECT min(due) - now() FROM notifications WHERE due IS NOT NULL`).Scan(&in)
	if err != nil || in == nil {
		return 0, false, postgres.Failed(err, "asking when the next notification is due")
	}
	return max(*in, 0), true, nil
}

// OverdueNotification returns for how long the notification has been due that has
// been for longest and that nobody has taken, or 0 if none is due.
func (db *Store) OverdueNotification(ctx context.Context) (by time.Duration, err error) {
	err = db.QueryRow(ctx, `SELECT coalesce(now() - min(due), '0') FROM notifications WHERE due <= now()`).Scan(&by)
	return by, postgres.Failed(err, "asking which notification is overdue")
}

// SweepNotifications deletes at most limit notifications that were done at
// least age ago, and returns how many.
func (db *Store) SweepNotifications(ctx context.Context, age time.Duration, limit int) (int, error) {
	got, err := db.Exec(ctx, `
		DELETE FROM notifications WHERE (session_id, conversation) IN (
			SELECT session_id, conversation FROM notifications WHERE due IS NULL AND sent <= now() - $1::interval
			ORDER BY sent LIMIT $2 FOR UPDATE SKIP LOCKED)`, age, limit)
	return int(got.RowsAffected()), postgres.Failed(err, "sweeping notifications")
}

// Bylines returns what may be said of who sent each of arrivals, in their
// order.
func (db *Store) Bylines(ctx context.Context, arrivals []im.Arrival) ([]im.Byline, error) {
	users, senders, groups := make([]string, len(arrivals)), make([]string, len(arrivals)), make([]string, len(arrivals))
	for i, a := range arrivals {
		users[i], senders[i], groups[i] = a.User, a.From, a.Conversation.Group()
	}
	rows, err := db.Query(ctx, `
		SELECT coalesce((SELECT name FROM users u WHERE u.id = k.sender), ''),
		       coalesce((SELECT name FROM groups g WHERE g.id = k.group_id), ''),
		       EXISTS (SELECT FROM blocks b WHERE b.user_id = k.user_id AND b.blocked_id IN (k.sender, (SELECT owner_id FROM users u WHERE u.id = k.sender)))
		FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS k (user_id, sender, group_id, n)
		ORDER BY k.n`, users, senders, groups)
	if err != nil {
		return nil, postgres.Failed(err, "reading who sent %d messages", len(arrivals))
	}
	bylines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[im.Byline])
	return bylines, postgres.Failed(err, "reading who sent %d messages", len(arrivals))
}
