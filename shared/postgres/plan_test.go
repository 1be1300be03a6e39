package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
)

// TestQueriesReadIndexes calls everything often enough for PostgreSQL to
// settle on its plans, on tables large enough for a scan to be wrong, and asks
// the server how often it has walked through a table.
func TestQueriesReadIndexes(t *testing.T) {
	db := pgtest.Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate), "POSTGRES_POOL": "1"}))
	ctx := t.Context()
	for _, sql := range []string{
		`INSERT INTO users SELECT s, s, s, '' FROM (SELECT 'user' || lpad(i::text, 12, '0') AS s FROM generate_series(0, 9999) i) x`,
		`INSERT INTO former_accounts SELECT sha256(convert_to(id, 'UTF8')), NULL, now() + interval '1 day' FROM users`,
		`INSERT INTO blocks SELECT id, lag(id) OVER (ORDER BY id) FROM users OFFSET 1`,
		`INSERT INTO friendships SELECT user_id, blocked_id FROM blocks`,
		`INSERT INTO relation_versions SELECT least(user_id, blocked_id), greatest(user_id, blocked_id), 1 FROM blocks`,
		`INSERT INTO groups SELECT 'grup' || right(id, 12), 'g', id, 1, now() FROM users WHERE right(id, 1) = '0'`,
		`INSERT INTO group_members SELECT g.id, u.id, 'member', now() FROM groups g JOIN users u ON right(u.id, 3) = right(g.id, 3)`,
		`INSERT INTO sessions SELECT 'sess' || right(id, 12), id, 'd', 'web', now() FROM users`,
		`INSERT INTO refresh_tokens SELECT sha256(id::bytea), id, now() + interval '1 day' FROM sessions`,
		`INSERT INTO inbox SELECT id, s, gen_random_uuid(), '{}', 'g:' || s % 3, s % 3, 0 FROM users, generate_series(1, 5) s`,
		`UPDATE users SET email = id || '@b.c', phone = '+49' || right(id, 12), find_by_email = true, find_by_phone = true, email_verified = now()`,
		`UPDATE sessions SET ended = now(), told = right(id, 1) <> '1' WHERE right(id, 1) IN ('1', '2')`,
		`INSERT INTO erasures SELECT id, now(), now() + interval '1 hour' FROM users WHERE right(id, 1) <> '0'`,
		`INSERT INTO deleted_messages SELECT user_id, conversation, message_id FROM inbox`,
		`INSERT INTO conversation_states SELECT user_id, 'g:' || s % 3, message_id FROM inbox i, generate_series(1, 3) s WHERE i.seq = s`,
		`INSERT INTO messages SELECT 'g:' || g.id, now() + s * interval '1 day', gen_random_uuid(), g.owner_id, 'c', 'text', 'x' FROM groups g, generate_series(-60, 60) s`,
		`INSERT INTO reactions SELECT conversation, id, sender, 'x' FROM messages`,
		`INSERT INTO reaction_counts SELECT conversation, message_id, emoji, 1 FROM reactions`,
		`INSERT INTO archive_changes SELECT conversation, time, id, sender, client_id, kind, text, reply_to, data, 1, NULL, true FROM messages`,
		`INSERT INTO files SELECT 'file' || right(id, 12), id, 'f', 1, 'text/plain', sha256('x'), CASE right(id, 2) WHEN '00' THEN 'pending' WHEN '01' THEN 'removed' ELSE 'complete' END,
			NULL, 0, 0, 0, '', now(), now() + interval '1 day', CASE right(id, 2) WHEN '02' THEN now() END FROM users`,
		`INSERT INTO file_usage SELECT id, 1 FROM users`,
		`INSERT INTO file_grants SELECT f.id, 'd:' || least(b.user_id, b.blocked_id) || ':' || greatest(b.user_id, b.blocked_id), gen_random_uuid() FROM files f JOIN blocks b ON b.user_id = f.owner_id`,
		`INSERT INTO file_grants SELECT f.id, 'g:' || g.id, gen_random_uuid() FROM files f JOIN groups g ON g.owner_id = f.owner_id`,
		`UPDATE file_grants SET stored = true WHERE right(file_id, 2) <> '10'`,
		`INSERT INTO avatars SELECT 'avatars/' || id, id, now(), CASE WHEN right(id, 2) = '01' THEN now() END FROM users`,
		`INSERT INTO bot_tokens (id, bot_id, hash, name, scopes) SELECT id, user_id, sha256(id::bytea), 'n', '{messages:read}' FROM sessions`,
		`INSERT INTO webhooks (id, bot_id, url, secret) SELECT 'hook' || right(id, 12), id, 'u', 's' FROM users`,
		`INSERT INTO webhook_deliveries (webhook_id, time, message_id, conversation, message) SELECT id, now(), gen_random_uuid(), 'g:x', '{}' FROM webhooks`,
		`INSERT INTO outbox SELECT 'notice-' || id, now() - interval '1 hour', gen_random_uuid(), now(), '{}' FROM users`,
		`INSERT INTO push_subscriptions SELECT id, user_id, id, '', '', false FROM sessions WHERE ended IS NULL`,
		`INSERT INTO notifications SELECT id, 'g:1', user_id, gen_random_uuid(), NULL, now() + s * interval '1 hour', false, 0, now() + interval '1 day' FROM sessions, generate_series(1, 1) s`,
		`INSERT INTO second_factors (user_id, secret, confirmed) SELECT id, 's', now() FROM users WHERE right(id, 1) <> '1'`,
		`INSERT INTO recovery_codes SELECT user_id, sha256(user_id::bytea) FROM second_factors`,
		`INSERT INTO identities SELECT 'i', id, 'p', id FROM users`,
		`INSERT INTO email_codes SELECT id, 'verify', email, '', 0, now() + interval '1 hour' FROM users`,
		`INSERT INTO mails (purpose, email, user_id) SELECT 'verify', email, id FROM users`,
		`ANALYZE`,
	} {
		if _, err := db.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	const user, group = "user000000000010", "grup000000000010"
	users := []string{user, "user000000000011", "user000000000012"}
	before := pgtest.Scans(t, db)
	for i := range int64(10) {
		now := im.Now()
		m := pgtest.Said(im.Group(group), user, now, "x")
		e := im.Entry{User: user, Seq: 6 + i, ID: m.ID, Message: []byte("{}")}
		steps := map[string]func() error{
			"Pending":       func() error { _, _, err := db.Pending(ctx, time.Minute, im.Pending{}, 100); return err },
			"Published":     func() error { return db.Published(ctx, []string{fmt.Sprintf("notice-user%012d", i)}) },
			"SetAside":      func() error { return db.SetAside(ctx, fmt.Sprintf("notice-user%012d", 100+i), im.Invalid) },
			"UserByAccount": func() error { _, _, err := db.UserByAccount(ctx, user); return err },
			"EndSession":    func() error { return db.EndSession(ctx, "user000000000001", "sess000000000001") },
			"Relations": func() error {
				_, err := db.Relations(ctx, []im.Pair{{A: users[0], B: users[1]}, {A: users[1], B: users[2]}})
				return err
			},
			"SeenBy":     func() error { _, err := db.SeenBy(ctx, user, users); return err },
			"Watchers":   func() error { _, err := db.Watchers(ctx, users, 500); return err },
			"CreateFile": func() error { return pgtest.Second(db.CreateFile(ctx, pgtest.NewFile(user, 1), pgtest.Plenty, 1000)) },
			"File":       func() error { return pgtest.Second(db.File(ctx, "file000000000010")) },
			"FileFor":    func() error { return pgtest.Second(db.FileFor(ctx, "file000000000010", user)) },
			"FilesFor": func() error {
				return pgtest.Second(db.FilesFor(ctx, []string{"file000000000010", "file000000000011"}, user))
			},
			"ExpireFiles":   func() error { return pgtest.Second(db.ExpireFiles(ctx, 24*time.Hour, 200)) },
			"RemovedFiles":  func() error { return pgtest.Second(db.RemovedFiles(ctx, "", 200)) },
			"ForgetFile":    func() error { return db.ForgetFile(ctx, "file000000000101") },
			"UnusedAvatars": func() error { return pgtest.Second(db.UnusedAvatars(ctx, time.Hour, 200)) },
			"GrantFiles": func() error {
				return db.GrantFiles(ctx, []im.FileGrant{{File: "file000000000010", Conversation: im.Direct(users[0], users[1]), Message: im.NewMessageID(now)}})
			},
			"RevokeFile": func() error {
				return pgtest.Attempt(ctx, db, func(ctx context.Context, tx *pgtest.Tx) error {
					return tx.RevokeFile(ctx, im.FileGrant{File: "file000000000010", Conversation: im.Direct(users[0], users[1]), Message: m.ID})
				})
			},
			"UnseenGrants": func() error {
				_, _, _, err := db.UnseenGrants(ctx, "", now, 200)
				return err
			},
			"StoredGrants": func() error {
				return db.StoredGrants(ctx, []im.FileGrant{{File: "file000000000010", Conversation: im.Direct(users[0], users[1]), Message: m.ID}})
			},
			"BotByToken": func() error { return third(db.BotByToken(ctx, pgtest.Token("sess000000000045"))) },
			"Bots":       func() error { return pgtest.Second(db.Bots(ctx, user)) },
			"BotTokens": func() error {
				_, err := db.BotTokens(ctx, user, users[1])
				if errors.Is(err, im.NotFound) { // that is nobody's bot
					err = nil
				}
				return err
			},
			"OrphanedBots":     func() error { return pgtest.Second(db.OrphanedBots(ctx, 100)) },
			"EndExpiredTokens": func() error { return pgtest.Second(db.EndExpiredTokens(ctx, 100)) },
			"Webhooks of messages": func() error {
				const hook = "hook000000000010"
				_, _, err := db.Enqueue(ctx, []im.WebhookDelivery{{Webhook: hook, Conversation: m.Conversation, Place: m.Place(), Message: []byte("{}")}}, 100, 1<<20)
				if err := errors.Join(err, pgtest.Second(db.WebhooksOf(ctx, users)), pgtest.Second(db.DueWebhooks(ctx, 100)), pgtest.Second(db.OverdueWebhook(ctx))); err != nil {
					return err
				}
				run, ok, err := db.TakeWebhook(ctx, hook, time.Minute, 50)
				if err != nil || !ok {
					return fmt.Errorf("taken: %v, %w", ok, err)
				}
				o := im.WebhookOutcome{Webhook: hook, Run: run.Run, Done: []im.Place{m.Place()}, DisableAfter: time.Hour, DisableBeyond: 10}
				return errors.Join(pgtest.Second(db.SettleWebhook(ctx, o)), db.Withdraw(ctx, []string{hook}, []string{m.ID}))
			},
			"Sweeping webhooks": func() error {
				return errors.Join(pgtest.Second(db.ExpireDeliveries(ctx, time.Hour, 100)), pgtest.Second(db.UntoldWebhooks(ctx, 100)))
			},
			"UserByIdentity": func() error { return third(db.UserByIdentity(ctx, "i", user)) },
			"UserByEmail":    func() error { return third(db.UserByEmail(ctx, user+"@b.c")) },
			"Identities":     func() error { return pgtest.Second(db.Identities(ctx, user)) },
			"Factor":         func() error { return pgtest.Second(db.Factor(ctx, user)) },
			"UseStep":        func() error { return pgtest.Second(db.UseStep(ctx, user, i, "s")) },
			"UseRecoveryCode": func() error {
				return pgtest.Second(db.UseRecoveryCode(ctx, user, []byte("none")))
			},
			"Mails": func() error {
				due, err := db.DueMails(ctx, 24*time.Hour, time.Minute, 10)
				if err != nil || len(due) == 0 {
					return fmt.Errorf("%d are due, %w", len(due), err)
				}
				if _, err := db.Addressee(ctx, due[0]); err != nil && !errors.Is(err, im.NotFound) { // erased
					return err
				}
				_, err = db.PutCode(ctx, user, "reset", user+"@b.c", []byte{1}, "s", time.Hour)
				return errors.Join(err, db.Mailed(ctx, due[0].ID), db.SweepCodes(ctx, 100))
			},
			"Nearest": func() error { return pgtest.Second(db.Nearest(ctx, m.Conversation, im.Place{}, now, true, 20)) },
			"ArchiveChanges": func() error {
				return pgtest.Second(db.ArchiveChanges(ctx, m.Conversation, []im.Place{m.Place()}))
			},
			"Self":          func() error { return pgtest.Second(db.Self(ctx, user)) },
			"Profile":       func() error { return pgtest.Second(db.Profile(ctx, user)) },
			"UpdateUser":    func() error { return pgtest.Second(db.UpdateUser(ctx, user, im.UserChange{Bio: new(string)})) },
			"FindByAccount": func() error { return pgtest.Second(db.FindByAccount(ctx, user)) },
			"FindByEmail":   func() error { return pgtest.Second(db.FindByEmail(ctx, user, user+"@b.c")) },
			"FindByPhone":   func() error { return pgtest.Second(db.FindByPhone(ctx, user, "+49000000000010")) },
			"Sessions":      func() error { return pgtest.Second(db.Sessions(ctx, user, 100)) },
			"Absences": func() error {
				arrivals := []im.Arrival{{User: user, Conversation: "g:1", From: users[1]}, {User: users[1], Conversation: "g:1", From: user}}
				return errors.Join(pgtest.Second(db.Absences(ctx, arrivals, false)), pgtest.Second(db.Absences(ctx, arrivals, true)))
			},
			"Notifications": func() error {
				at := im.NotifyTiming{Every: time.Hour, TTL: time.Hour}
				a := im.Absence{User: user, Session: "sess000000000010", Conversation: im.Conversation(fmt.Sprint("g:", i)), Message: m.ID}
				if _, err := db.NoteNotifications(ctx, []im.Absence{a}, at); err != nil {
					return err
				}
				taken, err := db.TakeNotifications(ctx, 100, time.Minute)
				if err != nil || len(taken) == 0 { // those of the rounds before come again
					return fmt.Errorf("taken %d, %w", len(taken), err)
				}
				return errors.Join(db.PostponeNotifications(ctx, taken), db.DropNotifications(ctx, taken, at), db.SentNotifications(ctx, taken, at),
					pgtest.Second(db.SweepNotifications(ctx, time.Hour, 100)), pgtest.Second(db.OverdueNotification(ctx)), pgtest.Second(db.Bylines(ctx, []im.Arrival{{User: user, From: users[1], Conversation: im.Group(group)}})),
					func() error { _, _, err := db.NextNotification(ctx); return err }())
			},
			"PutSubscription": func() error {
				return db.PutSubscription(ctx, im.PushSubscription{User: "user000000000035", Session: "sess000000000035", Endpoint: "e", P256dh: []byte{}, Auth: []byte{}}, 20)
			},
			"RemoveSubscription": func() error { return db.RemoveSubscription(ctx, "sess000000000013", "") },
			"SubscriptionsFailed": func() error {
				return pgtest.Second(db.SubscriptionsFailed(ctx, []string{"sess000000000014"}, 20, time.Hour))
			},
			"Told":          func() error { return db.Told(ctx, []string{"sess000000000001"}) },
			"Untold":        func() error { return pgtest.Second(db.Untold(ctx, time.Minute, 500)) },
			"SweepTokens":   func() error { return pgtest.Second(db.SweepTokens(ctx, 500)) },
			"SweepSessions": func() error { return pgtest.Second(db.SweepSessions(ctx, 30*24*time.Hour, 500)) },
			"DueErasures":   func() error { return pgtest.Second(db.DueErasures(ctx, 500)) },
			"EraseUser":     func() error { return db.EraseUser(ctx, fmt.Sprintf("user%012d", 6000+i)) },
			"ForgetUser": func() error {
				return pgtest.Attempt(ctx, db, func(ctx context.Context, tx *pgtest.Tx) error {
					_, _, err := tx.ForgetUser(ctx, fmt.Sprintf("user%012d", 7000+10*i), "")
					return err
				})
			},
			"CreateSession": func() error {
				s := im.Session{ID: im.NewID(), User: user, Device: "d", Platform: "web", Created: now}
				return pgtest.Second(db.CreateSession(ctx, s, "", pgtest.Token(s.ID), pgtest.Later(), 2))
			},
			"ChangePassword": func() error {
				s := im.Session{ID: im.NewID(), User: users[1], Device: "d", Platform: "web", Created: now}
				return pgtest.Second(db.ChangePassword(ctx, s, "", "", pgtest.Token(s.ID), pgtest.Later(), im.Revocation{Bots: true, Identities: true}))
			},
			"ProveSession": func() error {
				if _, err := db.ProveSession(ctx, user, "sess000000008000"); !errors.Is(err, im.NotFound) { // ended by CreateSession
					return err
				}
				return nil
			},
			"HasSubscription": func() error {
				return pgtest.Second(db.HasSubscription(ctx, im.PushSubscription{Session: user, User: user}))
			},
			"RotateRefresh": func() error {
				return pgtest.Second(db.RotateRefresh(ctx, pgtest.Token(fmt.Sprintf("sess%012d", 8000+10*i)), pgtest.Token(fmt.Sprint("next", i)), pgtest.Later(), time.Minute))
			},
			"GroupMembers":  func() error { _, err := db.GroupMembers(ctx, []string{group, "grup000000000020"}); return err },
			"IsMember":      func() error { _, err := db.IsMember(ctx, group, user); return err },
			"AppendHistory": func() error { return db.AppendHistory(ctx, []im.Message{m}) },
			"AmendHistory": func() error {
				m.Revision, m.Recalled = 1, true
				return db.AmendHistory(ctx, []im.Message{m, m})
			},
			"ChangedMessages": func() error {
				return pgtest.Second(db.ChangedMessages(ctx, []im.EntryKey{{ID: m.ID, Conversation: m.Conversation}, {ID: im.NewMessageID(now), Conversation: "g:1"}}))
			},
			"DeletedMessages": func() error {
				return pgtest.Second(db.DeletedMessages(ctx, []im.EntryKey{e.Key(), {User: users[1], ID: m.ID, Conversation: "g:1"}}))
			},
			"History":      func() error { _, _, err := db.History(ctx, m.Conversation, user, im.Place{}, false, 20); return err },
			"History back": func() error { _, _, err := db.History(ctx, m.Conversation, user, m.Place(), true, 20); return err },
			"Insert":       func() error { _, err := db.Inbox().Insert(ctx, []im.Entry{e}); return err },
			"Heads":        func() error { _, err := db.Inbox().Heads(ctx, users); return err },
			"Find": func() error {
				_, err := db.Inbox().Find(ctx, []im.EntryKey{e.Key(), {User: users[1], ID: m.ID}})
				return err
			},
			"After":  func() error { _, err := db.Inbox().After(ctx, user, 2, 100); return err },
			"Get":    func() error { _, err := db.Inbox().Get(ctx, []im.EntryKey{e.Key()}); return err },
			"Latest": func() error { _, err := db.Inbox().Latest(ctx, user, 1000); return err },
			"Newest": func() error { _, err := db.Inbox().Newest(ctx, user, "g:1"); return err },
			"Unread": func() error {
				_, err := db.Inbox().Unread(ctx, user, map[im.Conversation]string{"g:1": "", "g:2": m.ID}, 1000)
				return err
			},
			"Amend": func() error {
				return db.Inbox().Amend(ctx, []im.Entry{{User: user, ID: m.ID, Revision: 1}, {User: users[1], ID: m.ID, Revision: 1}})
			},
			"Erase": func() error { return db.Inbox().Erase(ctx, fmt.Sprintf("user%012d", 5000+i)) },
			"ConversationStates": func() error {
				_, err := db.ConversationStates(ctx, user, []im.Conversation{"g:1", "g:2"})
				return err
			},
			"MarkRead": func() error {
				return pgtest.Attempt(ctx, db, func(ctx context.Context, tx *pgtest.Tx) error {
					_, _, err := tx.MarkRead(ctx, user, "g:1", m.ID)
					return err
				})
			},
			"ChangeConversation": func() error {
				pinned := i%2 == 0
				return pgtest.Attempt(ctx, db, func(ctx context.Context, tx *pgtest.Tx) error {
					_, _, err := tx.ChangeConversation(ctx, user, "g:1", im.ConversationChange{Pinned: &pinned})
					return err
				})
			},
		}
		for name, step := range steps {
			if err := step(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			after := pgtest.Scans(t, db)
			for table, n := range after {
				if n != before[table] && table != "archives" { // a row for each month
					t.Errorf("%s walks through %s", name, table)
				}
			}
			before = maps.Clone(after)
		}
	}
}

func third[A, B any](_ A, _ B, err error) error { return err }
