package push

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	maxTold    = 5000        // friends whose connections are looked up at a time, about
	untoldTime = time.Second // for noting that nobody was told
)

type online interface {
	// Turned returns the presence of those users of whom others were last told
	// something else, and notes that they are told now; also beside an error.
	Turned(ctx context.Context, users []string) ([]im.Presence, error)
	// Untold notes that others could not be told after all.
	Untold(ctx context.Context, turned []im.Presence) error
}

type watchers interface {
	// Watchers returns the friends whom each user lets know, at most limit of each.
	Watchers(ctx context.Context, users []string, limit int) (map[string][]string, error)
}

// presence tells the friends of users that these have come or gone. The events
// say only that it is worth a look: what is told is what is true then, once,
// however often and by how many gateways it is asked for.
func presence(to *delivery, online online, watchers watchers, fanout int) func(context.Context, []event.Changed) error {
	return func(ctx context.Context, changes []event.Changed) error {
		failed := make(fn.Each, len(changes))
		var users []string
		for i, c := range changes {
			if !im.IsID(c.User) {
				failed[i] = im.Errorf(im.Invalid, "%.40q is no user", c.User)
				continue
			}
			users = append(users, c.User)
		}
		turned, err := online.Turned(ctx, users)
		if len(turned) > 0 {
			err = errors.Join(err, tell(ctx, to, online, watchers, fanout, turned))
		}
		for i := range failed {
			if failed[i] == nil {
				failed[i] = err
			}
		}
		return failed.Or()
	}
}

// tell pushes what is true of users to their friends, or notes that it could not.
func tell(ctx context.Context, to *delivery, online online, watchers watchers, fanout int, turned []im.Presence) error {
	users := make([]string, len(turned))
	for i, p := range turned {
		users[i] = p.User
	}
	friends, err := watchers.Watchers(ctx, users, fanout)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), untoldTime)
		defer cancel()
		return errors.Join(fmt.Errorf("asking whom to tell of %d users: %w", len(users), err), online.Untold(ctx, turned))
	}
	var pushes []push
	n := 0
	for _, p := range turned {
		if len(friends[p.User]) == 0 {
			continue
		}
		if n += len(friends[p.User]); n > maxTold {
			to.deliver(ctx, pushes)
			pushes, n = nil, len(friends[p.User])
		}
		pushes = append(pushes, presencePush(p, friends[p.User]))
	}
	to.deliver(ctx, pushes)
	return nil
}

func presencePush(p im.Presence, friends []string) push {
	to := make([]event.Recipient, len(friends))
	for i, f := range friends {
		to[i].User = f
	}
	return push{
		id:      "presence-" + im.NewID(),
		subject: p.User,
		head:    fmt.Appendf(nil, `{"frame":%s,"to":[`, frame.AppendPresence(nil, p)),
		to:      to,
	}
}
