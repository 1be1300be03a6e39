// Package messages keeps in PostgreSQL what was said (the tables messages,
// reactions, reaction_counts, deleted_messages, direct_conversations and, of
// messages that are archived, archive_changes). In the transactions of a message
// it also writes what came late (archive_late, of package catalog) and what the
// index of searches has overtaken (search_blocks, of package searches), and reads
// who may speak (groups, group_members, group_departures).
package messages

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/files"
	"github.com/tidings-im/tidings/shared/postgres/friends"
	"github.com/tidings-im/tidings/shared/proc"
)

// A Store is the database with what is asked of messages. It is safe for
// concurrent use.
type Store struct {
	*postgres.DB
	listed remembered // direct conversations that their users' searches know
}

// In returns the process's store, which is one: it remembers what is listed.
func In(o *proc.Opener) *Store {
	db := postgres.In(o)
	return proc.ShareIn(o, fmt.Sprintf("messages of %p", db), func() (*Store, func() error, error) { return New(db), nil, nil })
}

// New returns the store of a database.
func New(db *postgres.DB) *Store { return &Store{DB: db} }

// A Tx is a transaction with what changes messages.
type Tx struct{ *postgres.Tx }

// RevokeFile is that of package files.
func (tx Tx) RevokeFile(ctx context.Context, g im.FileGrant) error {
	return files.With(tx.Tx).RevokeFile(ctx, g)
}

// Relations is that of package friends.
func (tx Tx) Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	return friends.With(tx.Tx).Relations(ctx, pairs)
}

// With returns a transaction as one of this area.
func With(tx *postgres.Tx) Tx { return Tx{tx} }
