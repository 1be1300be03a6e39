// Package pgtest is what tests need of PostgreSQL: a database with the methods
// of all areas, people in it, and what is done to them again and again. Nothing
// but tests may import it.
package pgtest

import (
	"context"
	"errors"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/accounts"
	"github.com/tidings-im/tidings/shared/postgres/bots"
	"github.com/tidings-im/tidings/shared/postgres/catalog"
	"github.com/tidings-im/tidings/shared/postgres/conversations"
	"github.com/tidings-im/tidings/shared/postgres/erasures"
	"github.com/tidings-im/tidings/shared/postgres/files"
	"github.com/tidings-im/tidings/shared/postgres/friends"
	"github.com/tidings-im/tidings/shared/postgres/groups"
	"github.com/tidings-im/tidings/shared/postgres/inboxes"
	"github.com/tidings-im/tidings/shared/postgres/messages"
	"github.com/tidings-im/tidings/shared/postgres/notices"
	"github.com/tidings-im/tidings/shared/postgres/notifications"
	"github.com/tidings-im/tidings/shared/postgres/searches"
	"github.com/tidings-im/tidings/shared/postgres/users"
	"github.com/tidings-im/tidings/shared/proc"
)

// Names under which a DB embeds the stores of the areas.
type (
	accountStore      = accounts.Store
	botStore          = bots.Store
	catalogStore      = catalog.Store
	conversationStore = conversations.Store
	erasureStore      = erasures.Store
	fileStore         = files.Store
	friendStore       = friends.Store
	groupStore        = groups.Store
	messageStore      = messages.Store
	noticeStore       = notices.Store
	notificationStore = notifications.Store
	searchStore       = searches.Store
	userStore         = users.Store
)

// A DB is a database with the methods of all areas, for a test whose area needs
// what others have made. What is tested is opened as it is in production.
type DB struct {
	*postgres.DB
	*accountStore
	*botStore
	*catalogStore
	*conversationStore
	*erasureStore
	*fileStore
	*friendStore
	*groupStore
	*messageStore
	*noticeStore
	*notificationStore
	*searchStore
	*userStore
}

// Of returns a database with the methods of all areas.
func Of(db *postgres.DB) *DB {
	return &DB{
		db, accounts.New(db), bots.New(db), catalog.New(db), conversations.New(db), erasures.New(db), files.New(db), friends.New(db),
		groups.New(db), messages.New(db), notices.New(db), notifications.New(db), searches.New(db), users.New(db),
	}
}

// Inbox returns the inboxes in db.
func (db *DB) Inbox() *inboxes.Store { return inboxes.New(db.DB) }

// Change is that of package notices, by a transaction with the methods of all
// areas.
func (db *DB) Change(ctx context.Context,
	f func(context.Context, *Tx) error,
	prepare func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error),
) ([]im.Stale, []im.Pending, error) {
	return db.noticeStore.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, TxOf(tx)) }, prepare)
}

// Names under which a Tx embeds those of the areas.
type (
	botTx          = bots.Tx
	conversationTx = conversations.Tx
	erasureTx      = erasures.Tx
	fileTx         = files.Tx
	friendTx       = friends.Tx
	groupTx        = groups.Tx
	messageTx      = messages.Tx
)

// A Tx is a transaction with the methods of all areas.
type Tx struct {
	*postgres.Tx
	botTx
	conversationTx
	erasureTx
	fileTx
	friendTx
	groupTx
	messageTx
}

// TxOf returns a transaction with the methods of all areas.
func TxOf(tx *postgres.Tx) *Tx {
	return &Tx{
		tx, bots.With(tx), conversations.With(tx), erasures.With(tx), files.With(tx), friends.With(tx), groups.With(tx), messages.With(tx),
	}
}

// What two areas have is that of the lower one, which the other hands on.

// LeaveAllGroups is that of package groups.
func (tx *Tx) LeaveAllGroups(ctx context.Context, user string) ([]im.Notice, error) {
	return tx.groupTx.LeaveAllGroups(ctx, user)
}

// RemoveAllFriends is that of package friends.
func (tx *Tx) RemoveAllFriends(ctx context.Context, user string) ([]string, error) {
	return tx.friendTx.RemoveAllFriends(ctx, user)
}

// RevokeFile is that of package files.
func (tx *Tx) RevokeFile(ctx context.Context, g im.FileGrant) error {
	return tx.fileTx.RevokeFile(ctx, g)
}

// Relations is that of package friends.
func (tx *Tx) Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	return tx.friendTx.Relations(ctx, pairs)
}

// Fresh returns a database of the test's own, migrated.
func Fresh(t testing.TB) *DB {
	t.Helper()
	return Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate)}))
}

// Migrated returns the database of an environment, migrated.
func Migrated(t testing.TB, vars map[string]string) *DB {
	t.Helper()
	env := imtest.Env(t, vars)
	if err := postgres.Migrate(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	return Opened(t, env)
}

// Opened returns the database of a process.
func Opened(t testing.TB, env *proc.Env) *DB {
	t.Helper()
	db, err := Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// Open is postgres.Open.
func Open(ctx context.Context, env *proc.Env) (*DB, error) {
	db, err := postgres.Open(ctx, env)
	if err != nil {
		return nil, err
	}
	return Of(db), nil
}

// Wants fails the test unless err has the kind, or is nil if that is "".
func Wants(t *testing.T, err error, kind im.Kind) {
	t.Helper()
	if kind == "" && err != nil || kind != "" && (err == nil || im.KindOf(err) != kind || !errors.Is(err, kind)) {
		t.Fatalf("error = %v, want kind %q", err, kind)
	}
}
