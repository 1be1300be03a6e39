package archive

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

// What moving a million messages costs, and then the oldest page of a
// conversation among them: alone, and through all of PostgreSQL, the catalog and
// the object store.
//
//	go test -run - -bench Archive -benchtime 300x ./functions/archive
func BenchmarkArchive(b *testing.B) {
	const rows, groups = 1_000_000, 2000
	w := newWorld(b)
	m := w.mover()
	m.rows = partRows
	for _, months := range []int{14, 15, 16, 17} {
		w.exec(`
			INSERT INTO messages (conversation, time, id, sender, client_id, kind, text)
			SELECT 'g:' || translate(lpad((i % $3)::text, 16, 'a'), '0189', 'wxyz'), t, (lpad(to_hex((extract(epoch FROM t) * 1000)::bigint), 12, '0') || '7000' || lpad(to_hex(i), 16, '8'))::uuid,
				'aaaaaaaaaaaaaaaa', 'c' || i, 'text', 'message ' || i || ' ' || md5(i::text) || md5((i + 1)::text) || ' of a conversation'
			FROM generate_series(1, $2::int) AS i, LATERAL (SELECT $1::timestamptz + i * interval '8 seconds' AS t) AS x`,
			month(ago(months), 0).Starts.Std(), rows/4, groups)
	}
	start := time.Now()
	if err := m.run(b.Context()); err != nil {
		b.Fatal(err)
	}
	took := time.Since(start)
	if n := w.count(`SELECT coalesce(sum(rows), 0)::int FROM archive_parts`); n != rows {
		b.Fatalf("%d messages are archived", n)
	}
	bytes := w.count(`SELECT sum(bytes)::int FROM archive_parts`)
	b.Logf("%d messages were archived in %s: %.0f/s, %d bytes each", rows, took.Round(time.Second), rows/took.Seconds(), bytes/rows)
	r := w.reader()
	for _, page := range []struct {
		name string
		ask  event.ArchiveAsk
	}{
		{"oldest page", event.ArchiveAsk{Limit: 50}},
		{"page at the border", event.ArchiveAsk{Limit: 50, From: last, Backwards: true}},
		{"page that has nothing before it", event.ArchiveAsk{Limit: 50, From: im.Place{Time: month(ago(17), 0).Starts}, Backwards: true}},
	} {
		b.Run(page.name, func(b *testing.B) {
			var all []time.Duration
			for i := range b.N {
				ask := page.ask
				ask.Conversation, ask.User = im.Group(pad(i*7919%groups)), ann
				start := time.Now()
				a, err := r.one(b.Context(), ask)
				all = append(all, time.Since(start))
				if err != nil || len(a.Messages) != 50 && ask.From.Time != month(ago(17), 0).Starts {
					b.Fatalf("%d messages, %v", len(a.Messages), err)
				}
			}
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// pad returns the id of the n-th group.
func pad(n int) string {
	s := strings.NewReplacer("0", "w", "1", "x", "8", "y", "9", "z").Replace(fmt.Sprint(n))
	return strings.Repeat("a", 16-len(s)) + s
}
