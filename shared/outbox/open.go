package outbox

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

// Open returns the process's outbox. It connects when first used.
func Open(ctx context.Context, env *proc.Env) (*Outbox, error) {
	db, dbErr := postgres.Open(ctx, env)
	cache, redisErr := redis.Open(ctx, env)
	producer, kafkaErr := kafka.Open(ctx, env)
	seal, sealErr := fn.Keyring(env)
	if err := errors.Join(dbErr, redisErr, kafkaErr, sealErr); err != nil {
		return nil, err
	}
	return &Outbox{db: db, places: cache, caches: cache, log: producer, seal: seal.Sign, slog: env.Log}, nil
}
