package friend

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
)

type blocklist interface {
	// Blocks returns at most limit of those whom user has blocked, newest
	// first: those after one of them.
	Blocks(ctx context.Context, user string, after im.Block, limit int) ([]im.Block, error)
}

type blocksIn struct {
	Limit  int    `json:"limit"`
	Cursor string `json:"cursor"`
}

type blocksPage struct {
	Blocks []im.Block `json:"blocks"`
	Next   string     `json:"next,omitempty"`
}

// blocks lists whom the caller has blocked.
func blocks(from blocklist) func(context.Context, im.Caller, blocksIn) (blocksPage, error) {
	return func(ctx context.Context, c im.Caller, in blocksIn) (page blocksPage, err error) {
		limit, err := im.Limit(in.Limit, defaultPage, maxPage)
		if err != nil {
			return page, err
		}
		at, err := cursor.Decode(in.Cursor, first)
		if err != nil {
			return page, err
		}
		found, err := from.Blocks(ctx, c.User, im.Block{User: im.Profile{ID: at.ID}, Since: at.Time}, limit+1)
		if err != nil {
			return page, fmt.Errorf("listing blocks: %w", err)
		}
		found, last := cursor.Cut(found, limit)
		page.Blocks = found
		if last != nil {
			page.Next = cursor.Encode(cursor.User{Time: last.Since, ID: last.User.ID})
		}
		return page, nil
	}
}
