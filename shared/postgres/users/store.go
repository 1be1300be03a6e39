// Package users keeps in PostgreSQL who there is and where they are signed in
// (the tables users, former_accounts, sessions, refresh_tokens and walks). What
// it changes takes what hangs on it along: codes and mails of an address that is
// replaced, avatars, the webhooks of bots whose sessions end.
package users

import (
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
)

// A Store is the database with what is asked of users. It is safe for
// concurrent use.
type Store struct{ *postgres.DB }

// In returns the store of the process's database.
func In(o *proc.Opener) *Store { return New(postgres.In(o)) }

// New returns the store of a database.
func New(db *postgres.DB) *Store { return &Store{db} }
