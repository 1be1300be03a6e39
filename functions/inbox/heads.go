package inbox

import (
	"context"
	"fmt"
	"log/slog"
	"maps"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// maxHeads is the most users whose heads may be asked for at once.
const maxHeads = 10_000

// A headReader knows the greatest seq of each user.
type headReader interface {
	// Heads returns the greatest seq of each user; those without one are absent.
	Heads(ctx context.Context, users []string) (map[string]int64, error)
}

// headsOf answers with the heads of users: what the hints say, and the store of
// those whom they do not know, or of all if the question is for exact ones. The
// hints learn what the store said.
func headsOf(from headReader, hints hints, log *slog.Logger) func(context.Context, []event.Heads) []fn.Reply[event.HeadsAnswer] {
	one := func(ctx context.Context, ask event.Heads) (event.HeadsAnswer, error) {
		if len(ask.Users) > maxHeads {
			return event.HeadsAnswer{}, im.Errorf(im.Invalid, "%d users are too many to ask about: %d are the most", len(ask.Users), maxHeads)
		}
		heads := make(map[string]int64, len(ask.Users))
		if !ask.Exact {
			hinted, err := hints.Heads(ctx, ask.Users)
			if err != nil {
				log.WarnContext(ctx, "reading inbox hints", "err", err)
			}
			maps.Copy(heads, hinted)
		}
		read := make(map[string]int64)
		var missing []string
		for _, user := range ask.Users {
			if !im.IsID(user) {
				return event.HeadsAnswer{}, im.Errorf(im.Invalid, "%.40q is not the id of a user", user)
			}
			if _, ok := heads[user]; !ok {
				missing = append(missing, user)
				heads[user], read[user] = 0, 0
			}
		}
		if len(missing) > 0 {
			found, err := from.Heads(ctx, missing)
			if err != nil {
				return event.HeadsAnswer{}, fmt.Errorf("reading inbox heads: %w", err)
			}
			maps.Copy(heads, found)
			maps.Copy(read, found)
			if err := hints.RaiseHeads(ctx, read); err != nil {
				log.WarnContext(ctx, "raising inbox hints", "err", err)
			}
		}
		return event.HeadsAnswer{Heads: heads}, nil
	}
	return func(ctx context.Context, asks []event.Heads) []fn.Reply[event.HeadsAnswer] {
		replies := make([]fn.Reply[event.HeadsAnswer], len(asks))
		for i, ask := range asks {
			replies[i].Value, replies[i].Err = one(ctx, ask)
		}
		return replies
	}
}
