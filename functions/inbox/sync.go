package inbox

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	defaultSync = 200
	maxSync     = 1000

	// Entries that are read at a time, so that a page of large ones is not read
	// in vain: at first, and at most.
	firstRead = 50
	maxRead   = 100

	entryLen = len(`{"seq":9223372036854775807,"message":},`)
)

// A reader reads inboxes.
type reader interface {
	// After returns at most limit entries of a user, those right after a seq.
	After(ctx context.Context, user string, after int64, limit int) ([]im.Entry, error)

	// Heads returns the greatest seq of each user; those without one are absent.
	Heads(ctx context.Context, users []string) (map[string]int64, error)

	getter
}

type syncRequest struct {
	After int64 `json:"after"` // the greatest seq up to which the client has all; 0 has none
	Limit int   `json:"limit,omitempty"`
}

type syncEntry struct {
	Seq     int64           `json:"seq"`
	Message json.RawMessage `json:"message"`
}

// A syncPage is the entries that follow a seq, without holes. A seq that is
// beyond the head has none.
type syncPage struct {
	Entries []syncEntry `json:"entries"`
	Head    int64       `json:"head"` // the greatest seq there is
	More    bool        `json:"more"` // the head is beyond this page
}

func syncAfter(from reader) func(context.Context, im.Caller, syncRequest) (syncPage, error) {
	return func(ctx context.Context, caller im.Caller, in syncRequest) (syncPage, error) {
		page := syncPage{Entries: []syncEntry{}}
		if in.After < 0 {
			return page, im.Errorf(im.Invalid, `"after" is the seq of the last message you have, or 0: not %d`, in.After)
		}
		limit, err := im.Limit(in.Limit, defaultSync, maxSync)
		if err != nil {
			return page, err
		}
		last, size, full := in.After, 0, false
		for !full {
			want := min(limit-len(page.Entries), reads(size, len(page.Entries)))
			got, err := from.After(ctx, caller.User, last, want)
			if err != nil {
				return page, fmt.Errorf("reading an inbox: %w", err)
			}
			if err := fill(ctx, from, caller.User, got); err != nil {
				return page, err
			}
			for _, e := range got {
				if size += entryLen + len(e.Message); size > im.MaxPage && len(page.Entries) > 0 {
					full = true
					break
				}
				page.Entries = append(page.Entries, syncEntry{e.Seq, e.Message})
				last = e.Seq
			}
			full = full || len(page.Entries) == limit
			if !full && len(got) < want {
				break
			}
		}
		page.Head = last
		if full || len(page.Entries) == 0 {
			// Read after the entries, so that it is never behind them.
			heads, err := from.Heads(ctx, []string{caller.User})
			if err != nil {
				return page, fmt.Errorf("reading the head of an inbox: %w", err)
			}
			page.Head = heads[caller.User]
		}
		page.More = page.Head > last
		return page, nil
	}
}

// reads returns how many entries are to be read next for a page of n of so many
// bytes: as many as it has room for if they are like those before.
func reads(size, n int) int {
	if n == 0 {
		return firstRead
	}
	return min(max((im.MaxPage-size)/(size/n+1)+1, 1), maxRead)
}
