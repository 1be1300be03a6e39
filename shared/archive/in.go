package archive

import "github.com/tidings-im/tidings/shared/proc"

// In returns the client of archived messages, as Open does.
func In(o *proc.Opener) *Client { return proc.Open(o, Open) }
