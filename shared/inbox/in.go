package inbox

import "github.com/tidings-im/tidings/shared/proc"

// In returns the store of inboxes, as Open does.
func In(o *proc.Opener) Store { return proc.Open(o, Open) }
