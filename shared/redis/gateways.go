package redis

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/proc"
)

// gatewaysTTL is how long a process believes what it read of the registry.
const gatewaysTTL = time.Second

// maxGateways bounds what a process remembers of the registry.
const maxGateways = 10_000

func gatewayKey(id string) string { return "gateway:{" + id + "}" }

// RegisterGateway says for the length of a lease at which internal URL a
// gateway takes what is to be pushed. A gateway says so again before the lease
// ends.
func (c *Client) RegisterGateway(ctx context.Context, id, url string, lease time.Duration) error {
	return unavailable("registering a gateway", c.rdb.Set(ctx, gatewayKey(id), url, lease).Err())
}

// DeregisterGateway says that a gateway is gone.
func (c *Client) DeregisterGateway(ctx context.Context, id string) error {
	return unavailable("deregistering a gateway", c.rdb.Del(ctx, gatewayKey(id)).Err())
}

// Gateways is the registry as a process sees it, at most a second late.
type Gateways struct {
	client *Client
	now    func() time.Time

	mu    sync.Mutex
	known map[string]gateway
}

type gateway struct {
	url  string
	read time.Time
}

// NewGateways returns a view of the registry, for who posts to gateways.
func (c *Client) NewGateways(env *proc.Env) *Gateways {
	env.Uses("gateway")
	return &Gateways{client: c, now: time.Now, known: make(map[string]gateway)}
}

// URLs returns the internal URLs of gateways. Those that are gone are absent.
func (g *Gateways) URLs(ctx context.Context, ids []string) (map[string]string, error) {
	now := g.now()
	urls := make(map[string]string, len(ids))
	var ask []string
	g.mu.Lock()
	for _, id := range ids {
		if k, ok := g.known[id]; ok && now.Sub(k.read) <= gatewaysTTL {
			urls[id] = k.url
		} else {
			ask = append(ask, id)
		}
	}
	g.mu.Unlock()
	if len(ask) == 0 {
		return urls, nil
	}
	cmds := pipelined(ctx, g.client, len(ask), func(p redis.Pipeliner, i int) *redis.StringCmd {
		return p.Get(ctx, gatewayKey(ask[i]))
	})
	if err := firstError(cmds); err != nil {
		return nil, unavailable("asking where gateways are", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.known)+len(ask) > maxGateways {
		clear(g.known)
	}
	for i, id := range ask {
		if url := cmds[i].Val(); url != "" {
			urls[id], g.known[id] = url, gateway{url, now}
		} else { // it may register in a moment
			delete(g.known, id)
		}
	}
	return urls, nil
}
