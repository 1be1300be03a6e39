package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/tidings-im/tidings/shared/proc"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings the tables of the database at POSTGRES_URL to what this build
// expects. It may be called by many processes at once: one works, under an
// advisory lock of its session, and the others wait. What is done already is
// not done again.
func Migrate(ctx context.Context, env *proc.Env) (err error) {
	config, err := settings(env)
	if err != nil {
		return err
	}
	delete(config.ConnConfig.RuntimeParams, "statement_timeout")

	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return fmt.Errorf("migrating PostgreSQL: %w", err)
	}
	db := stdlib.OpenDB(*config.ConnConfig)
	defer func() { err = errors.Join(err, db.Close()) }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrating PostgreSQL: %w", err)
	}
	done, err := provider.Up(ctx)
	for _, m := range done {
		env.Log.InfoContext(ctx, "migrated PostgreSQL", "migration", m.Source.Path, "took", m.Duration.String())
	}
	return Failed(err, "migrating PostgreSQL")
}
