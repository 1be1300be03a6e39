package imtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
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
	own, drop, err := makeDatabase(server)
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

// makeDatabase makes a database on the server of a URL. It returns its URL and
// what drops it, with whoever is still connected to it.
func makeDatabase(server string) (own string, drop func() error, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", nil, fmt.Errorf("reading the URL of PostgreSQL: %w", err)
	}
	name := Name()
	exec := func(sql string) error {
		ctx, cancel := context.WithTimeout(context.Background(), startTime)
		defer cancel()
		conn, err := pgx.Connect(ctx, server)
		if err != nil {
			return fmt.Errorf("connecting to PostgreSQL: %w", err)
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
		return nil
	}
	if err := exec("create database " + name); err != nil {
		return "", nil, err
	}
	u.Path = "/" + name
	return u.String(), func() error { return exec("drop database if exists " + name + " with (force)") }, nil
}
