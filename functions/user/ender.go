package user

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/token"
)

const (
	source = "/functions/user"

	// endedFor is how long a session is known to have ended: longer than any
	// access token of it may still be good, with an hour for clocks that differ.
	endedFor = token.MaxTTL + time.Hour

	// afterTime is how long who has done what they were asked for goes on with
	// what session-sweep would do otherwise.
	afterTime = 5 * time.Second
)

type marker interface {
	// MarkEnded notes for ttl that a session has ended.
	MarkEnded(ctx context.Context, session string, ttl time.Duration) error
}

type told interface {
	// Told notes that nobody has to be told any more that sessions have ended.
	Told(ctx context.Context, sessions []string) error
}

type conns interface {
	// Lookup returns the connections of those users that have any.
	Lookup(ctx context.Context, users []string) (map[string][]im.Conn, error)
}

type gateways interface {
	// URLs returns the internal URLs of those gateways that there are.
	URLs(ctx context.Context, ids []string) (map[string]string, error)
}

// ender has the sockets and the access tokens of sessions refused that have
// ended in the database.
type ender struct {
	marks    marker
	told     told
	conns    conns
	gateways gateways
	post     func(ctx context.Context, url string, events []event.Event) ([]fn.Result, error)
	seal     *event.Keyring
	log      *slog.Logger
	audit    *audit.Recorder
}

// sessions notes that sessions of a user have ended, and tells the gateways
// that hold their sockets why. Only the notes can fail: gateways look for notes
// themselves. What fails or is cut off is done by session-sweep.
func (e *ender) sessions(ctx context.Context, why frame.Close, user string, sessions ...string) error {
	for _, s := range sessions {
		e.audit.Record(ctx, audit.Record{Event: audit.TokenRevoked, Reason: why.Reason, User: user, Session: s})
	}
	for _, s := range sessions {
		if err := e.marks.MarkEnded(ctx, s, endedFor); err != nil {
			return err
		}
	}
	if err := e.tell(ctx, why, user, sessions); err != nil {
		e.log.WarnContext(ctx, "a gateway learns late that a session has ended", "user", user, "err", err)
	}
	if err := e.told.Told(ctx, sessions); err != nil {
		e.log.WarnContext(ctx, "sessions are ended once more", "user", user, "err", err)
	}
	return nil
}

// aside is sessions for who has done what they were asked for, and only has
// to tell.
func (e *ender) aside(ctx context.Context, why frame.Close, user string, sessions ...string) {
	if len(sessions) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterTime)
	defer cancel()
	if err := e.sessions(ctx, why, user, sessions...); err != nil {
		e.log.ErrorContext(ctx, "sessions live on until session-sweep ends them, or their access tokens expire", "user", user, "sessions", len(sessions), "err", err)
	}
}

func (e *ender) tell(ctx context.Context, why frame.Close, user string, sessions []string) error {
	held, err := e.conns.Lookup(ctx, []string{user})
	if err != nil {
		return err
	}
	var ids []string
	at := map[string][]event.Event{} // by gateway
	for _, c := range held[user] {
		if !slices.Contains(sessions, c.Session) {
			continue
		}
		ended, err := event.New(event.SessionEnded, source, user, event.Ended{Session: c.Session, Reason: why.Reason})
		if err != nil {
			return err
		}
		ended.TraceParent = fn.TraceParent(ctx)
		e.seal.Sign(&ended)
		ids = append(ids, c.Gateway)
		at[c.Gateway] = append(at[c.Gateway], ended)
	}
	if len(ids) == 0 {
		return nil
	}
	urls, err := e.gateways.URLs(ctx, ids)
	if err != nil {
		return err
	}
	var posting errgroup.Group // no more than one user has connections
	for id, url := range urls {
		posting.Go(func() error {
			results, err := e.post(ctx, url+"/push", at[id])
			for _, r := range results {
				if err == nil {
					err = r.Err()
				}
			}
			if err != nil {
				return fmt.Errorf("telling gateway %s: %w", id, err)
			}
			return nil
		})
	}
	return posting.Wait()
}
