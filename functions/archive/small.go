//go:build tidings_small

package archive

import (
	"context"
	"errors"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/proc"
)

// Move and Read are those of a program that links neither Parquet nor a client
// of S3. They have to run in another.
var (
	Move = fn.Func{Name: "archive-history", Every: time.Hour, New: elsewhere}
	Read = fn.Func{Name: "archive-read", Accepts: event.ArchiveRead, New: elsewhere}
)

func elsewhere(context.Context, *proc.Env) (fn.Handler, error) {
	return fn.Handler{}, errors.New("this program was compiled with the tag tidings_small, without the archive: compile it without")
}
