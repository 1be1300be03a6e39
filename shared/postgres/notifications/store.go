// Package notifications keeps in PostgreSQL which devices are to be notified
// of what, and how they are reached by Web Push (the tables notifications and
// push_subscriptions). It reads whom sessions belong to, who has muted or blocked
// whom, and names.
package notifications

import (
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
)

// A Store is the database with what is asked of notifications. It is safe for
// concurrent use.
type Store struct{ *postgres.DB }

// In returns the store of the process's database.
func In(o *proc.Opener) *Store { return New(postgres.In(o)) }

// New returns the store of a database.
func New(db *postgres.DB) *Store { return &Store{db} }
