// Package searches finds messages in PostgreSQL, and keeps the index by which
// it does (the table search_blocks). How a text is compared with a query is
// package words' to say.
package searches

import (
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/messages"
	"github.com/tidings-im/tidings/shared/proc"
)

// A Store is that of messages, with what finds them. It is safe for concurrent
// use.
type Store struct{ *messages.Store }

// In returns the process's store.
func In(o *proc.Opener) *Store { return &Store{messages.In(o)} }

// New returns the store of a database.
func New(db *postgres.DB) *Store { return &Store{messages.New(db)} }
