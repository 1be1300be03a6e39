// Package archive asks archive-read, the function that reads what has left
// history, for messages. It does not know where these are, so that who asks
// links neither Parquet nor a client of S3.
package archive

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

const (
	function = "archive-read"
	source   = "/shared/archive"

	// patience is less than a function has for its caller.
	patience = 8 * time.Second
)

// A Client asks. It is safe for concurrent use.
type Client struct {
	url  string
	seal func(*event.Event)
	post func(ctx context.Context, url string, events []event.Event) ([]fn.Result, error)
}

// Open returns the process's client of archive-read, which answers at
// FUNCTION_URL. Nothing is connected yet.
func Open(_ context.Context, env *proc.Env) (*Client, error) {
	seal, err := fn.Keyring(env)
	if err != nil {
		return nil, err
	}
	urls, err := fn.OpenURLs(env)
	if err != nil {
		return nil, err
	}
	poster, err := fn.OpenPoster(env, patience)
	if err != nil {
		return nil, err
	}
	return proc.Share(env, "archive", func() (*Client, func() error, error) {
		return &Client{url: urls.Of(function), seal: seal.Sign, post: func(ctx context.Context, url string, events []event.Event) ([]fn.Result, error) {
			return poster.Ask(ctx, function, url, events)
		}}, poster.Close, nil
	})
}

// Read returns what the archive has of a conversation.
func (c *Client) Read(ctx context.Context, ask event.ArchiveAsk) (a event.ArchiveAnswer, err error) {
	e, err := event.New(event.ArchiveRead, source, string(ask.Conversation), ask)
	if err != nil {
		return a, err
	}
	c.seal(&e)
	results, err := c.post(ctx, c.url, []event.Event{e})
	if err == nil {
		err = results[0].Err()
	}
	if err != nil {
		return a, &im.Error{Kind: im.Unavailable, Msg: "this part of the history cannot be read just now; try again", Err: err, Dependency: "archive"}
	}
	if err := json.Unmarshal(results[0].Data, &a); err != nil {
		return a, fmt.Errorf("reading the answer of %s: %w", function, err)
	}
	return a, nil
}

// Find returns those messages of a conversation that the archive has.
func (c *Client) Find(ctx context.Context, of im.Conversation, ids []string) ([]im.Message, error) {
	a, err := c.Read(ctx, event.ArchiveAsk{Conversation: of, IDs: ids})
	return a.Messages, err
}
