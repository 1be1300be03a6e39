package user

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// maxListed is the most sessions in one answer.
const maxListed = 100

type sessionLister interface {
	// Sessions returns the sessions of a user that have not ended, those first
	// that were used last.
	Sessions(ctx context.Context, user string, limit int) ([]im.Session, error)
}

type session struct {
	ID       string  `json:"id"`
	Device   string  `json:"device"`
	Platform string  `json:"platform"`
	Created  im.Time `json:"created"`
	Seen     im.Time `json:"seen"`
	Current  bool    `json:"current"` // it is the one that asks
}

type sessionList struct {
	Sessions []session `json:"sessions"`
}

// sessions lists where the caller is signed in.
func sessions(of sessionLister) func(context.Context, im.Caller, nothing) (sessionList, error) {
	return func(ctx context.Context, c im.Caller, _ nothing) (sessionList, error) {
		all, err := of.Sessions(ctx, c.User, maxListed)
		if err != nil {
			return sessionList{}, fmt.Errorf("listing sessions: %w", err)
		}
		out := sessionList{Sessions: make([]session, len(all))}
		for i, s := range all {
			out.Sessions[i] = session{s.ID, s.Device, s.Platform, s.Created, s.Seen, s.ID == c.Session}
		}
		return out, nil
	}
}

type revokeRequest struct {
	Session string `json:"session"`
}

// revoke ends a session of the caller, on whichever device. It may be repeated.
func revoke(of sessionEnder, end *ender) func(context.Context, im.Caller, revokeRequest) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in revokeRequest) (nothing, error) {
		if !im.IsID(in.Session) {
			return nothing{}, im.Errorf(im.Invalid, `"session" is the id of a session`)
		}
		if err := of.EndSession(ctx, c.User, in.Session); err != nil {
			return nothing{}, fmt.Errorf("ending a session: %w", err)
		}
		return nothing{}, end.sessions(ctx, frame.CloseRevoked, c.User, in.Session)
	}
}
