// Package file is the functions of files: file-create hands out links to send
// one by, file-complete looks at what has arrived, file-get hands out a link to
// get it by, avatar-set makes a picture of it, file-sweep removes what nobody
// has a use for. No byte that users send or get flows through them. That a
// message carries a file is chat-ingest's to note.
package file

import (
	"context"
	"errors"
	"time"

	"github.com/tidings-im/tidings/shared/archive"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
	"github.com/tidings-im/tidings/shared/s3"
)

var (
	settingMax      = proc.Setting{Name: "FILE_MAX_BYTES", Default: "104857600", Doc: "most bytes of a file; file-complete reads as many within FUNCTION_TIMEOUT, of a file that is sent in parts"}
	settingPart     = proc.Setting{Name: "FILE_PART_BYTES", Default: "16777216", Doc: "bytes of a part: a file of more is sent in parts; 5242880 is the least that S3 takes"}
	settingQuota    = proc.Setting{Name: "FILE_QUOTA_BYTES", Default: "10737418240", Doc: "most bytes of all files that a user keeps; a file counts until it is in no message any more"}
	settingLife     = proc.Setting{Name: "FILE_UPLOAD_TTL", Default: "24h", Doc: "how long after it was created a file may be sent and completed"}
	settingSendLink = proc.Setting{Name: "FILE_UPLOAD_LINK_TTL", Default: "1h", Doc: "how long a link to send a file by works; file-get gives new ones"}
	settingGetLink  = proc.Setting{Name: "FILE_LINK_TTL", Default: "15m", Doc: "how long a link to get a file by works, whoever has it"}
	settingChecks   = proc.Setting{Name: "FILE_CHECKS", Default: "2", Doc: "files that a process looks at at a time, and again avatars that it makes: a picture may take 200 MiB; more wait, or are told to come again"}
)

const (
	minPart     = 5 << 20
	maxLinkLife = 7 * 24 * time.Hour // as S3 has it
	waiting     = 32                 // files that wait to be looked at
)

// Create begins a file.
var Create = fn.Func{
	Name:    "file-create",
	Accepts: event.CallType("file-create"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		set := env.Settings()
		most, part, quota := set.Int(settingMax, 1), set.Int(settingPart, minPart), set.Int(settingQuota, 1)
		life, link := set.Duration(settingLife), set.Duration(settingSendLink)
		db, dbErr := postgres.Open(ctx, env)
		store, storeErr := s3.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		limit, limitErr := redis.OpenLimit(ctx, env, redis.Files)
		m, metricsErr := openMetrics(env)
		if err := errors.Join(set.Err(), dbErr, storeErr, gateErr, limitErr, metricsErr); err != nil {
			return fn.Handler{}, err
		}
		c := &creator{
			files: db, store: store, limit: limit,
			max: int64(most), part: int64(part), quota: int64(quota),
			life: life, linkLife: min(link, maxLinkLife), now: im.Now, metrics: m,
		}
		return fn.CallAs(gate, c.call), nil
	},
}

// Complete looks at what has arrived of a file.
var Complete = fn.Func{
	Name:    "file-complete",
	Accepts: event.CallType("file-complete"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		set := env.Settings()
		parallel := set.Int(settingChecks, 1)
		db, dbErr := postgres.Open(ctx, env)
		store, storeErr := s3.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		m, metricsErr := openMetrics(env)
		if err := errors.Join(set.Err(), dbErr, storeErr, gateErr, metricsErr); err != nil {
			return fn.Handler{}, err
		}
		c := &completer{files: db, store: store, check: newChecker(store, parallel, waiting).check, log: env.Log.WarnContext, metrics: m}
		return fn.CallAs(gate, c.call), nil
	},
}

// Get hands out a link to get a file by.
var Get = fn.Func{
	Name:    "file-get",
	Accepts: event.CallType("file-get"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		set := env.Settings()
		life, sendLife := min(set.Duration(settingGetLink), maxLinkLife), min(set.Duration(settingSendLink), maxLinkLife)
		db, dbErr := postgres.Open(ctx, env)
		store, storeErr := s3.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		if err := errors.Join(set.Err(), dbErr, storeErr, gateErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, get(db, store, life, sendLife)), nil
	},
}

// SetAvatar makes a picture the avatar of the caller.
var SetAvatar = fn.Func{
	Name:    "avatar-set",
	Accepts: event.CallType("avatar-set"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		set := env.Settings()
		parallel := set.Int(settingChecks, 1)
		db, dbErr := postgres.Open(ctx, env)
		store, storeErr := s3.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		limit, limitErr := redis.OpenLimit(ctx, env, redis.Files)
		if err := errors.Join(set.Err(), dbErr, storeErr, gateErr, limitErr); err != nil {
			return fn.Handler{}, err
		}
		a := &avatarSetter{files: db, store: store, limit: limit, slots: make(chan struct{}, parallel)}
		return fn.CallAs(gate, a.call), nil
	},
}

// Sweep removes what nobody has a use for.
var Sweep = fn.Func{
	Name:  "file-sweep",
	Every: 10 * time.Minute,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		store, storeErr := s3.Open(ctx, env)
		old, oldErr := archive.Open(ctx, env)
		replayable, kafkaErr := kafka.Replayable(env)
		replaceable, redisErr := redis.Replaceable(env)
		m, metricsErr := openMetrics(env)
		if err := errors.Join(dbErr, storeErr, oldErr, kafkaErr, redisErr, metricsErr); err != nil {
			return fn.Handler{}, err
		}
		s := &sweeper{rows: db, store: store, old: old, comes: replaceable + replayable, metrics: m}
		return fn.Timed(s.sweep), nil
	},
}
