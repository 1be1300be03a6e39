// Package notices keeps in PostgreSQL what others are to be told of changes,
// from when these are made until it is published (the table outbox). It does
// not know what is changed.
package notices

import "github.com/tidings-im/tidings/shared/postgres"

// A Store is the database with what is asked of notices. It is safe for
// concurrent use.
type Store struct{ *postgres.DB }

// New returns the store of a database.
func New(db *postgres.DB) *Store { return &Store{db} }
