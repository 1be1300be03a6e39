package s3

import "github.com/tidings-im/tidings/shared/proc"

// In returns the store of files, as Open does.
func In(o *proc.Opener) *Store { return proc.Open(o, Open) }
