package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
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
	kind  string   // as TYPE says
	value []string // of a hash and of a sorted set in pairs; sorted where it has no order
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
// listed. (Not by DUMP, which the stand-in for Redis has for strings only.)
func (k *kept) dumpOf(name string) (as key, there bool) {
	k.t.Helper()
	ctx := k.t.Context()
	kind, err := k.redis.Type(ctx, name).Result()
	if err != nil {
		k.t.Fatal(err)
	}
	tx := k.redis.TxPipeline()
	ttl := tx.PTTL(ctx, name)
	var read func() ([]string, error)
	switch kind {
	case "none":
		return key{}, false
	case "string":
		cmd := tx.Get(ctx, name)
		read = func() ([]string, error) { v, err := cmd.Result(); return []string{v}, err }
	case "hash":
		cmd := tx.HGetAll(ctx, name)
		read = func() (pairs []string, err error) {
			for _, field := range slices.Sorted(maps.Keys(cmd.Val())) {
				pairs = append(pairs, field, cmd.Val()[field])
			}
			return pairs, cmd.Err()
		}
	case "set":
		cmd := tx.SMembers(ctx, name)
		read = func() ([]string, error) { return slices.Sorted(slices.Values(cmd.Val())), cmd.Err() }
	case "zset":
		cmd := tx.ZRangeWithScores(ctx, name, 0, -1)
		read = func() (pairs []string, err error) {
			for _, z := range cmd.Val() {
				pairs = append(pairs, fmt.Sprint(z.Member), strconv.FormatFloat(z.Score, 'g', -1, 64))
			}
			return pairs, cmd.Err()
		}
	case "list":
		cmd := tx.LRange(ctx, name, 0, -1)
		read = cmd.Result
	default:
		k.t.Fatalf("the key %s is a %s, which is not kept: say how in kept_test.go", name, kind)
	}
	if _, err := tx.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		k.t.Fatal(err)
	}
	value, err := read()
	if errors.Is(err, redis.Nil) || len(value) == 0 {
		return key{}, false
	}
	as = key{kind, value, ttl.Val()}
	if as.ttl < 0 {
		as.ttl = 0 // it never expires
	} else {
		as.ttl = max(as.ttl, time.Millisecond) // 0 would be never
	}
	return as, true
}

// put puts a key back.
func (as key) put(ctx context.Context, pipe redis.Pipeliner, name string) {
	all := make([]any, len(as.value))
	for i, v := range as.value {
		all[i] = v
	}
	switch as.kind {
	case "string":
		pipe.Set(ctx, name, all[0], 0)
	case "hash":
		pipe.HSet(ctx, name, all...)
	case "set":
		pipe.SAdd(ctx, name, all...)
	case "zset":
		args := []any{"ZADD", name}
		for i := 0; i < len(all); i += 2 {
			args = append(args, all[i+1], all[i])
		}
		pipe.Do(ctx, args...)
	case "list":
		pipe.RPush(ctx, name, all...)
	}
	if as.ttl > 0 {
		pipe.PExpire(ctx, name, as.ttl)
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
// calls, and what is done for them would count as a change after it; those that
// tell an owner of a change wait for the clock, which there is none of here.
func (k *kept) restore() {
	k.t.Helper()
	imtest.Until(k.t, "no mail is being sent", func() bool {
		return k.value(`SELECT count(*)::text FROM mails WHERE purpose IN ('verify', 'reset') OR tries > 0 AND due > now()`) == "0"
	})
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
		key.put(ctx, pipe, name)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		k.t.Fatal(fmt.Errorf("putting back what Redis held: %w", err))
	}
}
