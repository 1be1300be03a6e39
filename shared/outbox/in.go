package outbox

import (
	"context"
	"fmt"
	"reflect"

	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
)

// In returns the process's outbox, as Open does.
func In(o *proc.Opener) *Outbox { return proc.Open(o, Open) }

// ChangesIn returns what makes changes by the process's outbox, of code that
// knows of a transaction no more than Tx: an interface of what an area makes of
// it by with.
func ChangesIn[Tx, Of any](o *proc.Opener, with func(*postgres.Tx) Of) func(context.Context, func(context.Context, Tx) error) error {
	box := In(o)
	if _, ok := any(*new(Of)).(Tx); !ok {
		o.Fail(fmt.Errorf("%s is no %s", reflect.TypeFor[Of](), reflect.TypeFor[Tx]()))
	}
	return func(ctx context.Context, f func(context.Context, Tx) error) error {
		return box.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, any(with(tx)).(Tx)) })
	}
}
