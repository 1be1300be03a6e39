// Package bot is the functions of bots: bot-create, bot-list, bot-update,
// bot-delete, bot-token-create, bot-token-list, bot-token-delete, by which
// people keep bots, bot-login, by which a bot signs in, and bot-sweep. What a
// bot may do is said where functions are called: a bot is a user, whose access
// tokens are good for some of them.
package bot

import (
	"time"

	"github.com/tidings-im/tidings/functions/user"
	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres/bots"
	"github.com/tidings-im/tidings/shared/postgres/erasures"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
	"github.com/tidings-im/tidings/shared/token"
)

var (
	settingBots   = proc.Setting{Name: "MAX_BOTS_PER_USER", Default: "10", Doc: "most bots that a user has"}
	settingTokens = proc.Setting{Name: "MAX_TOKENS_PER_BOT", Default: "10", Doc: "most tokens of a bot that are good at a time"}
)

// Create makes a bot of the caller.
var Create = fn.API("bot-create", fn.People, func(o *fn.Opener) fn.Handler {
	c := &creator{
		bots: bots.In(o), limit: redis.LimitIn(o, redis.BotSecrets), names: user.NamesIn(o), newcomers: redis.NewcomersIn(o),
		most: o.Int(settingBots, 0),
	}
	return fn.CallAs(redis.GateIn(o), c.call)
}).Asks(fn.Fresh()).Audits(audit.UserCreated)

// List returns the bots of the caller.
var List = fn.API("bot-list", fn.People, func(o *fn.Opener) fn.Handler { return fn.CallAs(redis.GateIn(o), list(bots.In(o))) })

// Update changes what a bot of the caller says of itself.
var Update = fn.API("bot-update", fn.People, func(o *fn.Opener) fn.Handler { return fn.CallAs(redis.GateIn(o), update(bots.In(o))) }).AuditsRefusals()

// Delete deletes a bot of the caller.
var Delete = fn.API("bot-delete", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), removerIn(o).call)
}).Audits(audit.UserDeleted)

// CreateToken gives a bot of the caller another token.
var CreateToken = fn.API("bot-token-create", fn.People, func(o *fn.Opener) fn.Handler {
	c := &tokenCreator{tokens: bots.In(o), limit: redis.LimitIn(o, redis.BotSecrets), most: o.Int(settingTokens, 1)}
	return fn.CallAs(redis.GateIn(o), c.call)
}).Asks(fn.Fresh()).Audits(audit.TokenCreated)

// Tokens lists the tokens of a bot of the caller.
var Tokens = fn.API("bot-token-list", fn.People, func(o *fn.Opener) fn.Handler { return fn.CallAs(redis.GateIn(o), listTokens(bots.In(o))) })

// DeleteToken ends a token of a bot of the caller.
var DeleteToken = fn.API("bot-token-delete", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), deleteToken(bots.In(o), user.EnderIn(o)))
}).Audits(audit.TokenRevoked)

// Login signs a bot in.
var Login = fn.API("bot-login", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallFrom((&login{bots: bots.In(o), limit: redis.LimitIn(o, redis.BotLogins), access: token.IssuerIn(o)}).call)
}).Audits(audit.LoginSuccess)

// Sweep deletes the bots of users who were deleted, and ends tokens that have
// expired.
var Sweep = fn.Every("bot-sweep", time.Minute, func(o *fn.Opener) fn.Handler {
	return fn.Timed((&sweeper{store: bots.In(o), remove: removerIn(o).remove}).sweep)
}).AuditsRefusals()

func removerIn(o *fn.Opener) *remover {
	return &remover{change: outbox.ChangesIn[leaver](o, erasures.With), end: user.EnderIn(o)}
}
