package postgres_test

import (
	"fmt"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
)

// durable is a database that syncs its disk, unlike the one that tests share.
func durable(b *testing.B) *pgtest.DB {
	return pgtest.Migrated(b, map[string]string{"POSTGRES_URL": imtest.Start(b, "postgres").URL})
}

const hundred = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

func BenchmarkInboxInsert(b *testing.B) {
	in := durable(b).Inbox()
	users := make([]string, 1000)
	for i := range users {
		users[i] = fmt.Sprintf("user%012d", i)
	}
	for _, size := range []int{1, 50, 500, 2000} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) {
			heads, err := in.Heads(b.Context(), users)
			if err != nil {
				b.Fatal(err)
			}
			next := 0
			for b.Loop() {
				batch := make([]im.Entry, size)
				id := im.NewMessageID(im.Now())
				for i := range batch {
					if next%len(users) == 0 {
						id = im.NewMessageID(im.Now())
					}
					u := users[next%len(users)]
					next++
					heads[u]++
					batch[i] = im.Entry{User: u, Seq: heads[u], ID: id, Message: []byte(`{"id":"` + id + `","conversation":"d:aaaaaaaaaaaaaaaa:bbbbbbbbbbbbbbbb","time":"2026-11-01T00:00:00.000000Z","from":"aaaaaaaaaaaaaaaa","client_id":"abcdefgh","kind":"text","text":"` + hundred + `"}`)}
				}
				if _, err := in.Insert(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func BenchmarkAppendHistory(b *testing.B) {
	db := durable(b)
	conversations := make([]im.Conversation, 50)
	for i := range conversations {
		conversations[i] = im.Direct(im.NewID(), im.NewID())
	}
	for _, size := range []int{1, 50, 500} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) {
			at := im.Now()
			for b.Loop() {
				batch := make([]im.Message, size)
				for i := range batch {
					at++
					batch[i] = pgtest.Said(conversations[int(at)%len(conversations)], "aaaaaaaaaaaaaaaa", at, hundred)
				}
				if err := db.AppendHistory(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
