// Package inboxes keeps in PostgreSQL the inboxes of users, where the site
// chooses so (the table inbox). It does not know how an entry comes by its seq.
package inboxes

import "github.com/tidings-im/tidings/shared/postgres"

// A Store keeps the inboxes of all users in a table. It is held to the
// conformance test of package inboxtest. It is safe for concurrent use.
type Store struct{ *postgres.DB }

// New returns the store of a database.
func New(db *postgres.DB) *Store { return &Store{db} }
