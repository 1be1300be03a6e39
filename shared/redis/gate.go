package redis

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/go-redis/redis_rate/v10"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingCalls  = proc.Setting{Name: "CALLS_PER_SECOND", Default: "20", Doc: "calls of the API that a user may make per second, all functions together, in the long run"}
	settingBurst  = proc.Setting{Name: "CALLS_BURST", Default: "60", Doc: "calls of the API that a user may make at once after a pause"}
	settingAnswer = proc.Setting{Name: "IDEMPOTENCY_WINDOW", Default: "24h", Doc: "how long the answer to a call with an Idempotency-Key is kept, up to 512 KiB of each user's"}
)

const (
	gateTime  = time.Second      // that a call waits for the gate at each of its steps
	endedKept = 4096             // sessions that a process remembers to have ended
	takenFor  = time.Minute      // that a key is taken by a call without a deadline
	takenPast = 10 * time.Second // that it is after the deadline of a call that never ends

	keptBytes    = 512 << 10 // of a user's answers in a window, with
	keptOverhead = 200       // bytes that Redis takes for each
)

// A Gate stands before the functions that callers call (fn.Gate). It fails
// open: without Redis an access token alone decides, and nothing is counted.
type Gate struct {
	client *Client
	calls  redis_rate.Limit
	kept   redis_rate.Limit // bytes of answers
	window time.Duration
	ended  *lru.Cache[string, struct{}] // sessions: none begins again
	log    *slog.Logger
}

// OpenGate returns the gate of the process.
func OpenGate(ctx context.Context, env *proc.Env) (*Gate, error) {
	c, err := Open(ctx, env)
	if err != nil {
		return nil, err
	}
	return proc.Share(env, "redis.Gate", func() (*Gate, func() error, error) {
		set := env.Settings()
		ended, _ := lru.New[string, struct{}](endedKept) // fails only for a size below 1
		window := set.Duration(settingAnswer)
		return &Gate{
			client: c,
			calls:  redis_rate.Limit{Rate: set.Int(settingCalls, 1), Burst: set.Int(settingBurst, 1), Period: time.Second},
			kept:   redis_rate.Limit{Rate: keptBytes, Burst: keptBytes, Period: window},
			window: window,
			ended:  ended,
			log:    env.Log,
		}, nil, set.Err()
	})
}

// Admit counts so many calls of c (GCRA, by redis_rate). If it returns an
// error, only the first admitted of them may be made. Unauthenticated: the
// session has ended. Overloaded: there were too many.
func (g *Gate) Admit(ctx context.Context, c im.Caller, calls int) (admitted int, err error) {
	if g.ended.Contains(c.Session) {
		return 0, errEnded()
	}
	ctx, cancel := context.WithTimeout(ctx, gateTime)
	defer cancel()
	both := &withEnded{UniversalClient: g.client.rdb, key: endedKey(c.Session)}
	got, err := redis_rate.NewLimiter(both).AllowAtMost(ctx, "calls:{"+c.User+"}", g.calls, calls)
	if both.ended != nil && both.ended.Val() > 0 {
		g.ended.Add(c.Session, struct{}{})
		return 0, errEnded()
	}
	if err != nil {
		g.log.WarnContext(ctx, "the gate is open", "user", c.User, "err", err)
		return calls, nil
	}
	if got.Allowed < calls {
		wait := max(got.RetryAfter, g.calls.Period/time.Duration(g.calls.Rate))
		return got.Allowed, &im.Error{Kind: im.Overloaded, Msg: "you call too often: wait and try again", RetryAfter: wait}
	}
	return calls, nil
}

func errEnded() error {
	return im.Errorf(im.Unauthenticated, "the session has ended: sign in again")
}

// withEnded asks, in the one round trip of a limiter's script, whether a
// session has ended. One that has counts once in each process, which then knows.
type withEnded struct {
	redis.UniversalClient
	key   string
	ended *redis.IntCmd // nil if nobody asked
}

func (w *withEnded) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	pipe := w.Pipeline()
	w.ended = pipe.Exists(ctx, w.key)
	cmd := pipe.EvalSha(ctx, sha, keys, args...)
	pipe.Exec(ctx) // each command has the error too
	return cmd
}

// What is stored under a key of a call is the digest of its request and, when
// it has ended, a newline and its answer.

// begin returns what is stored, or stores ARGV[1] for ARGV[2] ms.
var begin = redis.NewScript(`
local had = redis.call('GET', KEYS[1])
if not had then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return had
`)

func onceKey(c im.Caller, key string) string { return "once:{" + c.User + "}:" + key }

// Begin returns the answer that is kept under a key of c, or takes the key
// until End, or until the request of ctx can last no longer. Conflict: it is
// taken, or was used for something of another digest.
func (g *Gate) Begin(ctx context.Context, c im.Caller, key, digest string) ([]byte, error) {
	taken := takenFor
	if until, ok := ctx.Deadline(); ok {
		taken = time.Until(until) + takenPast
	}
	ctx, cancel := context.WithTimeout(ctx, gateTime)
	defer cancel()
	run := script{keys: []string{onceKey(c, key)}, args: []any{digest, max(taken.Milliseconds(), 1)}}
	stored, err := g.client.eval(ctx, begin, 1, func(int) script { return run })[0].Text()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, unavailable("asking for an answer that was kept", err)
	}
	had, answer, ended := strings.Cut(stored, "\n")
	switch {
	case had != digest:
		return nil, im.Errorf(im.Conflict, "you have used this Idempotency-Key for another call: a new call needs a new key")
	case !ended:
		return nil, &im.Error{Kind: im.Conflict, Msg: "the same call is under way: try again for its answer", RetryAfter: time.Second}
	}
	return []byte(answer), nil
}

// End keeps an answer under a key that Begin took; nil frees the key, and so
// does an answer of a user who has had too many kept.
func (g *Gate) End(ctx context.Context, c im.Caller, key, digest string, answer []byte) error {
	ctx, cancel := context.WithTimeout(ctx, gateTime)
	defer cancel()
	name := onceKey(c, key)
	if answer != nil {
		got, err := redis_rate.NewLimiter(g.client.rdb).AllowN(ctx, "kept:{"+c.User+"}", g.kept, len(answer)+len(digest)+keptOverhead)
		if err != nil {
			return unavailable("counting the answers of a user", err)
		}
		if got.Allowed > 0 {
			return unavailable("keeping an answer", g.client.rdb.Set(ctx, name, digest+"\n"+string(answer), g.window).Err())
		}
	}
	return unavailable("freeing a key", g.client.rdb.Del(ctx, name).Err())
}
