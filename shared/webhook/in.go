package webhook

import "github.com/tidings-im/tidings/shared/proc"

// In returns the process's sender, as Open does.
func In(o *proc.Opener) *Sender { return proc.OpenEnv(o, Open) }

// RuleIn returns which URLs users may name, as OpenRule does.
func RuleIn(o *proc.Opener) Rule { return proc.OpenEnv(o, OpenRule) }
