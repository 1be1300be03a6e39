package relay

import (
	"context"
	"errors"
	"io"

	"github.com/tidings-im/tidings/shared/proc"
)

func replay(ctx context.Context, env *proc.Env, args []string, out io.Writer) error {
	return errors.New("not built yet")
}
