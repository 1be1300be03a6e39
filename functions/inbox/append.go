package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/retry"
)

// A store keeps inboxes, and is the truth about them.
type store interface {
	// Heads returns the greatest seq of each user; those without one are absent.
	Heads(ctx context.Context, users []string) (map[string]int64, error)

	// Insert adds entries in order and stops at the first that fails: n went
	// in, where the error is Conflict. Conflict means that a user has a seq or
	// a message of the rest already. Other errors leave open what went in.
	Insert(ctx context.Context, entries []im.Entry) (n int, err error)

	// Find returns the seqs of those entries that are there.
	Find(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]int64, error)

	// Amend replaces the message, class and revision of those entries that are
	// there with a lesser revision. If it fails, any of them may be amended.
	Amend(ctx context.Context, entries []im.Entry) error
}

// Hints remember the greatest seq of each user, to save the store a read. They
// may be lost, or too low; they are never greater than what the store has.
type hints interface {
	// Heads returns what is known; users of whom nothing is are absent.
	Heads(ctx context.Context, users []string) (map[string]int64, error)

	// RaiseHeads notes that inboxes reach to these seqs at least.
	RaiseHeads(ctx context.Context, heads map[string]int64) error
}

const (
	maxInsertRows  = 2000
	maxInsertBytes = 8 << 20

	// maxFruitless is how many conflicts in a row may bring nothing to light
	// before an append gives up: with pauses of 50 ms at most, under a second.
	maxFruitless = 20
)

// pauses are those after conflicts that brought nothing to light.
var pauses = retry.Backoff{First: 4 * time.Millisecond, Limit: 50 * time.Millisecond}

// An appender appends to inboxes, beside any number of others that do, with no
// lock. An entry only ever lands right after the greatest seq of its user:
// when seq n is visible nothing smaller will appear, so a reader's cursor
// never skips anything. This holds whatever the hints say as long as they are
// not too high, because an insert stops at the first entry that fails: the
// first of each user goes in at head+1 or not at all, and the next only behind
// it.
type appender struct {
	store store
	hints hints
	log   *slog.Logger
	turns turns
	rows  int // most entries in one insert
	pause func(context.Context, time.Duration) error
}

func newAppender(s store, h hints, log *slog.Logger) *appender {
	return &appender{store: s, hints: h, log: log, rows: maxInsertRows, pause: retry.Sleep}
}

// append gives each entry its seq, in the order given, and returns the seqs.
// Entries that are there already keep theirs, so that appending again is safe.
// If it fails, any of them may be there. That includes that the hints could not
// be raised: gateways tell by them who is behind, so that until they are raised
// nobody would hear of an entry whose push is lost, too.
func (a *appender) append(ctx context.Context, entries []im.Entry) (map[im.EntryKey]int64, error) {
	rest := unique(entries)
	// By user, so that no two transactions wait for each other's rows; stable,
	// so that each user's stay in the order given.
	slices.SortStableFunc(rest, func(x, y im.Entry) int { return strings.Compare(x.User, y.User) })

	end, err := a.turns.take(ctx, usersOf(rest))
	defer end()
	if err != nil {
		return nil, im.Wrap(im.Unavailable, err, "the inboxes were too busy for the time there was; try again")
	}
	heads, err := a.heads(ctx, rest)
	if err != nil {
		return nil, err
	}
	seqs := make(map[im.EntryKey]int64, len(rest))
	sure := make(map[string]int64) // heads that the store has vouched for
	rows, fruitless := a.rows, 0
	for len(rest) > 0 {
		batch := number(rest, rows, heads)
		n, conflict := a.store.Insert(ctx, batch)
		if conflict != nil && !errors.Is(conflict, im.Conflict) {
			return nil, fmt.Errorf("appending to inboxes: %w", conflict)
		}
		for _, e := range batch[:n] {
			seqs[e.Key()] = e.Seq
			heads[e.User], sure[e.User] = e.Seq, e.Seq
		}
		rest = rest[n:]
		if conflict == nil {
			rows, fruitless = min(2*rows, a.rows), 0
			continue
		}

		batch = batch[n:]
		behind := usersOf(batch)
		found, err := a.store.Find(ctx, keys(batch))
		if err != nil {
			return nil, fmt.Errorf("looking for what inboxes hold already: %w", err)
		}
		maps.Copy(seqs, found)
		left := len(batch)
		rest = slices.DeleteFunc(rest, func(e im.Entry) bool { _, ok := found[e.Key()]; return ok })
		if n > 0 || len(found) > 0 {
			fruitless = 0
		} else {
			// Others were faster. A smaller insert is open to them for less time.
			rows = max(1, left/2)
			fruitless++
			if err := a.wait(ctx, fruitless, conflict); err != nil {
				return nil, err
			}
		}
		fresh, err := a.store.Heads(ctx, behind)
		if err != nil {
			return nil, fmt.Errorf("reading inbox heads: %w", err)
		}
		for _, user := range behind {
			heads[user] = fresh[user]
		}
		maps.Copy(sure, fresh)
	}
	if err := a.hints.RaiseHeads(ctx, sure); err != nil {
		return nil, fmt.Errorf("raising inbox hints: %w", err)
	}
	return seqs, nil
}

// heads returns the greatest seq of the user of each entry, as far as is known
// without asking the store about everybody.
func (a *appender) heads(ctx context.Context, entries []im.Entry) (map[string]int64, error) {
	all := usersOf(entries)
	heads := make(map[string]int64, len(all))
	hinted, err := a.hints.Heads(ctx, all)
	if err != nil {
		a.log.WarnContext(ctx, "reading inbox hints", "err", err)
	}
	maps.Copy(heads, hinted)
	missing := slices.DeleteFunc(all, func(u string) bool { _, ok := heads[u]; return ok })
	if len(missing) == 0 {
		return heads, nil
	}
	found, err := a.store.Heads(ctx, missing)
	if err != nil {
		return nil, fmt.Errorf("reading inbox heads: %w", err)
	}
	maps.Copy(heads, found)
	return heads, nil
}

// wait pauses after a number of fruitless conflicts in a row, not after the
// first: that is what a hint that is behind looks like.
func (a *appender) wait(ctx context.Context, fruitless int, cause error) error {
	if fruitless > maxFruitless {
		return im.Wrap(im.Unavailable, cause, "too many are writing to these inboxes at once; try again")
	}
	if fruitless == 1 {
		return nil
	}
	if err := a.pause(ctx, pauses.Full(fruitless)); err != nil {
		return im.Wrap(im.Unavailable, err, "the inboxes were too busy for the time there was; try again")
	}
	return nil
}

// number returns the first of rest, as many as make one insert, with the seqs
// that follow the heads.
func number(rest []im.Entry, rows int, heads map[string]int64) []im.Entry {
	rows = min(rows, len(rest))
	size, user, seq := 0, "", int64(0)
	for i := range rows {
		e := &rest[i]
		if size += len(e.Message); size > maxInsertBytes && i > 0 {
			return rest[:i]
		}
		if e.User != user {
			user, seq = e.User, heads[e.User]
		}
		seq++
		e.Seq = seq
	}
	return rest[:rows]
}

// unique returns the entries without repeats of the same one.
func unique(entries []im.Entry) []im.Entry {
	seen := make(map[im.EntryKey]bool, len(entries))
	out := make([]im.Entry, 0, len(entries))
	for _, e := range entries {
		if k := e.Key(); !seen[k] {
			seen[k] = true
			out = append(out, e)
		}
	}
	return out
}

func keys(entries []im.Entry) []im.EntryKey {
	out := make([]im.EntryKey, len(entries))
	for i, e := range entries {
		out[i] = e.Key()
	}
	return out
}

// users returns the users of entries that are sorted by user, each once.
func usersOf(entries []im.Entry) []string {
	var out []string
	for i, e := range entries {
		if i == 0 || e.User != entries[i-1].User {
			out = append(out, e.User)
		}
	}
	return out
}
