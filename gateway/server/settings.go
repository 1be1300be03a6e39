package server

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/tidings-im/tidings/gateway/api"
	"github.com/tidings-im/tidings/gateway/origin"
	"github.com/tidings-im/tidings/gateway/ws"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingAddr         = proc.Setting{Name: "GATEWAY_ADDR", Default: ":8080", Doc: "address of the public port: /ws and /v1"}
	settingInternalAddr = proc.Setting{Name: "GATEWAY_INTERNAL_ADDR", Default: ":8081", Doc: "address of the internal port, which takes pushes"}
	settingInternalURL  = proc.Setting{Name: "GATEWAY_INTERNAL_URL", Doc: "URL at which the other parts reach the internal port of this one gateway; {hostname} in it stands for the machine's name. Unset, it is made of the machine's first address"}
	settingTimeout      = proc.Setting{Name: "GATEWAY_CALL_TIMEOUT", Default: "15s", Doc: "how long an API function may take to answer a call"}
	settingForwarded    = proc.Setting{Name: "CLIENT_ADDRESS_HEADER", Doc: "header in which the balancer before the gateway says who the client is, such as X-Forwarded-For; unset, it is who connects. Set it only if no client can reach the gateway but through the balancer"}
	settingOrigins      = proc.Setting{Name: "ALLOWED_ORIGINS", Doc: "origins of the pages that may use the gateway, separated by commas, such as https://chat.example.org; * is any; pages of the gateway's own host always may connect to /ws"}
	settingConnections  = proc.Setting{Name: "MAX_CONNECTIONS", Default: "50000", Doc: "most connections of one gateway; more are told to come back later (503)"}
	settingRate         = proc.Setting{Name: "SEND_RATE", Default: "20", Doc: "messages per second that one connection may send, and as many other frames, WebSocket pings and pongs among them"}
	settingBurst        = proc.Setting{Name: "SEND_BURST", Default: "60", Doc: "how many more of them it may send at once"}
	settingLanes        = proc.Setting{Name: "LANES", Default: "8", Doc: "requests to chat-ingest that a gateway has under way at a time"}
	settingPing         = proc.Setting{Name: "PING_INTERVAL", Default: "25s", Doc: "how often each connection is pinged"}
	settingIdle         = proc.Setting{Name: "IDLE_TIMEOUT", Default: "60s", Doc: "a connection on which neither a frame nor a pong came for so long is closed"}
	settingLease        = proc.Setting{Name: "PRESENCE_LEASE", Default: "30s", Doc: "how long a connection or gateway counts as present without a sign of life; signs are given three times as often"}
	settingAntiEntropy  = proc.Setting{Name: "ANTI_ENTROPY", Default: "30s", Doc: "how often a gateway looks whose client is behind its inbox, and whose session has ended"}
	settingPerUser      = proc.Setting{Name: "CALLS_PER_USER", Default: "32", Doc: "calls of the API that one user may have under way at a gateway, from when it is sent until its answer is read; more are told to come again (429)"}
	settingPerAddress   = proc.Setting{Name: "CALLS_PER_ADDRESS", Default: "512", Doc: "likewise those of all users at one network address (of IPv6 its first 64 bits; four times as many of its first 56 and 48), and a quarter of that of those without an access token"}
	settingDrain        = proc.Setting{Name: "DRAIN", Default: "3s", Doc: "how long a stopping gateway says that it is not ready before it closes its connections"}
	settingSpread       = proc.Setting{Name: "DRAIN_SPREAD", Default: "10s", Doc: "over how long the clients of a stopping gateway are told to spread their return"}
)

type settings struct {
	addr, internalAddr, internalURL, forwarded string

	functions             func(name string) string
	origins               origin.List
	limits                ws.Limits
	calls                 api.Limits
	timeout, lease, drain time.Duration
}

// maxDrain leaves time to close the connections.
const maxDrain = 10 * time.Second

// named returns a URL with the name of this machine in it.
func named(url string) string {
	if name, err := os.Hostname(); err == nil {
		url = strings.ReplaceAll(url, "{hostname}", name)
	}
	return url
}

func readSettings(env *proc.Env) (settings, error) {
	set := env.Settings()
	s := settings{
		addr:         set.String(settingAddr),
		internalAddr: set.String(settingInternalAddr),
		internalURL:  strings.TrimSuffix(named(set.String(settingInternalURL)), "/"),
		forwarded:    set.String(settingForwarded),
		origins:      set.List(settingOrigins),
		timeout:      set.Duration(settingTimeout),
		lease:        set.Duration(settingLease),
		drain:        set.Duration(settingDrain),
		calls:        api.Limits{PerUser: set.Int(settingPerUser, 1), PerAddress: set.Int(settingPerAddress, 1), PerNetworks: 4},
		limits: ws.Limits{
			Connections: set.Int(settingConnections, 1),
			SendRate:    set.Float(settingRate),
			SendBurst:   set.Int(settingBurst, 1),
			Lanes:       set.Int(settingLanes, 1),
			Ping:        set.Duration(settingPing),
			Idle:        set.Duration(settingIdle),
			AntiEntropy: set.Duration(settingAntiEntropy),
			Spread:      set.Duration(settingSpread),
		},
	}
	s.limits.Renew = s.lease / 3
	urls, urlErr := fn.OpenURLs(env)
	if err := errors.Join(set.Err(), urlErr); err != nil {
		return s, err
	}
	s.functions = urls.Of
	switch {
	case s.limits.SendRate == 0:
		return s, errors.New("setting SEND_RATE: at 0 nobody could say anything")
	case s.drain > maxDrain:
		return s, fmt.Errorf("setting DRAIN: %s is the most, for a process has %s to stop", maxDrain, proc.Grace)
	}
	return s, nil
}
