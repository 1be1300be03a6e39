// Package bots keeps in PostgreSQL what bots have that other users have not:
// tokens and webhooks, with what is to be delivered to these (the tables
// bot_tokens, webhooks and webhook_deliveries). A bot is a row of users, its
// tokens are sessions: it writes to both in the transactions of its own.
package bots

import (
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
)

// A Store is the database with what is asked of bots. It is safe for
// concurrent use.
type Store struct{ *postgres.DB }

// In returns the store of the process's database.
func In(o *proc.Opener) *Store { return New(postgres.In(o)) }

// New returns the store of a database.
func New(db *postgres.DB) *Store { return &Store{db} }

// A Tx is a transaction with what changes webhooks.
type Tx struct{ *postgres.Tx }

// With returns a transaction as one of this area.
func With(tx *postgres.Tx) Tx { return Tx{tx} }
