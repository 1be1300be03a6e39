package group

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	defaultJoinRequests = 50
	maxJoinRequests     = 100
)

// requestsReader reads who asks to join groups.
type requestsReader interface {
	reader
	// JoinRequests returns at most limit of those who ask to join a group,
	// those first who have asked first: those after the user who asked then.
	JoinRequests(ctx context.Context, group string, after im.Time, user string, limit int) ([]im.JoinRequest, error)
}

type requestsRequest struct {
	Group string `json:"group"`
	page
}

type requestsPage struct {
	Requests []im.JoinRequest `json:"requests"`
	Next     string           `json:"next,omitempty"`
}

// requests returns who asks to join a group, to those who may answer.
func requests(groups requestsReader) func(context.Context, im.Caller, requestsRequest) (requestsPage, error) {
	return func(ctx context.Context, c im.Caller, in requestsRequest) (requestsPage, error) {
		if err := checkGroup(in.Group); err != nil {
			return requestsPage{}, err
		}
		limit, err := im.Limit(in.Limit, defaultJoinRequests, maxJoinRequests)
		if err != nil {
			return requestsPage{}, err
		}
		from, err := cursor.Decode(in.Cursor, cursor.User{})
		if err != nil {
			return requestsPage{}, err
		}
		g, err := groups.Group(ctx, in.Group, c.User)
		if err == nil {
			err = im.May(g.Role(), im.AnswerRequests)
		}
		var found []im.JoinRequest
		if err == nil {
			found, err = groups.JoinRequests(ctx, g.ID, from.Time, from.ID, limit+1)
		}
		if err != nil {
			return requestsPage{}, fmt.Errorf("reading who asks to join group %s: %w", in.Group, err)
		}
		found, last := cursor.Cut(found, limit)
		out := requestsPage{Requests: found}
		if last != nil {
			out.Next = cursor.Encode(cursor.User{Time: last.RequestedAt, ID: last.User.ID})
		}
		return out, nil
	}
}
