// Migrate brings the tables of PostgreSQL up to date and makes the topics of
// Kafka that are missing, then ends. It is to be run before a new version of
// anything else; to run it again, or twice at once, does no harm.
package main

import (
	"context"

	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
)

func main() {
	proc.Main("migrate", func(ctx context.Context, env *proc.Env) error {
		if err := postgres.Migrate(ctx, env); err != nil {
			return err
		}
		return kafka.EnsureTopics(ctx, env)
	})
}
