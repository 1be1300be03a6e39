package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
)

// seeded is what was put into the database for the API to be asked for.
type seeded struct {
	friends, members, conversations, inbox, history int

	group        string
	after        int64           // seq before the entries in bob's inbox
	conversation im.Conversation // of ann and bob, with the history
	first        im.Time         // of the history
	step         im.Time         // between two of its messages
	random       [8]byte         // of all their ids
}

// seed puts friends of ann, a group with her, a long conversation with bob and
// conversations of bob's into PostgreSQL, where the inboxes are too. What is
// there from a run before is left as it is.
func seed(ctx context.Context, url, ann, bob string, quick bool) (seeded, error) {
	s := seeded{friends: 1000, members: 2000, conversations: 500, inbox: 10_000, history: 1_000_000}
	if quick {
		s.history = 10_000
	}
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		return s, fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer db.Close(ctx)
	if _, err := db.Exec(ctx, `SET statement_timeout = 0`); err != nil {
		return s, err
	}
	people, err := s.people(ctx, db, ann)
	if err != nil {
		return s, fmt.Errorf("making people: %w", err)
	}
	if err := s.makeGroup(ctx, db, ann, people); err != nil {
		return s, fmt.Errorf("making a group: %w", err)
	}
	if err := s.fillInbox(ctx, db, bob, people); err != nil {
		return s, fmt.Errorf("filling an inbox: %w", err)
	}
	if err := s.fillHistory(ctx, db, ann, bob); err != nil {
		return s, fmt.Errorf("filling a history: %w", err)
	}
	_, err = db.Exec(ctx, `ANALYZE`)
	return s, err
}

// people returns as many users as a group takes beside ann, of whom the first
// are her friends.
func (s *seeded) people(ctx context.Context, db *pgx.Conn, ann string) ([]string, error) {
	random := rand.New(rand.NewPCG(1, 2)) // the same people in each run
	ids := make([]string, s.members-1)
	for i := range ids {
		var id strings.Builder
		for range 16 {
			id.WriteByte("abcdefghijklmnopqrstuvwxyz234567"[random.IntN(32)])
		}
		ids[i] = id.String()
	}
	batch := &pgx.Batch{}
	batch.Queue(`INSERT INTO users (id, account, name, password) SELECT i, 'b-' || i, 'Bench ' || i, '-' FROM unnest($1::text[]) AS i ON CONFLICT DO NOTHING`, ids)
	batch.Queue(`
		INSERT INTO friendships (user_id, friend_id, version)
		SELECT $1, f, n FROM unnest($2::text[]) WITH ORDINALITY AS l (f, n)
		UNION ALL SELECT f, $1, 1 FROM unnest($2::text[]) AS f
		ON CONFLICT DO NOTHING`, ann, ids[:s.friends])
	batch.Queue(`INSERT INTO friend_lists (user_id, version) SELECT $1, $2 ON CONFLICT DO NOTHING`, ann, s.friends)
	return ids, db.SendBatch(ctx, batch).Close()
}

func (s *seeded) makeGroup(ctx context.Context, db *pgx.Conn, ann string, people []string) error {
	s.group = "bench" + ann[:11]
	batch := &pgx.Batch{}
	batch.Queue(`INSERT INTO groups (id, name, owner_id, created, members) VALUES ($1, 'Bench', $2, now(), $3) ON CONFLICT DO NOTHING`, s.group, ann, s.members)
	batch.Queue(`
		INSERT INTO group_members (group_id, user_id, role, joined)
		SELECT $1, $2, 'owner', now() UNION ALL SELECT $1, u, 'member', now() FROM unnest($3::text[]) AS u
		ON CONFLICT DO NOTHING`, s.group, ann, people)
	return db.SendBatch(ctx, batch).Close()
}

func (s *seeded) fillInbox(ctx context.Context, db *pgx.Conn, bob string, people []string) error {
	var there int
	var head int64
	const count = `SELECT count(*), coalesce(min(seq), 1) FROM inbox WHERE user_id = $1 AND message LIKE '%"seeded"%'`
	if err := db.QueryRow(ctx, count, bob).Scan(&there, &head); err != nil {
		return err
	}
	if there == s.inbox {
		s.after = head - 1
		return nil
	}
	if err := db.QueryRow(ctx, `SELECT coalesce(max(seq), 0) FROM inbox WHERE user_id = $1`, bob).Scan(&s.after); err != nil {
		return err
	}
	now := im.TimeOf(time.Now().Add(-time.Hour))
	_, err := db.CopyFrom(ctx, pgx.Identifier{"inbox"}, []string{"user_id", "seq", "message_id", "message", "conversation", "class", "revision"},
		pgx.CopyFromSlice(s.inbox, func(i int) ([]any, error) {
			other := people[i%s.conversations]
			at := now + im.Time(i)*1000
			m := im.Message{ID: im.NewMessageID(at), Conversation: im.Direct(bob, other), Time: at, From: other, ClientID: "seeded", Kind: im.KindText, Text: strings.Repeat("x", 100)}
			text, err := json.Marshal(m)
			return []any{bob, s.after + int64(i) + 1, m.ID, string(text), string(m.Conversation), int16(im.ClassUnread), 0}, err
		}))
	return err
}

func (s *seeded) fillHistory(ctx context.Context, db *pgx.Conn, ann, bob string) error {
	s.conversation = im.Direct(ann, bob)
	s.random = [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
	s.step = 1000
	// In this month, for which there is a partition.
	now := time.Now().UTC()
	s.first = im.TimeOf(time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC))
	var there int
	if err := db.QueryRow(ctx, `SELECT count(*) FROM messages WHERE conversation = $1 AND client_id = 'seeded'`, string(s.conversation)).Scan(&there); err != nil || there >= s.history {
		return err
	}
	if _, err := db.Exec(ctx, `DELETE FROM messages WHERE conversation = $1 AND client_id = 'seeded'`, string(s.conversation)); err != nil {
		return err
	}
	from := [...]string{ann, bob}
	_, err := db.CopyFrom(ctx, pgx.Identifier{"messages"}, []string{"conversation", "time", "id", "sender", "client_id", "kind", "text"},
		pgx.CopyFromSlice(s.history, func(i int) ([]any, error) {
			at, id := s.place(i)
			return []any{string(s.conversation), at.Std(), id, from[i%2], "seeded", im.KindText, strings.Repeat("x", 100)}, nil
		}))
	return err
}

func (s *seeded) place(i int) (im.Time, string) {
	at := s.first + im.Time(i)*s.step
	return at, im.MessageID(at, s.random)
}

// cursor returns what message-history takes as the place of the i-th message.
func (s *seeded) cursor(i int) string {
	at, id := s.place(i)
	return cursor.Encode(cursor.Message{Time: at, ID: id})
}
