// Package migrate brings the tables of PostgreSQL up to date, makes the indexes of
// MongoDB, if inboxes are there, the buckets for files and for the archive, if
// these are kept, and the topics of Kafka that are missing. It is to be run before
// a new version of anything else; to run it again, or twice at once, does no harm.
// It makes keys, too.
package migrate

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/shared/coldstore"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/s3"
)

// Command returns what the program does that is called with args:
//
//	migrate
//	migrate keys <folder> [<file>=<URL> …]
//	                        make the keys that are missing in a folder, and end;
//	                        of URLs without a password, passwords and whole URLs
func Command(args []string) func(context.Context, *proc.Env) error {
	return func(ctx context.Context, env *proc.Env) error {
		switch {
		case len(args) >= 2 && args[0] == "keys":
			if err := writeKeys(args[1]); err != nil {
				return err
			}
			return writeURLs(env, args[1], args[2:])
		case len(args) > 0:
			return errors.New("usage: migrate, or migrate keys <folder> [<file>=<URL without a password> …]")
		}
		return Up(ctx, env)
	}
}

// Up brings everything up to date.
func Up(ctx context.Context, env *proc.Env) error {
	for _, step := range steps {
		if err := step(ctx, env); err != nil {
			return err
		}
	}
	return nil
}

// steps are what is brought up to date, one after another.
var steps = []func(context.Context, *proc.Env) error{
	postgres.Migrate, inbox.Prepare, s3.EnsureBucket, coldstore.EnsureBucket, kafka.EnsureTopics,
}
