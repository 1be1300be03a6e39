// Package conversations keeps in PostgreSQL what a user has done to a
// conversation: read, pinned, muted, hidden (the table conversation_states). It
// does not know what was said in it.
package conversations

import (
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
)

// A Store is the database with what is asked of conversations. It is safe for
// concurrent use.
type Store struct{ *postgres.DB }

// In returns the store of the process's database.
func In(o *proc.Opener) *Store { return New(postgres.In(o)) }

// New returns the store of a database.
func New(db *postgres.DB) *Store { return &Store{db} }

// A Tx is a transaction with what changes conversations.
type Tx struct{ *postgres.Tx }

// With returns a transaction as one of this area.
func With(tx *postgres.Tx) Tx { return Tx{tx} }
