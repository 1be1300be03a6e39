// Package erasures deletes users and bots from PostgreSQL: at once what a
// transaction can reach, and in batches what is left then (the table erasures,
// and of the others the rows of who is deleted). It stands on the areas whose
// rows these are.
package erasures

import (
	"context"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/friends"
	"github.com/tidings-im/tidings/shared/postgres/groups"
	"github.com/tidings-im/tidings/shared/proc"
)

// A Store is the database with what is asked of erasures. It is safe for
// concurrent use.
type Store struct{ *postgres.DB }

// In returns the store of the process's database.
func In(o *proc.Opener) *Store { return New(postgres.In(o)) }

// New returns the store of a database.
func New(db *postgres.DB) *Store { return &Store{db} }

// A Tx is a transaction with what changes who there is.
type Tx struct{ *postgres.Tx }

// LeaveAllGroups is that of package groups.
func (tx Tx) LeaveAllGroups(ctx context.Context, user string) ([]im.Notice, error) {
	return groups.With(tx.Tx).LeaveAllGroups(ctx, user)
}

// RemoveAllFriends is that of package friends.
func (tx Tx) RemoveAllFriends(ctx context.Context, user string) ([]string, error) {
	return friends.With(tx.Tx).RemoveAllFriends(ctx, user)
}

// With returns a transaction as one of this area.
func With(tx *postgres.Tx) Tx { return Tx{tx} }
