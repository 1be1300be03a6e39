// Package accounts keeps in PostgreSQL what a user is known by beyond a
// password: accounts elsewhere, a second factor, codes and mails to an address
// that is proved (the tables identities, second_factors, recovery_codes,
// email_codes and mails). What it changes of the row of a user and of their
// sessions is package users' to say, in its transaction.
package accounts

import (
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
)

// A Store is the database with what is asked of accounts. It is safe for
// concurrent use.
type Store struct{ *postgres.DB }

// In returns the store of the process's database.
func In(o *proc.Opener) *Store { return New(postgres.In(o)) }

// New returns the store of a database.
func New(db *postgres.DB) *Store { return &Store{db} }
