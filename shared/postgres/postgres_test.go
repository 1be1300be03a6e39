package postgres_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
)

func TestMigratingAgainAndAtOnceDoesNothing(t *testing.T) {
	vars := map[string]string{"POSTGRES_URL": imtest.Postgres(t)}
	var all sync.WaitGroup
	for range 3 {
		env := imtest.Env(t, vars)
		all.Go(func() {
			if err := postgres.Migrate(t.Context(), env); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	db := pgtest.Migrated(t, vars)
	var n int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM users`).Scan(&n); err != nil {
		t.Fatal(err)
	}
}

func TestOpen(t *testing.T) {
	const secret = "hunter2"
	for _, tt := range []struct {
		name string
		vars map[string]string
		want string // in the error
	}{
		{"without a URL it says which setting is missing", nil, "POSTGRES_URL"},
		{"a URL that is none is refused without being shown", map[string]string{"POSTGRES_URL": "postgres://u:" + secret + "@h:notaport/d"}, "POSTGRES_URL"},
		{"a pool of none is refused", map[string]string{"POSTGRES_URL": "postgres://h/d", "POSTGRES_POOL": "0"}, "POSTGRES_POOL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := postgres.Open(t.Context(), imtest.Env(t, tt.vars))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("error = %v, want one about %s", err, tt.want)
			}
		})
	}

	t.Run("a database that is down fails the calls, not the start", func(t *testing.T) {
		db := pgtest.Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": "postgres://u:" + secret + "@127.0.0.1:1/d"}))
		_, _, err := db.UserByAccount(t.Context(), "ann")
		pgtest.Wants(t, err, im.Unavailable)
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds the password: %v", err)
		}
	})
	t.Run("a process has one pool", func(t *testing.T) {
		env := imtest.Env(t, map[string]string{"POSTGRES_URL": "postgres://127.0.0.1:1/d"})
		if a, b := pgtest.Opened(t, env), pgtest.Opened(t, env); a.DB != b.DB {
			t.Error("two pools were opened")
		}
	})
}

func TestP1CommitsAreOnDiskWhateverTheServersDefault(t *testing.T) {
	url := imtest.Postgres(t)
	db := pgtest.Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": url}))
	if _, err := db.Exec(t.Context(), `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ params, want string }{
		{"", "on"},
		{"synchronous_commit=remote_apply", "remote_apply"}, // a site may know better
	} {
		at := url
		if tt.params != "" {
			sep := "?"
			if strings.Contains(url, "?") {
				sep = "&"
			}
			at += sep + tt.params
		}
		db := pgtest.Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": at}))
		var got string
		if err := db.QueryRow(t.Context(), `SHOW synchronous_commit`).Scan(&got); err != nil || got != tt.want {
			t.Errorf("synchronous_commit with %q is %q, %v; want %q", tt.params, got, err, tt.want)
		}
	}
}

func TestWhatPassesIsUnavailable(t *testing.T) {
	url := imtest.Postgres(t)
	db := pgtest.Migrated(t, map[string]string{"POSTGRES_URL": url, "POSTGRES_TIMEOUT": "50ms"})
	ctx := t.Context()

	t.Run("a statement that takes too long", func(t *testing.T) {
		_, err := db.Exec(ctx, `SELECT pg_sleep(10)`)
		pgtest.Wants(t, postgres.Failed(err, "sleeping"), im.Unavailable)
	})
	t.Run("a deadline that passes", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err := db.Exec(ctx, `SELECT pg_sleep(10)`)
		pgtest.Wants(t, postgres.Failed(err, "sleeping"), im.Unavailable)
	})
	t.Run("a server that shuts the connection", func(t *testing.T) {
		_, err := db.Exec(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)
		pgtest.Wants(t, postgres.Failed(err, "ending"), im.Unavailable)
	})
}

func TestStatesHaveTheirKinds(t *testing.T) {
	for code, want := range map[string]im.Kind{
		"08006": im.Unavailable, // connection_failure
		"53300": im.Unavailable, // too_many_connections
		"53100": im.Unavailable, // disk_full
		"57P01": im.Unavailable, // admin_shutdown
		"57P03": im.Unavailable, // cannot_connect_now
		"40001": im.Unavailable, // serialization_failure
		"40P01": im.Unavailable, // deadlock_detected
		"25006": im.Unavailable, // read_only_sql_transaction
		"23505": im.Conflict,    // unique_violation
		"22P05": im.Invalid,     // untranslatable_character
		"42P01": im.Internal,    // undefined_table
	} {
		err := postgres.Failed(&pgconn.PgError{Code: code}, "doing it")
		if got := im.KindOf(err); got != want {
			t.Errorf("SQLSTATE %s is %s, want %s", code, got, want)
		}
	}
}

func TestAServerThatIsKilledAndComesBack(t *testing.T) {
	server := imtest.Start(t, "postgres")
	db := pgtest.Migrated(t, map[string]string{"POSTGRES_URL": server.URL, "POSTGRES_CONNECT_TIMEOUT": "3s"})
	u := im.User{ID: im.NewID(), Account: "ann", Name: "Ann"}
	pgtest.Wants(t, db.CreateUser(t.Context(), u, "hash"), "")

	server.Kill()
	_, _, err := db.UserByAccount(t.Context(), "ann")
	pgtest.Wants(t, err, im.Unavailable)

	server.Restart()
	comesBack(t, db, u)

	server.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, _, err = db.UserByAccount(ctx, "ann")
	pgtest.Wants(t, err, im.Unavailable)

	server.Thaw()
	comesBack(t, db, u)
}

// comesBack waits until the database answers again, with the user it had.
func comesBack(t *testing.T, db *pgtest.DB, u im.User) {
	t.Helper()
	deadline := time.Now().Add(imtest.Patience(t))
	for {
		got, _, err := db.UserByAccount(t.Context(), u.Account)
		if err == nil {
			if got != u {
				t.Errorf("user = %v, want %v", got, u)
			}
			return
		}
		pgtest.Wants(t, err, im.Unavailable)
		if time.Now().After(deadline) {
			t.Fatalf("the pool has not come back: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
