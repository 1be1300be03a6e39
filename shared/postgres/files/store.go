// Package files keeps in PostgreSQL which files there are and who may have them
// (the tables files, file_usage, file_grants, file_sweeps and avatars). It looks
// into group_members for who may have one, and into messages for which were
// sent. It does not know where the bytes are.
package files

import (
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
)

// A Store is the database with what is asked of files. It is safe for
// concurrent use.
type Store struct{ *postgres.DB }

// In returns the store of the process's database.
func In(o *proc.Opener) *Store { return New(postgres.In(o)) }

// New returns the store of a database.
func New(db *postgres.DB) *Store { return &Store{db} }

// A Tx is a transaction with what changes files.
type Tx struct{ *postgres.Tx }

// With returns a transaction as one of this area.
func With(tx *postgres.Tx) Tx { return Tx{tx} }
