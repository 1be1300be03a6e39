package postgres

import "github.com/tidings-im/tidings/shared/proc"

// In returns the process's database, as Open does.
func In(o *proc.Opener) *DB { return proc.Open(o, Open) }
