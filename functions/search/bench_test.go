package search

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
)

type unlimited struct{}

func (unlimited) Allow(context.Context, string) error { return nil }

// BenchmarkSearch searches 1,000,000 messages of a year, half of them Chinese,
// in 500 groups and 1,000 direct conversations of one user, of whom one group
// has 300,000. Beside the mean it reports percentiles.
func BenchmarkSearch(b *testing.B) {
	const messages = 1_000_000
	url := imtest.Postgres(b)
	env := imtest.Env(b, map[string]string{"POSTGRES_URL": url})
	if err := postgres.Migrate(b.Context(), env); err != nil {
		b.Fatal(err)
	}
	db, err := pgtest.Open(b.Context(), env)
	if err != nil {
		b.Fatal(err)
	}
	conn, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(b.Context()))
	me := im.NewID()
	var conversations []im.Conversation
	var groups, others []string
	for range 500 {
		g := im.NewID()
		groups, conversations = append(groups, g), append(conversations, im.Group(g))
	}
	for range 1000 {
		o := im.NewID()
		others, conversations = append(others, o), append(conversations, im.Direct(me, o))
	}
	big := conversations[0]
	for _, q := range []struct {
		sql  string
		args []any
	}{
		{`INSERT INTO users (id, account, name, password) SELECT i, i, i, '' FROM unnest($1::text[]) AS i`, []any{append(others, me)}},
		{`INSERT INTO groups (id, name, owner_id, created) SELECT i, 'g', $2, now() FROM unnest($1::text[]) AS i`, []any{groups, me}},
		{`INSERT INTO group_members (group_id, user_id, role, joined) SELECT i, $2, 'owner', now() FROM unnest($1::text[]) AS i`, []any{groups, me}},
		{`INSERT INTO direct_conversations (user_id, conversation) SELECT $2, c FROM unnest($1::text[]) AS c`, []any{conversations[500:], me}},
	} {
		if _, err := conn.Exec(b.Context(), q.sql, q.args...); err != nil {
			b.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(random, 1.1, 3, 20_000)
	say := func(i int) string {
		var s strings.Builder
		for range 4 + random.IntN(12) {
			switch n := zipf.Uint64(); {
			case i%2 == 0: // a word of two characters
				s.WriteRune(rune(0x4e00 + n%6000))
				s.WriteRune(rune(0x4e00 + n*31%6000))
			default:
				fmt.Fprintf(&s, "%s ", word(n))
			}
		}
		if i%3 == 0 {
			s.WriteString("好的")
		}
		if i == messages/3 {
			s.WriteString(" xylophone 鑫鱻")
		}
		return s.String()
	}
	began := im.Now() - 365*day
	if _, err := conn.CopyFrom(b.Context(), pgx.Identifier{"messages"}, []string{"conversation", "time", "id", "sender", "client_id", "kind", "text"},
		pgx.CopyFromSlice(messages, func(i int) ([]any, error) {
			c := big
			if i%10 >= 3 {
				c = conversations[random.IntN(len(conversations))]
			}
			at := began + im.Time(i)*(365*day/messages)
			return []any{string(c), at.Std(), im.NewMessageID(at), me, "c", im.KindText, say(i)}, nil
		})); err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Exec(b.Context(), `ANALYZE`); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	for done := false; !done; {
		if done, err = db.IndexSearch(b.Context(), perStep); err != nil {
			b.Fatal(err)
		}
	}
	var size string
	var blocks int
	if err := conn.QueryRow(b.Context(), `SELECT pg_size_pretty(pg_total_relation_size('search_blocks')), (SELECT count(*) FROM search_blocks)`).Scan(&size, &blocks); err != nil {
		b.Fatal(err)
	}
	b.Logf("indexing %d messages took %v; %d blocks, %s", messages, time.Since(start), blocks, size)
	do := search(db, unlimited{})
	for _, tt := range []struct {
		name string
		req  request
		want int
	}{
		{"everywhere: a word of one message in three", request{Query: "好的"}, 20},
		{"everywhere: one character", request{Query: "的"}, 20},
		{"everywhere: a word of one message", request{Query: "xylophone"}, 1},
		{"everywhere: two characters of one message", request{Query: "鑫鱻"}, 1},
		{"everywhere: a word of none", request{Query: "quetzalcoatl"}, 0},
		{"everywhere: two words", request{Query: word(40) + " " + word(90)}, -1},
		{"in 300,000: a word of one in three", request{Query: "好的", Conversation: big}, 20},
		{"in 300,000: a word of none", request{Query: "quetzalcoatl", Conversation: big}, 0},
		{"in a small one: a word", request{Query: word(20), Conversation: conversations[900]}, -1},
	} {
		b.Run(tt.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				got, err := do(b.Context(), im.Caller{User: me}, tt.req)
				if n := len(got.Messages); err != nil || tt.want >= 0 && n != tt.want {
					b.Fatalf("found %d, and then %q, %v", n, got.Next, err)
				}
				took = append(took, time.Since(start))
			}
			slices.SortFunc(took, cmp.Compare)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// word returns the n-th of some made-up words.
func word(n uint64) string {
	var s strings.Builder
	for range 3 {
		s.WriteByte("bcdfghklmnprstvz"[n%16])
		s.WriteByte("aeiou"[n/16%5])
		n = n*2654435761 + 97
	}
	return s.String()
}
