//go:build !tidings_small

package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/coldstore"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
)

var settingAfter = proc.Setting{Name: "ARCHIVE_AFTER", Default: "0", Doc: "how old all messages of a month have to be for it to be archived, such as 8760h, at least 744h. 0 archives nothing"}

// Move makes partitions ahead and archives old ones.
var Move = fn.Func{
	Name:  "archive-history",
	Every: time.Hour,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		after, afterErr := age(env)
		if err := errors.Join(dbErr, afterErr); err != nil {
			return fn.Handler{}, err
		}
		m := &mover{store: db, after: after, rows: partRows, log: env.Log, metrics: newMetrics()}
		env.Metrics.MustRegister(m.metrics.rows, m.metrics.waiting, m.metrics.behind)
		if coldstore.Configured(env) {
			objects, err := coldstore.Open(ctx, env)
			if err != nil {
				return fn.Handler{}, err
			}
			m.objects, m.read = objects, &reader{store: db, objects: objects, may: coldstore.May}
		} else if after > 0 {
			return fn.Handler{}, fmt.Errorf("setting %s: is set, and ARCHIVE_URL is not", settingAfter.Name)
		}
		return fn.Timed(m.run), nil
	},
}

// Read reads archived messages.
var Read = fn.Func{
	Name:    "archive-read",
	Accepts: event.ArchiveRead,
	Memory:  24 << 20, // a row group, and what is not in objects yet
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, err := postgres.Open(ctx, env)
		if err != nil {
			return fn.Handler{}, err
		}
		r := &reader{store: db, objects: nowhere{}, may: coldstore.May}
		if coldstore.Configured(env) {
			if r.objects, err = coldstore.Open(ctx, env); err != nil {
				return fn.Handler{}, err
			}
		}
		return fn.Answer(r.answer), nil
	},
}

// age returns how old the messages are that are archived; 0 is that none are.
func age(env *proc.Env) (time.Duration, error) {
	set := env.Settings()
	if set.String(settingAfter) == "0" {
		return 0, nil
	}
	after := set.Duration(settingAfter)
	if err := set.Err(); err != nil {
		return 0, err
	}
	if after < postgres.ArchiveAge {
		return 0, fmt.Errorf("setting %s: %s is less than %s (%s)", settingAfter.Name, after, postgres.ArchiveAge, settingAfter.Doc)
	}
	return after, nil
}
