package fn

import (
	"context"
	"time"

	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

// An Opener opens what a function stands on. What a function needs where it is
// deployed (secrets, settings, ways to services) is what it opens.
type Opener = proc.Opener

// API declares a function that clients call through a gateway. Its events are
// calls of its name; a bot's token needs the scope for it, and People is the
// scope of those that no such token is good for.
func API(name string, scope im.Scope, build func(*Opener) Handler) Func {
	return Func{Name: name, Accepts: event.CallType(name), Public: true, Scope: scope, New: by(build)}
}

// OnTopic declares a function that events of a topic trigger.
func OnTopic(name, topic, accepts string, build func(*Opener) Handler) Func {
	return Func{Name: name, Topic: topic, Accepts: accepts, New: by(build)}
}

// OnEvent declares a function that our own parts send events to.
func OnEvent(name, accepts string, build func(*Opener) Handler) Func {
	return Func{Name: name, Accepts: accepts, New: by(build)}
}

// Every declares a function that a clock calls so often.
func Every(name string, every time.Duration, build func(*Opener) Handler) Func {
	return Func{Name: name, Every: every, New: by(build)}
}

func by(build func(*Opener) Handler) func(context.Context, *proc.Env) (Handler, error) {
	return func(ctx context.Context, env *proc.Env) (Handler, error) { return proc.Build(ctx, env, build) }
}

// Asks returns f with what it asks of its callers beyond an access token.
func (f Func) Asks(p Proof) Func {
	f.Proof = p
	return f
}

// Holds returns f with how many bytes a call holds at most.
func (f Func) Holds(bytes int64) Func {
	f.Memory = bytes
	return f
}

// Audits returns f with what the security log records of calls of it that
// succeed: an event, of calls that set one of these fields if there are any. It
// records then also that calls were refused.
func (f Func) Audits(e audit.Event, with ...string) Func {
	f.Audit, f.AuditWith = e, FreshWith(with...)
	return f
}

// AuditsRefusals returns f such that the security log records of it that calls
// were refused, and nothing of those that succeed.
func (f Func) AuditsRefusals() Func { return f.Audits(refusalsOnly) }

// KeyringIn returns the seal keys of the process, as Keyring does.
func KeyringIn(o *Opener) *event.Keyring { return proc.OpenEnv(o, Keyring) }

// PosterIn returns a Poster, as OpenPoster does, which is closed when the
// process ends.
func PosterIn(o *Opener, timeout time.Duration) *Poster {
	return proc.OpenEnv(o, func(env *proc.Env) (*Poster, error) {
		p, err := OpenPoster(env, timeout)
		if err == nil {
			env.OnClose(p.Close)
		}
		return p, err
	})
}

// URLsIn returns where functions answer, as OpenURLs does.
func URLsIn(o *Opener) URLs { return proc.OpenEnv(o, OpenURLs) }

// FreshIn returns for how long a proof is good, as FreshFor does.
func FreshIn(o *Opener) time.Duration { return proc.OpenEnv(o, FreshFor) }
