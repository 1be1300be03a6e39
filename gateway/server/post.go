package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tidings-im/tidings/gateway/ws"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/redis"
)

// poster posts events to functions and to other gateways.
type poster struct {
	*fn.Poster
	functions func(name string) string
	ring      *event.Keyring
	source    string
	gateways  *redis.Gateways
}

// ask returns the way to a function that answers.
func (p *poster) ask(function string) ws.Post { return p.by(p.Ask, function) }

// tell returns the way to a function that does not.
func (p *poster) tell(function string) ws.Post { return p.by(p.Deliver, function) }

func (p *poster) by(post func(context.Context, string, string, []event.Event) ([]fn.Result, error), function string) ws.Post {
	url := p.functions(function)
	return func(ctx context.Context, events []event.Event) ([]fn.Result, error) {
		return post(ctx, function, url, events)
	}
}

func (p *poster) toGateway(ctx context.Context, id string, events []event.Event) error {
	urls, err := p.gateways.URLs(ctx, []string{id})
	if err != nil {
		return err
	}
	url, ok := urls[id]
	if !ok {
		return errors.New("the gateway is gone")
	}
	results, err := p.Deliver(ctx, "gateway", url+"/push", events)
	for _, r := range results {
		err = errors.Join(err, r.Err())
	}
	return err
}

// heads knows heads by Redis's hints and by asking the function inbox-heads.
type heads struct {
	*redis.Client
	post *poster
}

func (h heads) Hints(ctx context.Context, users []string) (map[string]int64, error) {
	return h.Heads(ctx, users)
}

func (h heads) Ask(ctx context.Context, users []string, exact bool) (map[string]int64, error) {
	const function = "inbox-heads"
	e, err := event.New(event.InboxHeads, h.post.source, "", event.Heads{Users: users, Exact: exact})
	if err != nil {
		return nil, err
	}
	h.post.ring.Sign(&e)
	results, err := h.post.ask(function)(ctx, []event.Event{e})
	if err != nil {
		return nil, err
	}
	if err := results[0].Err(); err != nil {
		return nil, err
	}
	var answer event.HeadsAnswer
	if err := json.Unmarshal(results[0].Data, &answer); err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", function, err)
	}
	return answer.Heads, nil
}
