package user

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	source = "/functions/user"

	// endedFor is how long a session is known to have ended: longer than any
	// access token of it may still be good.
	endedFor = 24 * time.Hour
)

type marker interface {
	// MarkEnded notes for ttl that a session has ended.
	MarkEnded(ctx context.Context, session string, ttl time.Duration) error
}

type conns interface {
	// Lookup returns the connections of those users that have any.
	Lookup(ctx context.Context, users []string) (map[string][]im.Conn, error)
}

type gateways interface {
	// URLs returns the internal URLs of those gateways that there are.
	URLs(ctx context.Context, ids []string) (map[string]string, error)
}

// ender has the sockets of a session closed that has ended in the database.
type ender struct {
	marks    marker
	conns    conns
	gateways gateways
	post     func(ctx context.Context, url string, events []event.Event) ([]fn.Result, error)
	seal     *event.Keyring
	log      *slog.Logger
}

// session notes that a session has ended, and tells the gateways that hold its
// sockets. Only the note can fail: gateways look for notes themselves.
func (e *ender) session(ctx context.Context, user, session string) error {
	if err := e.marks.MarkEnded(ctx, session, endedFor); err != nil {
		return err
	}
	if err := e.tell(ctx, user, session); err != nil {
		e.log.WarnContext(ctx, "a gateway learns late that a session has ended", "user", user, "err", err)
	}
	return nil
}

func (e *ender) tell(ctx context.Context, user, session string) error {
	held, err := e.conns.Lookup(ctx, []string{user})
	if err != nil {
		return err
	}
	var ids []string
	for _, c := range held[user] {
		if c.Session == session {
			ids = append(ids, c.Gateway)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	urls, err := e.gateways.URLs(ctx, ids)
	if err != nil {
		return err
	}
	ended, err := event.New(event.SessionEnded, source, user, event.Ended{Session: session, Reason: frame.CloseSignedOut.Reason})
	if err != nil {
		return err
	}
	ended.TraceParent = fn.TraceParent(ctx)
	e.seal.Sign(&ended)
	var posting errgroup.Group // no more than one user has connections
	for id, url := range urls {
		posting.Go(func() error {
			results, err := e.post(ctx, url+"/push", []event.Event{ended})
			if err == nil {
				err = results[0].Err()
			}
			if err != nil {
				return fmt.Errorf("telling gateway %s: %w", id, err)
			}
			return nil
		})
	}
	return posting.Wait()
}
