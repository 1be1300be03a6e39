package friend

import (
	"context"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
)

type inquirer interface {
	// FriendRequests returns at most limit requests, newest first: those which
	// user has made or, of incoming ones, may see. They were made after a time
	// and come after one of them.
	FriendRequests(ctx context.Context, user string, incoming bool, since im.Time, after im.FriendRequest, limit int) ([]im.FriendRequest, error)
}

type requestsIn struct {
	Direction string `json:"direction"`
	Limit     int    `json:"limit"`
	Cursor    string `json:"cursor"`
}

type requestsPage struct {
	Requests []im.FriendRequest `json:"requests"`
	Next     string             `json:"next,omitempty"`
}

// requests lists what the caller has asked others, or others the caller, that
// waits for an answer. A request waits for as long as its life is.
func requests(from inquirer, life time.Duration, now func() im.Time) func(context.Context, im.Caller, requestsIn) (requestsPage, error) {
	return func(ctx context.Context, c im.Caller, in requestsIn) (page requestsPage, err error) {
		if in.Direction != "incoming" && in.Direction != "outgoing" {
			return page, im.Errorf(im.Invalid, `"direction" is incoming or outgoing, not %.40q`, in.Direction)
		}
		limit, err := im.Limit(in.Limit, defaultPage, maxPage)
		if err != nil {
			return page, err
		}
		at, err := cursor.Decode(in.Cursor, first)
		if err != nil {
			return page, err
		}
		after := im.FriendRequest{User: im.Profile{ID: at.ID}, RequestedAt: at.Time}
		over := now() - im.Time(life.Microseconds())
		found, err := from.FriendRequests(ctx, c.User, in.Direction == "incoming", over, after, limit+1)
		if err != nil {
			return page, fmt.Errorf("listing requests to be friends: %w", err)
		}
		found, last := cursor.Cut(found, limit)
		page.Requests = found
		if last != nil {
			page.Next = cursor.Encode(cursor.User{Time: last.RequestedAt, ID: last.User.ID})
		}
		return page, nil
	}
}
