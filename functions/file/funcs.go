// Package file is the functions of files: file-create hands out links to send
// one by, file-complete looks at what has arrived, file-get hands out a link to
// get it by, avatar-set makes a picture of it, file-sweep removes what nobody
// has a use for. No byte that users send or get flows through them. That a
// message carries a file is chat-ingest's to note.
package file

import (
	"time"

	"github.com/tidings-im/tidings/shared/archive"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres/catalog"
	"github.com/tidings-im/tidings/shared/postgres/files"
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
var Create = fn.API("file-create", im.FilesWrite, func(o *fn.Opener) fn.Handler {
	c := &creator{
		files: files.In(o), store: s3.In(o), limit: redis.LimitIn(o, redis.Files),
		max: int64(o.Int(settingMax, 1)), part: int64(o.Int(settingPart, minPart)), quota: int64(o.Int(settingQuota, 1)),
		life: o.Duration(settingLife), linkLife: min(o.Duration(settingSendLink), maxLinkLife), now: im.Now,
		metrics: proc.OpenEnv(o, openMetrics),
	}
	return fn.CallAs(redis.GateIn(o), c.call)
})

// Complete looks at what has arrived of a file.
var Complete = fn.API("file-complete", im.FilesWrite, func(o *fn.Opener) fn.Handler {
	store := s3.In(o)
	c := &completer{
		files: files.In(o), store: store, check: newChecker(store, o.Int(settingChecks, 1), waiting).check,
		log: o.Env().Log.WarnContext, metrics: proc.OpenEnv(o, openMetrics),
	}
	return fn.CallAs(redis.GateIn(o), c.call)
})

// Get hands out a link to get a file by.
var Get = fn.API("file-get", im.FilesRead, func(o *fn.Opener) fn.Handler {
	life, sendLife := min(o.Duration(settingGetLink), maxLinkLife), min(o.Duration(settingSendLink), maxLinkLife)
	return fn.CallAs(redis.GateIn(o), get(files.In(o), s3.In(o), life, sendLife))
})

// SetAvatar makes a picture the avatar of the caller.
var SetAvatar = fn.API("avatar-set", fn.People, func(o *fn.Opener) fn.Handler {
	a := &avatarSetter{
		files: files.In(o), store: s3.In(o), limit: redis.LimitIn(o, redis.Files),
		slots: make(chan struct{}, o.Int(settingChecks, 1)),
	}
	return fn.CallAs(redis.GateIn(o), a.call)
})

// Sweep removes what nobody has a use for.
var Sweep = fn.Every("file-sweep", 10*time.Minute, func(o *fn.Opener) fn.Handler {
	s := &sweeper{
		rows: files.In(o), times: catalog.In(o), store: s3.In(o), old: archive.In(o),
		comes:   proc.OpenEnv(o, redis.Replaceable) + proc.OpenEnv(o, kafka.Replayable),
		metrics: proc.OpenEnv(o, openMetrics),
	}
	return fn.Timed(s.sweep)
})
