package presence

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/shared/im"
)

// maxUsers is how many users can be asked about at once.
const maxUsers = 100

type settings interface {
	// SeenBy returns those of users who let viewer see whether they are online.
	SeenBy(ctx context.Context, viewer string, users []string) ([]string, error)
}

type online interface {
	// Of returns the presence of each user, in their order.
	Of(ctx context.Context, users []string) ([]im.Presence, error)
}

type request struct {
	Users string `json:"users"` // ids, separated by commas
}

type answer struct {
	Presence []im.Presence `json:"presence"`
}

// get says who is online. Who does not let the caller see it is as who was
// never there, and costs the same time.
func get(settings settings, online online) func(context.Context, im.Caller, request) (answer, error) {
	return func(ctx context.Context, c im.Caller, in request) (answer, error) {
		users, err := in.ids()
		if err != nil {
			return answer{}, err
		}
		seen, err := settings.SeenBy(ctx, c.User, users)
		if err != nil {
			return answer{}, fmt.Errorf("asking whom %s may see: %w", c.User, err)
		}
		all, err := online.Of(ctx, users)
		if err != nil {
			return answer{}, err
		}
		for i, p := range all {
			if !slices.Contains(seen, p.User) {
				all[i] = im.Presence{User: p.User}
			}
		}
		return answer{all}, nil
	}
}

// ids returns the users that in asks about, each once.
func (in request) ids() ([]string, error) {
	if in.Users == "" {
		return nil, im.Errorf(im.Invalid, `"users" is missing: ids of users, separated by commas`)
	}
	var ids []string
	for id := range strings.SplitSeq(in.Users, ",") {
		switch {
		case !im.IsID(id):
			return nil, im.Errorf(im.Invalid, "%.40q is not the id of a user", id)
		case slices.Contains(ids, id):
		case len(ids) == maxUsers:
			return nil, im.Errorf(im.TooLarge, "%d users can be asked about at once", maxUsers)
		default:
			ids = append(ids, id)
		}
	}
	return ids, nil
}
