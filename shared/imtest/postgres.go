package imtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/proc"
)

var sharedPostgres = shared{kind: postgresql}

func postgresURL() (string, error) {
	if u := os.Getenv("TIDINGS_TEST_POSTGRES_URL"); u != "" {
		return u, nil
	}
	return sharedPostgres.start()
}

// Postgres returns the URL of a database that is empty, and dropped when the
// test ends. The server is shared, and does not wait for its disk.
func Postgres(t testing.TB) string {
	t.Helper()
	server, err := postgresURL()
	if err != nil {
		t.Fatal(err)
	}
	return database(t, server, "")
}

// template is a database that migrate has made the tables of, once for all
// tests of this process.
var template struct {
	once sync.Once
	name string
	err  error
}

// Migrated returns the URL of a database of the test's own like Postgres, with
// the tables that migrate makes: a copy of one in which it made them, which is
// several times faster. All tests of a process have the same migrate.
func Migrated(t testing.TB, migrate func(context.Context, *proc.Env) error) string {
	t.Helper()
	server, err := postgresURL()
	if err != nil {
		t.Fatal(err)
	}
	template.once.Do(func() {
		var own string
		own, _, template.err = makeDatabase(server, "")
		if template.err != nil {
			return
		}
		env := proc.NewEnv(func(k string) string {
			if k == "POSTGRES_URL" {
				return own
			}
			return ""
		}, slog.New(slog.DiscardHandler))
		template.err = errors.Join(migrate(context.Background(), env), env.Close())
		u, err := url.Parse(own)
		if template.err = errors.Join(template.err, err); err == nil {
			template.name = path.Base(u.Path)
		}
	})
	if template.err != nil {
		t.Fatalf("making tables: %v", template.err)
	}
	return database(t, server, template.name)
}

// database makes a database, which is dropped when the test ends.
func database(t testing.TB, server, like string) string {
	t.Helper()
	own, drop, err := makeDatabase(server, like)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(); err != nil {
			t.Error(err)
		}
	})
	return own
}

// makeDatabase makes a database on the server of a URL, empty or like another.
// It returns its URL and what drops it, with whoever is still connected to it.
func makeDatabase(server, like string) (own string, drop func() error, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", nil, fmt.Errorf("reading the URL of PostgreSQL: %w", err)
	}
	name := Name()
	exec := func(statement func(*pgx.Conn) string) error {
		ctx, cancel := context.WithTimeout(context.Background(), startTime)
		defer cancel()
		conn, err := pgx.Connect(ctx, server)
		if err != nil {
			return fmt.Errorf("connecting to PostgreSQL: %w", err)
		}
		defer conn.Close(ctx)
		sql := statement(conn)
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
		return nil
	}
	create := func(conn *pgx.Conn) string {
		sql := "create database " + name
		if like == "" {
			return sql
		}
		if conn.PgConn().ParameterStatus("server_version") >= "15" { // 14 copies files anyway
			sql += " strategy file_copy"
		}
		return sql + " template " + like
	}
	if err := exec(create); err != nil {
		return "", nil, err
	}
	u.Path = "/" + name
	drop = func() error {
		return exec(func(*pgx.Conn) string { return "drop database if exists " + name + " with (force)" })
	}
	return u.String(), drop, nil
}
