// Package redis is what Tidings keeps in Redis: hints, caches, leases and the
// order of conversations. Losing all of it costs time, never data. It does not
// know what the caches are filled from, nor which function asks.
//
// Every script works on keys of one hash slot, so that Redis Cluster will do.
package redis

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingURL     = proc.Setting{Name: "REDIS_URL", Need: true, Secret: true, Doc: "Redis as redis://[user:password@]host:port[/database], rediss:// with TLS; several, separated by commas, are nodes of a cluster"}
	settingDial    = proc.Setting{Name: "REDIS_DIAL_TIMEOUT", Default: "500ms", Doc: "how long connecting to Redis may take"}
	settingTimeout = proc.Setting{Name: "REDIS_TIMEOUT", Default: "1s", Doc: "how long Redis may take to answer a pipeline of commands"}
)

// A Client is the process's connections to Redis. It is safe for concurrent
// use. Its errors are of kind im.Unavailable unless said otherwise.
type Client struct {
	rdb    redis.UniversalClient
	window time.Duration // PlaceWindow
	sender budget
	group  budget
	now    func() im.Time
}

// Open returns the process's client of the Redis at REDIS_URL. It connects
// when first used.
func Open(_ context.Context, env *proc.Env) (*Client, error) {
	quiet()
	env.Uses("redis")
	return proc.Share(env, "redis", func() (*Client, func() error, error) {
		set := env.Settings()
		urls, dial, timeout := set.List(settingURL), set.Duration(settingDial), set.Duration(settingTimeout)
		c := &Client{window: set.Duration(settingWindow), now: im.Now}
		c.sender = budgetOf(set, settingSenderRate, settingSenderBurst)
		c.group = budgetOf(set, settingGroupRate, settingGroupBurst)
		if err := set.Err(); err != nil {
			return nil, nil, err
		}
		opts, err := options(urls)
		if err != nil {
			return nil, nil, err
		}
		opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout, opts.PoolTimeout = dial, timeout, timeout, timeout
		opts.DialerRetries = 1
		opts.MaxRetries = 1 // a connection that the server has closed meanwhile costs one
		opts.ContextTimeoutEnabled = true
		opts.DisableIdentity = true
		opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		c.rdb = redis.NewUniversalClient(opts)
		return c, c.rdb.Close, nil
	})
}

// quiet keeps go-redis from writing lines of its own to standard error. What
// they say is in the errors that it returns.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silence{}) })

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// options reads the URLs of one server, or of several nodes of a cluster, of
// which the first says user, password and TLS.
func options(urls []string) (*redis.UniversalOptions, error) {
	var out redis.UniversalOptions
	for i, u := range urls {
		if !strings.Contains(u, "://") {
			u = "redis://" + u
		}
		o, err := redis.ParseURL(u)
		if err != nil { // the error of ParseURL may hold the password
			return nil, fmt.Errorf("setting REDIS_URL: part %d is not a URL such as redis://localhost:6379", i+1)
		}
		out.Addrs = append(out.Addrs, o.Addr)
		if i == 0 {
			out.DB, out.Username, out.Password, out.TLSConfig = o.DB, o.Username, o.Password, o.TLSConfig
		}
	}
	if len(urls) > 1 && out.DB != 0 {
		return nil, fmt.Errorf("setting REDIS_URL: a cluster has no database %d, only 0", out.DB)
	}
	return &out, nil
}

// Ping reports whether Redis answers.
func (c *Client) Ping(ctx context.Context) error {
	return unavailable("reaching Redis", c.rdb.Ping(ctx).Err())
}

// unavailable gives err, met while doing something, its kind. nil stays nil.
func unavailable(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, &im.Error{Kind: im.Unavailable, Msg: "a part of the service does not answer: try again", Err: err, Dependency: "redis"})
}

// maxPipeline bounds the commands that are sent before their answers are read.
const maxPipeline = 1000

// pipelined sends n commands, maxPipeline at a time. Each command that send
// adds holds its own answer, or error.
func pipelined[T redis.Cmder](ctx context.Context, c *Client, n int, send func(redis.Pipeliner, int) T) []T {
	cmds := make([]T, 0, n)
	for from := 0; from < n; from += maxPipeline {
		pipe := c.rdb.Pipeline()
		for i := from; i < min(from+maxPipeline, n); i++ {
			cmds = append(cmds, send(pipe, i))
		}
		pipe.Exec(ctx) // each command has the error too
	}
	return cmds
}

// script is one run of a script. Its keys are in one hash slot.
type script struct {
	keys []string
	args []any
}

// eval runs a script n times, pipelined, and returns a command for each that
// holds its answer or error. The source is sent only where the server does not
// have it: a server that was restarted has forgotten it.
func (c *Client) eval(ctx context.Context, s *redis.Script, n int, run func(int) script) []*redis.Cmd {
	cmds := pipelined(ctx, c, n, func(p redis.Pipeliner, i int) *redis.Cmd {
		r := run(i)
		return p.EvalSha(ctx, s.Hash(), r.keys, r.args...)
	})
	var missing []int
	for i, cmd := range cmds {
		if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
			missing = append(missing, i)
		}
	}
	again := pipelined(ctx, c, len(missing), func(p redis.Pipeliner, i int) *redis.Cmd {
		r := run(missing[i])
		return s.Eval(ctx, p, r.keys, r.args...)
	})
	for i, cmd := range again {
		cmds[missing[i]] = cmd
	}
	return cmds
}

// firstError returns the first error among answers; a missing key is none.
func firstError[T redis.Cmder](cmds []T) error {
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && err != redis.Nil {
			return err
		}
	}
	return nil
}
