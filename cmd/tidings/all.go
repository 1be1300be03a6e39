package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/connector/relay"
	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/gateway/server"
	"github.com/tidings-im/tidings/migrate"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/proc"
)

// all prepares the stores, then runs gateway, connector and every function until
// ctx is done. Events go through Kafka or are handed over in the process, calls of
// the API over HTTP, for which the functions listen on a port of this machine
// alone. Functions stop last: what the others have begun is ended by them.
func all(ctx context.Context, env *proc.Env) error {
	if err := migrate.Up(ctx, env); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening for the functions: %w", err)
	}
	defer ln.Close()
	env.Default(map[string]string{
		"FUNCTION_URL":          "http://" + ln.Addr().String() + "/{function}",
		"GATEWAY_INTERNAL_ADDR": "127.0.0.1:0",
		"CONNECTOR_TIMERS":      fn.Timers(functions.All, 0),
	})
	life, stopFunctions := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFunctions()
	h, err := fn.Mount(life, env, functions.All...)
	if err != nil {
		return err
	}
	gateway, err := server.Open(life, env)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return env.Serve(life, ln, h) })
	g.Go(func() error {
		defer stopFunctions()
		var front errgroup.Group
		front.Go(func() error { return named("gateway", ctx, gateway.Serve(ctx)) })
		front.Go(func() error { return named("connector", ctx, relay.Run(ctx, env)) })
		return front.Wait()
	})
	return g.Wait()
}

// named says which part ended, and makes an error of an end that nobody asked for.
func named(part string, ctx context.Context, err error) error {
	if err == nil && ctx.Err() == nil {
		err = errors.New("it ended by itself")
	}
	if err != nil {
		return fmt.Errorf("running the %s: %w", part, err)
	}
	return nil
}
