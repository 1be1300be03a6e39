// Package inbox opens the inboxes of users, in the home that the site has
// chosen for them. It does not know how an entry comes by its seq, nor who may
// read it.
package inbox

import (
	"context"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/inboxes"
	"github.com/tidings-im/tidings/shared/proc"
)

var settingStore = proc.Setting{Name: "INBOX_STORE", Default: "mongodb", Doc: "where inboxes are kept: mongodb, or postgres for a small site; changing it moves nothing"}

// A Store keeps the inboxes of all users. Package inboxtest says what each
// method does, and holds every home to it.
type Store interface {
	Heads(ctx context.Context, users []string) (map[string]int64, error)
	Insert(ctx context.Context, entries []im.Entry) (n int, err error)
	Find(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]int64, error)
	After(ctx context.Context, user string, after int64, limit int) ([]im.Entry, error)
	Get(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Entry, error)
	Latest(ctx context.Context, user string, limit int) (map[im.Conversation]string, error)
	Newest(ctx context.Context, user string, c im.Conversation) (string, error)
	Unread(ctx context.Context, user string, after map[im.Conversation]string, most int) (map[im.Conversation]int, error)
	Amend(ctx context.Context, entries []im.Entry) error
	Erase(ctx context.Context, user string) error
	Seqs(ctx context.Context, user string, after int64, limit int) ([]im.Entry, error)
	Remove(ctx context.Context, user string, seqs []int64) error
}

func home(env *proc.Env) (string, error) {
	set := env.Settings()
	which := set.OneOf(settingStore, "mongodb", "postgres")
	return which, set.Err()
}

// Prepare makes what inboxes need in MongoDB, if they are there and its URL is
// set, so that the first who write do not wait for it. In PostgreSQL that is
// done with all other tables.
func Prepare(ctx context.Context, env *proc.Env) error {
	which, err := home(env)
	if err != nil || which != "mongodb" {
		return err
	}
	return prepareMongoDB(ctx, env)
}

// Open returns the process's inboxes. It connects when first used.
func Open(ctx context.Context, env *proc.Env) (Store, error) {
	which, err := home(env)
	if err != nil {
		return nil, err
	}
	if which == "postgres" {
		db, err := postgres.Open(ctx, env)
		if err != nil {
			return nil, err
		}
		return inboxes.New(db), nil
	}
	return openMongoDB(ctx, env)
}
