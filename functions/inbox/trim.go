package inbox

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	// trimAge is the least age of what is removed, unless Kafka and its dead letters
	// keep messages for longer. What is not there any more would be added anew if its
	// message came again.
	trimAge = 51 * 24 * time.Hour

	trimWalk  = "inbox-trim"
	trimUsers = 200 // whose inboxes are trimmed before it is noted how far that has come
	trimMany  = 8   // at a time
	trimPage  = 1000
	// trimListed is of how many conversations of a user the newest entry stays.
	trimListed = 20_000
)

// A trimStore keeps inboxes.
type trimStore interface {
	// Seqs returns at most limit entries of a user, without their messages: those
	// right after a seq.
	Seqs(ctx context.Context, user string, after int64, limit int) ([]im.Entry, error)
	// Heads returns the greatest seq of each user; those without one are absent.
	Heads(ctx context.Context, users []string) (map[string]int64, error)
	// Latest returns the newest entry in each of a user's conversations.
	Latest(ctx context.Context, user string, limit int) (map[im.Conversation]string, error)
	// Remove removes the entries of a user at these seqs.
	Remove(ctx context.Context, user string, seqs []int64) error
}

// A walk goes through all users, over any number of runs.
type walk interface {
	// Walk returns the next users; none if all were there.
	Walk(ctx context.Context, name string, limit int) ([]string, error)
	// Walked notes up to which user it has come; "" begins anew.
	Walked(ctx context.Context, name, user string) error
}

// A trimmer removes what is old from inboxes: all before the first entry that is
// to stay, but the newest of each conversation, by which that is in the list of
// its user, and the newest of all, by which the next seq is known.
type trimmer struct {
	inboxes trimStore
	users   walk
	keep    time.Duration // 0 is for ever
	entries int64         // that stay at least; 0 is all
	age     time.Duration // of what is removed, at least, if it is more than trimAge
}

// trim trims the inboxes of as many users as there is time for, and goes on the
// next time where it ended. It may be done twice at once, and be cut off at any
// step. It passes over users of whom that fails. The error says so, or that it
// was cut off before it could note how far it had come.
func (t *trimmer) trim(ctx context.Context) error {
	if t.keep == 0 && t.entries == 0 {
		return nil
	}
	now := time.Now()
	var first error
	for {
		began := time.Now()
		users, err := t.users.Walk(ctx, trimWalk, trimUsers)
		if err != nil {
			return err
		}
		if len(users) == 0 {
			if err := t.users.Walked(ctx, trimWalk, ""); err != nil {
				return err
			}
			return first
		}
		var mu sync.Mutex
		group := errgroup.Group{}
		group.SetLimit(trimMany)
		for _, user := range users {
			group.Go(func() error {
				if err := t.user(ctx, user, now); err != nil {
					mu.Lock()
					defer mu.Unlock()
					if first == nil {
						first = fmt.Errorf("trimming the inbox of %s: %w", user, err)
					}
				}
				return nil
			})
		}
		group.Wait()
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("trimming the inboxes of %d users: %w", len(users), err)
		}
		if err := t.users.Walked(ctx, trimWalk, users[len(users)-1]); err != nil {
			return err
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) < time.Since(began) {
			return first // there is no time for as many again
		}
	}
}

// user trims one inbox.
func (t *trimmer) user(ctx context.Context, user string, now time.Time) error {
	oldest, err := t.inboxes.Seqs(ctx, user, 0, 1)
	if err != nil || len(oldest) == 0 || age(oldest[0], now) < t.least() {
		return err
	}
	heads, err := t.inboxes.Heads(ctx, []string{user})
	if err != nil {
		return err
	}
	latest, err := t.inboxes.Latest(ctx, user, trimListed)
	if err != nil {
		return err
	}
	listed := make(map[string]bool, len(latest))
	for _, id := range latest {
		listed[id] = true
	}
	head, after := heads[user], int64(0)
	for {
		page, err := t.inboxes.Seqs(ctx, user, after, trimPage)
		if err != nil {
			return err
		}
		var gone []int64
		ended := len(page) < trimPage
		for _, e := range page {
			if e.Seq >= head || !t.old(e, head, now) {
				ended = true
				break
			}
			if after = e.Seq; !listed[e.ID] {
				gone = append(gone, e.Seq)
			}
		}
		if err := t.inboxes.Remove(ctx, user, gone); err != nil || ended {
			return err
		}
	}
}

// least returns how old an entry is that may have to go.
func (t *trimmer) least() time.Duration {
	if t.entries > 0 {
		return t.again()
	}
	return t.keep
}

// again returns how old a message is that does not come again.
func (t *trimmer) again() time.Duration { return max(trimAge, t.age) }

// old reports whether an entry of an inbox of this head is to go.
func (t *trimmer) old(e im.Entry, head int64, now time.Time) bool {
	a := age(e, now)
	return t.keep > 0 && a >= t.keep || t.entries > 0 && e.Seq <= head-t.entries && a >= t.again()
}

// age returns how old the message of an entry is.
func age(e im.Entry, now time.Time) time.Duration {
	at, ok := im.TimeOfMessageID(e.ID)
	if !ok { // nobody made such an id for long
		return 1 << 62
	}
	return now.Sub(at.Std())
}
