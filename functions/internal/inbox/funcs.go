// Package inbox is the functions of inboxes: persist-inbox puts each accepted
// message into the inbox of everyone concerned, message-sync hands a user what
// they have not seen, inbox-heads says how far inboxes reach. It does not know
// who is connected, nor how a message gets to their devices.
package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

var (
	settingKeep    = proc.Setting{Name: "INBOX_KEEP", Default: "0", Doc: "how old an entry of an inbox is when it is removed, such as 8760h, at least 1224h (51 days), and longer than Kafka and its dead letters keep anything (KAFKA_RETENTION_MESSAGES, KAFKA_RETENTION_DEADLETTERS, and two weeks); the newest of each conversation stays. 0 is never"}
	settingEntries = proc.Setting{Name: "INBOX_KEEP_ENTRIES", Default: "0", Doc: "how many entries an inbox keeps at least; older ones are removed when they are as old as INBOX_KEEP has to be. 0 is all"}
)

// Persist puts each accepted message into inboxes.
var Persist = fn.Func{
	Name:    "persist-inbox",
	Accepts: event.MessageAccepted,
	Topic:   event.TopicMessages,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		store, storeErr := inbox.Open(ctx, env)
		client, redisErr := redis.Open(ctx, env)
		db, dbErr := postgres.Open(ctx, env)
		producer, kafkaErr := kafka.Open(ctx, env)
		keys, keysErr := fn.Keyring(env)
		if err := errors.Join(storeErr, redisErr, dbErr, kafkaErr, keysErr); err != nil {
			return fn.Handler{}, err
		}
		p := newPersister(store, client, client.NewMembers(db), db, producer, keys.Sign, env.Log)
		return fn.On(p.persist), nil
	},
}

// Sync hands a user the entries of their inbox that follow a seq.
var Sync = fn.Func{
	Name:    "message-sync",
	Accepts: event.CallType("message-sync"),
	Public:  true,
	Memory:  12 << 20, // two reads of the inbox, of large entries, and a page as JSON
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		store, storeErr := inbox.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		if err := errors.Join(storeErr, gateErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, syncAfter(store)), nil
	},
}

// Heads says how far the inboxes of users reach.
var Heads = fn.Func{
	Name:    "inbox-heads",
	Accepts: event.InboxHeads,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		store, storeErr := inbox.Open(ctx, env)
		client, redisErr := redis.Open(ctx, env)
		if err := errors.Join(storeErr, redisErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.Answer(headsOf(store, client, env.Log)), nil
	},
}

// Trim removes what is old from inboxes.
var Trim = fn.Func{
	Name:  "inbox-trim",
	Every: time.Hour,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		store, storeErr := inbox.Open(ctx, env)
		db, dbErr := postgres.Open(ctx, env)
		set := env.Settings()
		t := &trimmer{inboxes: store, users: db, entries: int64(set.Int(settingEntries, 0))}
		if set.String(settingKeep) != "0" {
			t.keep = set.Duration(settingKeep)
		}
		replayable, kafkaErr := kafka.Replayable(env)
		if err := errors.Join(storeErr, dbErr, kafkaErr, set.Err()); err != nil {
			return fn.Handler{}, err
		}
		if t.age = max(trimAge, replayable); t.keep > 0 && t.keep < t.age {
			return fn.Handler{}, fmt.Errorf("setting %s: %s is less than %s (%s)", settingKeep.Name, t.keep, t.age, settingKeep.Doc)
		}
		return fn.Timed(t.trim), nil
	},
}
