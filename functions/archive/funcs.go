//go:build !tidings_small

package archive

import (
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/coldstore"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/postgres/catalog"
	"github.com/tidings-im/tidings/shared/postgres/messages"
	"github.com/tidings-im/tidings/shared/proc"
)

var settingAfter = proc.Setting{Name: "ARCHIVE_AFTER", Default: "0", Doc: "how old all messages of a month have to be for it to be archived, such as 8760h, at least 744h. 0 archives nothing"}

// Move makes partitions ahead and archives old ones.
var Move = fn.Every("archive-history", time.Hour, func(o *fn.Opener) fn.Handler {
	m := &mover{store: catalog.In(o), after: age(o), rows: partRows, log: o.Env().Log, metrics: newMetrics()}
	o.Env().Metrics.MustRegister(m.metrics.rows, m.metrics.waiting, m.metrics.behind)
	if coldstore.Configured(o.Env()) {
		objects := proc.Open(o, coldstore.Open)
		m.objects, m.read = objects, &reader{store: m.store, objects: objects, may: coldstore.May}
	} else if m.after > 0 {
		o.Fail(fmt.Errorf("setting %s: is set, and ARCHIVE_URL is not", settingAfter.Name))
	}
	return fn.Timed(m.run)
})

// Read reads archived messages.
var Read = fn.OnEvent("archive-read", event.ArchiveRead, func(o *fn.Opener) fn.Handler {
	r := &reader{store: catalog.In(o), objects: nowhere{}, may: coldstore.May}
	if coldstore.Configured(o.Env()) {
		r.objects = proc.Open(o, coldstore.Open)
	}
	return fn.Answer(r.answer)
}).Holds(24 << 20) // a row group, and what is not in objects yet

// age returns how old the messages are that are archived; 0 is that none are.
func age(o *fn.Opener) time.Duration {
	if o.String(settingAfter) == "0" {
		return 0
	}
	after := o.Duration(settingAfter)
	if o.Err() == nil && after < messages.ArchiveAge {
		o.Fail(fmt.Errorf("setting %s: %s is less than %s (%s)", settingAfter.Name, after, messages.ArchiveAge, settingAfter.Doc))
	}
	return after
}
