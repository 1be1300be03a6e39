// Package groups keeps in PostgreSQL groups and who is in them (the tables
// groups, group_members, group_departures, group_bans and group_join_requests).
// It does not know who may change them: im.Rights says so.
package groups

import (
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
)

// A Store is the database with what is asked of groups. It is safe for
// concurrent use.
type Store struct{ *postgres.DB }

// In returns the store of the process's database.
func In(o *proc.Opener) *Store { return New(postgres.In(o)) }

// New returns the store of a database.
func New(db *postgres.DB) *Store { return &Store{db} }

// A Tx is a transaction with what changes groups.
type Tx struct{ *postgres.Tx }

// With returns a transaction as one of this area.
func With(tx *postgres.Tx) Tx { return Tx{tx} }
