// Package chat is the functions that take messages in: chat-ingest those that
// come by sockets, message-send those of who has none.
package chat

import (
	"github.com/tidings-im/tidings/shared/direct"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres/files"
	"github.com/tidings-im/tidings/shared/postgres/friends"
	"github.com/tidings-im/tidings/shared/postgres/groups"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

// Ingest gives each message that a client sent its place in its conversation
// and writes it to the log of messages, from where it is the system's.
var Ingest = fn.OnEvent("chat-ingest", event.MessageSubmitted, func(o *fn.Opener) fn.Handler { return fn.Answer(ingestIn(o).batch) })

// Send does the same for a message that is sent by a call.
var Send = fn.API("message-send", im.MessagesWrite, func(o *fn.Opener) fn.Handler { return fn.CallAs(redis.GateIn(o), ingestIn(o).send) })

// ingestIn returns the process's way in, which is one, so that what comes by
// sockets and by calls takes turns.
func ingestIn(o *fn.Opener) *ingest {
	cache := redis.In(o)
	in := &ingest{
		guard: guard{
			relations: redis.RelationsIn(o, friends.In(o)), members: redis.MembersIn(o, groups.In(o)), newcomers: redis.NewcomersIn(o),
			policy: direct.Policy(o.Settings),
		},
		files:  files.In(o),
		budget: cache,
		places: cache,
		log:    kafka.In(o),
		seal:   fn.KeyringIn(o),
		now:    im.Now,
	}
	return proc.ShareIn(o, "chat", func() (*ingest, func() error, error) {
		in.window = cache.PlaceWindow()
		return in, nil, nil
	})
}
