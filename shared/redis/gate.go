package redis

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingCalls  = proc.Setting{Name: "CALLS_PER_SECOND", Default: "20", Doc: "calls of the API that a user may make per second, all functions together, in the long run"}
	settingBurst  = proc.Setting{Name: "CALLS_BURST", Default: "60", Doc: "calls of the API that a user may make at once after a pause"}
	settingAnswer = proc.Setting{Name: "IDEMPOTENCY_WINDOW", Default: "24h", Doc: "how long the answer to a call with an Idempotency-Key is kept"}
)

// takenFor is how long a key is taken by a call that never ends: longer than a
// function may take over a request.
const takenFor = time.Minute

// A Gate stands before the functions that callers call (fn.Gate). It fails
// open: without Redis an access token alone decides, and nothing is counted.
type Gate struct {
	client  *Client
	limiter *redis_rate.Limiter
	limit   redis_rate.Limit
	window  time.Duration
	log     *slog.Logger
}

// OpenGate returns the gate of the process.
func OpenGate(ctx context.Context, env *proc.Env) (*Gate, error) {
	c, err := Open(ctx, env)
	if err != nil {
		return nil, err
	}
	set := env.Settings()
	g := &Gate{
		client:  c,
		limiter: redis_rate.NewLimiter(c.rdb),
		limit:   redis_rate.Limit{Rate: set.Int(settingCalls, 1), Burst: set.Int(settingBurst, 1), Period: time.Second},
		window:  set.Duration(settingAnswer),
		log:     env.Log,
	}
	return g, set.Err()
}

// Admit reports whether c may call now. Unauthenticated: the session has
// ended. Overloaded: there were too many calls.
func (g *Gate) Admit(ctx context.Context, c im.Caller) error {
	ended, err := g.client.Ended(ctx, []string{c.Session})
	if err != nil {
		g.log.WarnContext(ctx, "the gate is open", "user", c.User, "err", err)
		return nil
	}
	if ended[c.Session] {
		return im.Errorf(im.Unauthenticated, "the session has ended: sign in again")
	}
	got, err := g.limiter.Allow(ctx, "calls:{"+c.User+"}", g.limit)
	if err != nil {
		g.log.WarnContext(ctx, "a call is not counted", "user", c.User, "err", err)
		return nil
	}
	if got.Allowed == 0 {
		return &im.Error{Kind: im.Overloaded, Msg: "you call too often: wait and try again", RetryAfter: got.RetryAfter}
	}
	return nil
}

// once is what is stored under the key of a call. Without an answer it is
// under way.
type once struct {
	Digest string `json:"digest"`
	Answer []byte `json:"answer,omitempty"`
}

func onceKey(key string) string { return "once:{" + key + "}" }

// Begin returns the answer that is kept under key, or takes the key. Conflict:
// it is taken, or was used for something else.
func (g *Gate) Begin(ctx context.Context, key, digest string) ([]byte, error) {
	mine, err := json.Marshal(once{Digest: digest})
	if err != nil {
		return nil, err
	}
	stored, err := g.client.rdb.SetArgs(ctx, onceKey(key), mine, redis.SetArgs{Mode: "NX", Get: true, TTL: takenFor}).Bytes()
	if err == redis.Nil {
		return nil, nil
	}
	if err != nil {
		return nil, unavailable("asking for an answer that was kept", err)
	}
	var had once
	if err := json.Unmarshal(stored, &had); err != nil {
		return nil, fmt.Errorf("reading an answer that was kept: %w", err)
	}
	switch {
	case had.Digest != digest:
		return nil, im.Errorf(im.Conflict, "you have used this Idempotency-Key for another call: a new call needs a new key")
	case had.Answer == nil:
		return nil, &im.Error{Kind: im.Conflict, Msg: "the same call is under way: try again for its answer", RetryAfter: time.Second}
	}
	return had.Answer, nil
}

// End keeps an answer under a key that Begin took; nil frees the key.
func (g *Gate) End(ctx context.Context, key, digest string, answer []byte) error {
	if answer == nil {
		return unavailable("freeing a key", g.client.rdb.Del(ctx, onceKey(key)).Err())
	}
	b, err := json.Marshal(once{Digest: digest, Answer: answer})
	if err != nil {
		return err
	}
	return unavailable("keeping an answer", g.client.rdb.Set(ctx, onceKey(key), b, g.window).Err())
}
