package webpush

import "github.com/tidings-im/tidings/shared/proc"

// In returns the process's sender, nil if Web Push is off, as Open does.
func In(o *proc.Opener) *Sender { return proc.OpenEnv(o, Open) }

// PublicKeyIn returns the key by which browsers subscribe, "" if Web Push is off.
func PublicKeyIn(o *proc.Opener) string { return proc.OpenEnv(o, OpenPublicKey) }
