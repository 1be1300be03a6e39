package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/imtest"
)

// kept is what PostgreSQL and Redis held at a moment, to which they can be put
// back: so that each of many tests begins with the same world without making
// it anew. It also tells whether anything has changed since.
type kept struct {
	t      *testing.T
	db     *pgx.Conn
	redis  *redis.Client
	tables []string
	dump   map[string]key
	was    string // digest of the tables
}

type key struct {
	value string
	ttl   time.Duration
}

// openStores connects to the stores of a system.
func openStores(t *testing.T, vars map[string]string) *kept {
	t.Helper()
	db, err := pgx.Connect(t.Context(), vars["POSTGRES_URL"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(context.WithoutCancel(t.Context())) })
	opt, err := redis.ParseURL(vars["REDIS_URL"])
	if err != nil {
		t.Fatal(err)
	}
	cache := redis.NewClient(opt)
	t.Cleanup(func() { cache.Close() })
	return &kept{t: t, db: db, redis: cache}
}

func (k *kept) exec(sql string, args ...any) {
	k.t.Helper()
	if _, err := k.db.Exec(k.t.Context(), sql, args...); err != nil {
		k.t.Fatalf("%.200s: %v", sql, err)
	}
}

// value returns what a query of one column and row finds.
func (k *kept) value(sql string, args ...any) (s string) {
	k.t.Helper()
	if err := k.db.QueryRow(k.t.Context(), sql, args...).Scan(&s); err != nil {
		k.t.Fatalf("%.200s: %v", sql, err)
	}
	return s
}

// forget deletes keys of Redis.
func (k *kept) forget(pattern string) {
	k.t.Helper()
	keys, err := k.redis.Keys(k.t.Context(), pattern).Result()
	if err == nil && len(keys) > 0 {
		err = k.redis.Del(k.t.Context(), keys...).Err()
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

// keep remembers how things are now. Who writes a notice into the outbox is
// counted from here on, even if it is published and gone again.
func (k *kept) keep() {
	k.t.Helper()
	rows, err := k.db.Query(k.t.Context(), `
		SELECT relname FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND relname NOT LIKE 'goose%'
		ORDER BY 1`)
	if err != nil {
		k.t.Fatal(err)
	}
	if k.tables, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		k.t.Fatal(err)
	}
	k.exec(`CREATE SCHEMA kept`)
	k.exec(`CREATE SEQUENCE kept.notices`)
	k.exec(`SELECT nextval('kept.notices')`)
	k.exec(`CREATE FUNCTION kept.count() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN PERFORM nextval(''kept.notices''); RETURN NULL; END'`)
	k.exec(`CREATE TRIGGER kept AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION kept.count()`)
	for _, table := range k.tables {
		k.exec(`CREATE TABLE kept."` + table + `" AS TABLE public."` + table + `"`)
	}
	k.was = k.digest()
	k.dump = make(map[string]key)
	names, err := k.redis.Keys(k.t.Context(), "*").Result()
	if err != nil {
		k.t.Fatal(err)
	}
	for _, name := range names {
		if dumped, there := k.dumpOf(name); there {
			k.dump[name] = dumped
		}
	}
}

// dumpOf returns a key of Redis as it is, unless it has expired since it was
// listed.
func (k *kept) dumpOf(name string) (as key, there bool) {
	k.t.Helper()
	tx := k.redis.TxPipeline()
	ttl, value := tx.PTTL(k.t.Context(), name), tx.Dump(k.t.Context(), name)
	if _, err := tx.Exec(k.t.Context()); err != nil && !errors.Is(err, redis.Nil) {
		k.t.Fatal(err)
	}
	switch left := ttl.Val(); {
	case errors.Is(value.Err(), redis.Nil):
		return key{}, false
	case left < 0: // it never expires
		return key{value.Val(), 0}, true
	default: // 0 would be never
		return key{value.Val(), max(left, time.Millisecond)}, true
	}
}

// digest returns a hash of all rows of all tables.
func (k *kept) digest() string {
	k.t.Helper()
	var each []string
	for _, table := range k.tables {
		each = append(each, `(SELECT coalesce(md5(string_agg(t::text, E'\n' ORDER BY t::text)), '-') FROM public."`+table+`" t)`)
	}
	return k.value(`SELECT concat_ws(' ', ` + strings.Join(each, ", ") + `)`)
}

// notices returns how many notices were written since keep, and one.
func (k *kept) notices() string {
	k.t.Helper()
	return k.value(`SELECT last_value FROM kept.notices`)
}

// changed returns the tables that are not as they were kept.
func (k *kept) changed() []string {
	k.t.Helper()
	var names []string
	was := strings.Fields(k.was)
	for i, now := range strings.Fields(k.digest()) {
		if now != was[i] {
			names = append(names, k.tables[i])
		}
	}
	return names
}

// restore puts everything back. Mails that were asked for are sent beside the
// calls, and what is done for them would count as a change after it.
func (k *kept) restore() {
	k.t.Helper()
	imtest.Until(k.t, "no mail waits to be sent", func() bool { return k.value(`SELECT count(*)::text FROM mails`) == "0" })
	ctx := k.t.Context()
	err := pgx.BeginFunc(ctx, k.db, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`SET LOCAL session_replication_role = replica`) // neither triggers nor foreign keys
		for _, table := range k.tables {
			batch.Queue(`DELETE FROM public."` + table + `"`)
			batch.Queue(`INSERT INTO public."` + table + `" OVERRIDING SYSTEM VALUE SELECT * FROM kept."` + table + `"`)
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		k.t.Fatal(err)
	}
	pipe := k.redis.Pipeline()
	pipe.FlushDB(ctx)
	for name, key := range k.dump {
		pipe.Restore(ctx, name, key.ttl, key.value)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		k.t.Fatal(fmt.Errorf("putting back what Redis held: %w", err))
	}
}
