// Package postgres opens PostgreSQL, which keeps who there is and what was said,
// and migrates its tables. What is asked of the tables, and changes them, is in
// the packages beneath it, one for each area: they know the rows; they do not
// know who may read or write them, nor where messages come from.
//
// The errors of all of these have a kind wherever one is known. Unavailable means
// that the same call may succeed later: the server is down, full, switching over
// or chose this transaction to break a tie.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingURL     = proc.Setting{Name: "POSTGRES_URL", Doc: "PostgreSQL, such as postgres://user:password@host:5432/tidings; parameters of pgx and of the session may follow (a pooler has to let statement_timeout and synchronous_commit pass)", Need: true, Secret: true}
	settingPool    = proc.Setting{Name: "POSTGRES_POOL", Default: "10", Doc: "most connections that a process holds to PostgreSQL"}
	settingTimeout = proc.Setting{Name: "POSTGRES_TIMEOUT", Default: "10s", Doc: "how long PostgreSQL works at one statement before it gives up (statement_timeout); migrations are exempt"}
	settingConnect = proc.Setting{Name: "POSTGRES_CONNECT_TIMEOUT", Default: "3s", Doc: "how long connecting to PostgreSQL may take"}
)

// DB is a pool of connections to one database. It is safe for concurrent use.
type DB struct {
	pool    *pgxpool.Pool
	changes chan struct{} // of InTx: as many at a time as it has room
	hold    Hold          // of accounts of deleted users
}

// Open returns the process's pool on the database at POSTGRES_URL. Nothing is
// connected yet: a database that is down fails the calls, not the start.
func Open(_ context.Context, env *proc.Env) (*DB, error) {
	config, err := settings(env)
	if err != nil {
		return nil, err
	}
	hold, err := holdOf(env)
	if err != nil {
		return nil, err
	}
	return proc.Share(env, "postgres "+config.ConnString(), func() (*DB, func() error, error) {
		// The pool outlives the context of whoever opens it first.
		pool, err := pgxpool.NewWithConfig(context.Background(), config)
		if err != nil {
			return nil, nil, fmt.Errorf("opening PostgreSQL: %w", err)
		}
		if err := observe(env, pool); err != nil {
			pool.Close()
			return nil, nil, err
		}
		return &DB{pool: pool, changes: make(chan struct{}, max(1, config.MaxConns/2)), hold: hold}, func() error { pool.Close(); return nil }, nil
	})
}

func settings(env *proc.Env) (*pgxpool.Config, error) {
	env.Uses("postgres")
	set := env.Settings()
	url, size := set.String(settingURL), set.Int(settingPool, 1)
	statement, connect := set.Duration(settingTimeout), set.Duration(settingConnect)
	if err := set.Err(); err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil { // it may quote the URL, and with it the password
		return nil, fmt.Errorf("setting %s: is not a URL as PostgreSQL's clients take them (%s)", settingURL.Name, settingURL.Doc)
	}
	config.MaxConns = int32(size)
	config.MaxConnIdleTime = 5 * time.Minute
	config.MaxConnLifetime = time.Hour
	config.MaxConnLifetimeJitter = 10 * time.Minute
	config.ConnConfig.ConnectTimeout = connect
	for name, value := range map[string]string{
		"application_name":   "tidings",
		"statement_timeout":  strconv.FormatInt(statement.Milliseconds(), 10),
		"synchronous_commit": "on", // what is committed may be gone after a crash otherwise, whatever the server's own default
	} {
		if _, set := config.ConnConfig.RuntimeParams[name]; !set {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	return config, nil
}

// Query runs a statement that returns rows.
func (db *DB) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return db.pool.Query(ctx, sql, args...)
}

// QueryRow runs a statement that returns a row.
func (db *DB) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return db.pool.QueryRow(ctx, sql, args...)
}

// Exec runs a statement.
func (db *DB) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return db.pool.Exec(ctx, sql, args...)
}

// SendBatch runs statements by one round trip and in one transaction.
func (db *DB) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return db.pool.SendBatch(ctx, b)
}

// Begin begins a transaction, as pgx.BeginFunc asks for it.
func (db *DB) Begin(ctx context.Context) (pgx.Tx, error) { return db.pool.Begin(ctx) }

// BeginTx begins a transaction, as pgx.BeginTxFunc asks for it.
func (db *DB) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	return db.pool.BeginTx(ctx, o)
}

// observe adds the state of the pool to the process's metrics.
func observe(env *proc.Env, pool *pgxpool.Pool) error {
	gauge := func(name, help string, value func(*pgxpool.Stat) float64) error {
		return env.Metrics.Register(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return value(pool.Stat()) }))
	}
	return errors.Join(
		gauge("tidings_postgres_pool_connections", "Connections to PostgreSQL that are open.", func(s *pgxpool.Stat) float64 { return float64(s.TotalConns()) }),
		gauge("tidings_postgres_pool_acquired", "Connections to PostgreSQL that are in use.", func(s *pgxpool.Stat) float64 { return float64(s.AcquiredConns()) }),
		gauge("tidings_postgres_pool_waits_total", "Times that a call had to wait for a connection to PostgreSQL.", func(s *pgxpool.Stat) float64 { return float64(s.EmptyAcquireCount()) }),
	)
}
