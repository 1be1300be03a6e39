package vault

import "github.com/tidings-im/tidings/shared/proc"

// In returns the process's vault, as Open does.
func In(o *proc.Opener) *Vault { return proc.OpenEnv(o, Open) }
