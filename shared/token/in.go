package token

import "github.com/tidings-im/tidings/shared/proc"

// IssuerIn returns the process's issuer, as OpenIssuer does.
func IssuerIn(o *proc.Opener) *Issuer { return proc.OpenEnv(o, OpenIssuer) }
