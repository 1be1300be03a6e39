package pgtest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
)

// Attempt runs f in a transaction whose notices go nowhere.
func Attempt(ctx context.Context, db *DB, f func(context.Context, *Tx) error) error {
	_, _, err := db.Change(ctx, f, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
	return err
}

// Forget deletes a user as user-delete does.
func Forget(t testing.TB, db *DB, user, hash string) (sessions []string, was bool, err error) {
	t.Helper()
	err = Attempt(t.Context(), db, func(ctx context.Context, tx *Tx) (err error) {
		sessions, was, err = tx.ForgetUser(ctx, user, hash)
		return err
	})
	return sessions, was, err
}

// Plenty is a quota of files that nobody fills.
const Plenty = 1 << 40

// NewFile returns a pending file.
func NewFile(owner string, size int64) im.StoredFile {
	now := im.Now()
	return im.StoredFile{
		File: im.File{
			ID: im.NewID(), Name: "a", Size: size, Type: "text/plain", SHA256: strings.Repeat("ab", 32),
			State: im.FilePending, Created: now,
		},
		Owner: owner, Expires: now + 3600e6,
	}
}

// Revised makes a change and returns what it makes stale.
func Revised(ctx context.Context, db *DB, f func(context.Context, *Tx) error) ([]im.Stale, error) {
	stale, _, err := db.Change(ctx, f, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
	return stale, err
}

// Revise is Revised of a change that is made.
func Revise(t testing.TB, db *DB, f func(context.Context, *Tx) error) []im.Stale {
	t.Helper()
	stale, err := Revised(t.Context(), db, f)
	if err != nil {
		t.Fatal(err)
	}
	return stale
}

// BlockUser has a block b.
func BlockUser(t testing.TB, db *DB, a, b string) []im.Stale {
	t.Helper()
	return Revise(t, db, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.LockPair(ctx, a, b); err != nil {
			return err
		}
		_, err := tx.Block(ctx, a, b)
		return err
	})
}

// Sorted returns users in the order in which the database has them.
func Sorted(users ...string) []string { return slices.Sorted(slices.Values(users)) }

// Said returns a message.
func Said(c im.Conversation, from string, at im.Time, text string) im.Message {
	return im.Message{ID: im.NewMessageID(at), Conversation: c, Time: at, From: from, ClientID: "c1", Kind: im.KindText, Text: text}
}

// Changes runs f in a transaction that tells nobody.
func Changes(t testing.TB, db *DB, f func(ctx context.Context, tx *Tx) error) {
	t.Helper()
	_, _, err := db.Change(t.Context(), f, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
}

// Kept adds messages to history.
func Kept(t testing.TB, db *DB, messages ...im.Message) {
	t.Helper()
	if err := db.AppendHistory(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
}

// Empty is m as it is when it was recalled.
func Empty(m im.Message) im.Message {
	m.Text, m.Data, m.Recalled = "", nil, true
	m.Revision++
	return m
}

// People adds users and returns their ids.
func People(t testing.TB, db *DB, n int) []string {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = im.NewID()
		u := im.User{ID: ids[i], Account: "u-" + ids[i], Name: fmt.Sprint("User ", i)}
		if err := db.CreateUser(t.Context(), u, "hash"); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// Scans returns how often each table has been read from end to end.
func Scans(t *testing.T, db *DB) map[string]int64 {
	t.Helper()
	if _, err := db.Exec(t.Context(), `SELECT pg_stat_force_next_flush()`); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query(t.Context(), `SELECT relname, seq_scan FROM pg_stat_user_tables`)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]int64)
	var table string
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&table, &n}, func() error { found[table] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	return found
}

// Token returns the hash of a refresh token.
func Token(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

// Later is when refresh tokens of tests expire.
func Later() time.Time { return time.Now().Add(time.Hour) }

// SignIn makes a session of one of people on a device, whose refresh token is
// named like it.
func SignIn(t testing.TB, db *DB, user, device string) (session string) {
	t.Helper()
	s := im.Session{ID: im.NewID(), User: user, Device: device, Platform: "web", Created: im.Now()}
	_, err := db.CreateSession(t.Context(), s, "hash", Token(user+device), Later(), 100)
	if err != nil {
		t.Fatal(err)
	}
	return s.ID
}

// Count returns the number that a query counts.
func Count(t testing.TB, db *DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Second returns the error of what returns something, too.
func Second[T any](_ T, err error) error { return err }
