package audit

import (
	"context"

	"github.com/tidings-im/tidings/shared/proc"
)

// In returns the process's security log, which is written to its topic too.
func In(o *proc.Opener) *Recorder {
	return proc.Open(o, func(ctx context.Context, env *proc.Env) (*Recorder, error) { return Open(ctx, env, true) })
}
