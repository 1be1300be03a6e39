// Package catalog keeps in PostgreSQL the catalog of the archive, and moves
// months of history there (the tables archives, archive_parts, archive_groups and
// archive_late, and the partitions of messages). What became of messages that are
// archived is package messages' to write, but for what AddPart and MoveLate find.
// It does not know what is in an object.
package catalog

import (
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/messages"
	"github.com/tidings-im/tidings/shared/proc"
)

// A Store is that of messages, with what is asked of their archive. It is safe
// for concurrent use.
type Store struct{ *messages.Store }

// In returns the process's store.
func In(o *proc.Opener) *Store { return &Store{messages.In(o)} }

// New returns the store of a database.
func New(db *postgres.DB) *Store { return &Store{messages.New(db)} }
