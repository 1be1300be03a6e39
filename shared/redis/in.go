package redis

import (
	"context"

	"github.com/tidings-im/tidings/shared/proc"
)

// In returns the process's client, as Open does.
func In(o *proc.Opener) *Client { return proc.Open(o, Open) }

// GateIn returns the gate of the process, as OpenGate does.
func GateIn(o *proc.Opener) *Gate { return proc.Open(o, OpenGate) }

// NewcomersIn returns what OpenNewcomers does.
func NewcomersIn(o *proc.Opener) *Newcomers { return proc.Open(o, OpenNewcomers) }

// RefreshesIn returns what OpenRefreshes does.
func RefreshesIn(o *proc.Opener) Refreshes { return proc.Open(o, OpenRefreshes) }

// MailLimitIn returns what OpenMailLimit does.
func MailLimitIn(o *proc.Opener) MailLimit { return proc.Open(o, OpenMailLimit) }

// LimitIn returns the limit of something, as OpenLimit does.
func LimitIn(o *proc.Opener, of Limited) *Limit {
	return proc.Open(o, func(ctx context.Context, env *proc.Env) (*Limit, error) { return OpenLimit(ctx, env, of) })
}

// SignInsIn returns the limiter of sign-ins.
func SignInsIn(o *proc.Opener) *SignIns {
	return by(o, func(c *Client) (*SignIns, error) { return c.NewSignIns(o.Env()) })
}

// OnlineIn returns who is online.
func OnlineIn(o *proc.Opener) *Online {
	return by(o, func(c *Client) (*Online, error) { return c.NewOnline(o.Env()) })
}

// GatewaysIn returns a view of the registry, for who posts to gateways.
func GatewaysIn(o *proc.Opener) *Gateways {
	return by(o, func(c *Client) (*Gateways, error) { return c.NewGateways(o.Env()), nil })
}

// MembersIn returns the cache of members.
func MembersIn(o *proc.Opener, from MemberSource) *Members {
	return by(o, func(c *Client) (*Members, error) { return c.NewMembers(from), nil })
}

// RelationsIn returns the cache of relations.
func RelationsIn(o *proc.Opener, from RelationSource) *Relations {
	return by(o, func(c *Client) (*Relations, error) { return c.NewRelations(from), nil })
}

// by makes something of the process's client.
func by[T any](o *proc.Opener, of func(*Client) (T, error)) T {
	return proc.Open(o, func(ctx context.Context, env *proc.Env) (v T, err error) {
		c, err := Open(ctx, env)
		if err != nil {
			return v, err
		}
		return of(c)
	})
}
