// Package friends keeps in PostgreSQL what people are to each other: friends,
// requests, blocks (the tables friendships, friend_lists, friend_tombstones,
// friend_requests, blocks and relation_versions). It does not know what that
// means to messages: im.Relation says so.
package friends

import (
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
)

// A Store is the database with what is asked of friends. It is safe for
// concurrent use.
type Store struct{ *postgres.DB }

// In returns the store of the process's database.
func In(o *proc.Opener) *Store { return New(postgres.In(o)) }

// New returns the store of a database.
func New(db *postgres.DB) *Store { return &Store{db} }

// A Tx is a transaction with what changes friends.
type Tx struct{ *postgres.Tx }

// With returns a transaction as one of this area.
func With(tx *postgres.Tx) Tx { return Tx{tx} }
