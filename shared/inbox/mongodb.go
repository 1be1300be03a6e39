//go:build !tidings_small

package inbox

import (
	"context"

	"github.com/tidings-im/tidings/shared/mongodb"
	"github.com/tidings-im/tidings/shared/proc"
)

func prepareMongoDB(ctx context.Context, env *proc.Env) error {
	if !mongodb.Configured(env) {
		return nil
	}
	db, err := mongodb.Open(ctx, env)
	if err != nil {
		return err
	}
	return db.Inbox().Prepare(ctx)
}

func openMongoDB(ctx context.Context, env *proc.Env) (Store, error) {
	db, err := mongodb.Open(ctx, env)
	if err != nil {
		return nil, err
	}
	return db.Inbox(), nil
}
