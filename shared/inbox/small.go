//go:build tidings_small

package inbox

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/shared/proc"
)

var errSmall = errors.New("this program was compiled with the tag tidings_small, without the driver of MongoDB: compile it without, or set INBOX_STORE=postgres")

func prepareMongoDB(context.Context, *proc.Env) error { return errSmall }

func openMongoDB(context.Context, *proc.Env) (Store, error) { return nil, errSmall }
