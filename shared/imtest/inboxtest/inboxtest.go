// Package inboxtest says what a store of inboxes has to do, as a test that
// every one of them passes. It does not know how they do it.
package inboxtest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// A Store keeps the inboxes of users.
type Store interface {
	// Heads returns the greatest seq of each user; those without one are absent.
	Heads(ctx context.Context, users []string) (map[string]int64, error)

	// Insert adds entries in order and stops at the first that fails: n went
	// in, where the error is Conflict. A store may undo what went in before the
	// failure; n is 0 then. Conflict means that a user has a seq or a message
	// of the rest already.
	Insert(ctx context.Context, entries []im.Entry) (n int, err error)

	// Find returns the seqs of those entries that are there.
	Find(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]int64, error)

	// After returns at most limit entries of a user, those right after a seq,
	// in the order of seq. They have a user, seq, id and message.
	After(ctx context.Context, user string, after int64, limit int) ([]im.Entry, error)

	// Get returns those entries that are there.
	Get(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Entry, error)

	// Latest returns the newest entry that is more than quiet, by the id of its
	// message, in each of a user's conversations. A user of more than limit
	// conversations gets some of them, no fewer than limit.
	Latest(ctx context.Context, user string, limit int) (map[im.Conversation]string, error)

	// Newest returns the id of the newest message in one of a user's
	// conversations that is more than quiet; "" if there is none.
	Newest(ctx context.Context, user string, c im.Conversation) (string, error)

	// Unread returns how many unread entries of a user follow a message, in
	// each of the conversations given; it counts to most, and no further, nor
	// need it among more than ten times as many entries. "" precedes all
	// messages.
	Unread(ctx context.Context, user string, after map[im.Conversation]string, most int) (map[im.Conversation]int, error)

	// Amend replaces the message, class and revision of those entries that are
	// there with a lesser revision, and were more than quiet when they came. Of
	// several for one entry the greatest counts. It changes no seq, and adds
	// nothing. If it fails, any of them may
	// be amended; doing it again, in whatever order, ends the same.
	Amend(ctx context.Context, entries []im.Entry) error

	// Erase removes all entries of a user. If it fails, some may be left; it
	// may be repeated.
	Erase(ctx context.Context, user string) error

	// Seqs is After without the messages: its entries have a user, seq and id.
	Seqs(ctx context.Context, user string, after int64, limit int) ([]im.Entry, error)

	// Remove removes the entries of a user at these seqs, as far as they are
	// there. If it fails, some may be left; it may be repeated. Who removes the
	// one of the greatest seq has it given again.
	Remove(ctx context.Context, user string, seqs []int64) error
}

// Run tests a store. open returns one that is empty; it is called once for
// each part of the test.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for name, part := range map[string]func(*testing.T, Store){
		"an empty inbox has no head and no entries":              empty,
		"what is asked of nobody is nothing":                     nothing,
		"entries come back in order, byte for byte":              order,
		"pages end at their limit and go on where they ended":    pages,
		"the inboxes of users are apart":                         apart,
		"a seq is taken once":                                    seqOnce,
		"a message is taken once":                                messageOnce,
		"an insert that repeats itself is a conflict":            repeatsItself,
		"an insert stops at the first conflict":                  stops,
		"an insert of thousands goes in":                         thousands,
		"heads and entries of many users are found at once":      many,
		"of those who want the same seq one has it":              race,
		"overlapping inserts end, and leave no holes":            overlap,
		"a context that is over is unavailable, and leaves none": canceled,
		"entries are got whole, by their messages":               got,
		"the newest message of each conversation is found":       latest,
		"what is quiet is in no list":                            quiet,
		"no more conversations are read than asked for":          limited,
		"what others wrote after a message is counted, so far":   unread,
		"an amendment replaces what has a lesser revision":       amend,
		"amendments end the same in whatever order they come":    amendOrder,
		"an amendment takes an entry from the list":              amendClass,
		"many entries are amended at once":                       amendMany,
		"an inbox is erased, and nobody else's":                  erase,
		"entries are counted without their messages":             seqs,
		"what is removed is gone, and the rest stays":            remove,
	} {
		t.Run(name, func(t *testing.T) { part(t, open(t)) })
	}
}

// user returns the id of the n-th user.
func user(n int) string { return fmt.Sprintf("user%012d", n) }

// message returns the id of the n-th message.
func message(n int) string { return fmt.Sprintf("01890000-0000-7000-8000-%012x", n) }

func entry(u string, seq int64, m string) im.Entry {
	return im.Entry{User: u, Seq: seq, ID: m, Message: json.RawMessage(`{"id":"` + m + `"}`)}
}

// must inserts entries that are expected to go in.
func must(t *testing.T, s Store, entries ...im.Entry) {
	t.Helper()
	if n, err := s.Insert(t.Context(), entries); err != nil || n != len(entries) {
		t.Fatalf("Insert of %d entries: %d went in, %v", len(entries), n, err)
	}
}

// holds fails the test unless these are all the entries of a user.
func holds(t *testing.T, s Store, u string, want ...im.Entry) {
	t.Helper()
	got, err := s.After(t.Context(), u, 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	same := slices.EqualFunc(got, want, func(a, b im.Entry) bool {
		return a.User == b.User && a.Seq == b.Seq && a.ID == b.ID && bytes.Equal(a.Message, b.Message)
	})
	if !same {
		t.Errorf("the inbox of %s holds\n%v\nwant\n%v", u, got, want)
	}
}

func heads(t *testing.T, s Store, users ...string) map[string]int64 {
	t.Helper()
	h, err := s.Heads(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func empty(t *testing.T, s Store) {
	if h := heads(t, s, user(1), user(2)); len(h) != 0 {
		t.Errorf("heads = %v, want none", h)
	}
	holds(t, s, user(1))
	found, err := s.Find(t.Context(), []im.EntryKey{{User: user(1), ID: message(1)}})
	if err != nil || len(found) != 0 {
		t.Errorf("found %v, %v, want nothing", found, err)
	}
}

func nothing(t *testing.T, s Store) {
	if n, err := s.Insert(t.Context(), nil); n != 0 || err != nil {
		t.Errorf("Insert of nothing = %d, %v", n, err)
	}
	if h := heads(t, s); len(h) != 0 {
		t.Errorf("heads of nobody = %v", h)
	}
	if found, err := s.Find(t.Context(), nil); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v where nothing was asked", found, err)
	}
}

func order(t *testing.T, s Store) {
	u := user(1)
	texts := []string{
		`{"text":"plain"}`,
		"{ \"spaces\" :\t1,\n\"b\":2,\"a\":1.50,\"b\":3 }", // nothing is tidied up
		`{"text":"\u0000\ud800 \u00e9 é 漢字 😀 \\ ' $ <b>"}`,
		`{"text":"` + strings.Repeat("long ", 40_000) + `"}`,
	}
	var want []im.Entry
	for i, text := range texts {
		// Ids run against the order: it is seq that counts.
		want = append(want, im.Entry{User: u, Seq: int64(i + 1), ID: message(100 - i), Message: json.RawMessage(text)})
	}
	must(t, s, want...)
	holds(t, s, u, want...)
	if h := heads(t, s, u); h[u] != int64(len(want)) {
		t.Errorf("head = %v, want %d", h, len(want))
	}
}

func pages(t *testing.T, s Store) {
	u := user(1)
	const most = 25
	for i := range most {
		must(t, s, entry(u, int64(i+1), message(i)))
	}
	for _, tt := range []struct{ after, limit, first, n int }{
		{0, 10, 1, 10}, {10, 10, 11, 10}, {20, 10, 21, 5}, {24, 1, 25, 1}, {most, 10, 0, 0}, {most + 100, 10, 0, 0}, {0, 1, 1, 1},
	} {
		got, err := s.After(t.Context(), u, int64(tt.after), tt.limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != tt.n {
			t.Errorf("after %d at most %d: %d entries, want %d", tt.after, tt.limit, len(got), tt.n)
			continue
		}
		for i, e := range got {
			if e.Seq != int64(tt.first+i) {
				t.Errorf("after %d at most %d: entry %d has seq %d, want %d", tt.after, tt.limit, i, e.Seq, tt.first+i)
			}
		}
	}
}

func apart(t *testing.T, s Store) {
	m := message(1)
	must(t, s, entry(user(1), 1, m), entry(user(2), 1, m), entry(user(2), 2, message(2)))
	holds(t, s, user(1), entry(user(1), 1, m))
	holds(t, s, user(2), entry(user(2), 1, m), entry(user(2), 2, message(2)))
	if h := heads(t, s, user(1), user(2), user(3)); len(h) != 2 || h[user(1)] != 1 || h[user(2)] != 2 {
		t.Errorf("heads = %v", h)
	}
}

// conflicts fails the test unless the insert is a conflict before which n
// entries, or none, went in.
func conflicts(t *testing.T, s Store, n int, entries ...im.Entry) int {
	t.Helper()
	got, err := s.Insert(t.Context(), entries)
	if !errors.Is(err, im.Conflict) || im.KindOf(err) != im.Conflict {
		t.Errorf("Insert = %v, want a conflict", err)
	}
	if got != n && got != 0 {
		t.Errorf("%d went in before the conflict, want %d or none", got, n)
	}
	return got
}

func seqOnce(t *testing.T, s Store) {
	first := entry(user(1), 1, message(1))
	must(t, s, first)
	conflicts(t, s, 0, entry(user(1), 1, message(2)))
	holds(t, s, user(1), first)
	must(t, s, entry(user(1), 2, message(2)))
}

func messageOnce(t *testing.T, s Store) {
	first := entry(user(1), 1, message(1))
	must(t, s, first)
	conflicts(t, s, 0, entry(user(1), 2, message(1)))
	conflicts(t, s, 0, first)
	holds(t, s, user(1), first)
}

func repeatsItself(t *testing.T, s Store) {
	u := user(1)
	n := conflicts(t, s, 1, entry(u, 1, message(1)), entry(u, 1, message(2)))
	holds(t, s, u, []im.Entry{entry(u, 1, message(1))}[:n]...)

	u = user(2)
	n = conflicts(t, s, 1, entry(u, 1, message(1)), entry(u, 2, message(1)))
	holds(t, s, u, []im.Entry{entry(u, 1, message(1))}[:n]...)
}

func stops(t *testing.T, s Store) {
	must(t, s, entry(user(2), 1, message(1)))
	for _, tt := range []struct {
		name     string
		conflict im.Entry
	}{
		{"of seqs", entry(user(2), 1, message(9))},
		{"of messages", entry(user(2), 2, message(1))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := user(len(tt.name)*10), user(len(tt.name)*10+1)
			batch := []im.Entry{entry(a, 1, message(1)), entry(a, 2, message(2)), tt.conflict, entry(user(2), 3, message(3)), entry(b, 1, message(1))}
			n := conflicts(t, s, 2, batch...)
			holds(t, s, a, batch[:n]...)
			holds(t, s, user(2), entry(user(2), 1, message(1)))
			holds(t, s, b) // what follows the failure never goes in
		})
	}
}

func thousands(t *testing.T, s Store) {
	var batch []im.Entry
	for u := range 20 {
		for i := range 100 {
			batch = append(batch, entry(user(u), int64(i+1), message(i)))
		}
	}
	must(t, s, batch...)
	holds(t, s, user(7), batch[700:800]...)
}

func many(t *testing.T, s Store) {
	var batch []im.Entry
	var users []string
	for u := range 300 {
		users = append(users, user(u))
		if u%3 > 0 {
			batch = append(batch, entry(user(u), 1, message(u)))
		}
		if u%3 > 1 {
			batch = append(batch, entry(user(u), 2, message(1000+u)))
		}
	}
	must(t, s, batch...)
	h := heads(t, s, users...)
	keys := make([]im.EntryKey, 0, 2*len(users))
	for u := range users {
		if want, ok := h[user(u)]; want != int64(u%3) || ok != (u%3 > 0) {
			t.Errorf("head of user %d = %d, %v; want %d", u, want, ok, u%3)
		}
		keys = append(keys, im.EntryKey{User: user(u), ID: message(u)}, im.EntryKey{User: user(u), ID: message(1000 + u)})
	}
	found, err := s.Find(t.Context(), keys)
	if err != nil || len(found) != len(batch) {
		t.Fatalf("found %d of %d, %v", len(found), len(batch), err)
	}
	for _, e := range batch {
		if found[e.Key()] != e.Seq {
			t.Errorf("%v is found at %d", e, found[e.Key()])
		}
	}
}

func race(t *testing.T, s Store) {
	u := user(1)
	const rounds, rivals = 10, 6
	for seq := int64(1); seq <= rounds; seq++ {
		var won sync.Map
		var all sync.WaitGroup
		for r := range rivals {
			all.Go(func() {
				n, err := s.Insert(t.Context(), []im.Entry{entry(u, seq, message(int(seq)*100+r))})
				switch {
				case err == nil && n == 1:
					won.Store(r, true)
				case !errors.Is(err, im.Conflict):
					t.Errorf("seq %d: %v", seq, err)
				}
			})
		}
		all.Wait()
		winners := 0
		won.Range(func(any, any) bool { winners++; return true })
		if winners != 1 {
			t.Errorf("seq %d has %d winners", seq, winners)
		}
	}
	got, err := s.After(t.Context(), u, 0, 1000)
	if err != nil || len(got) != rounds {
		t.Errorf("the inbox holds %d entries, %v; want %d", len(got), err, rounds)
	}
}

// overlap has writers insert batches over the same users, each sorted as
// callers sort them. They may conflict; they may not wait for each other in a
// circle, nor fail otherwise.
func overlap(t *testing.T, s Store) {
	const writers, rounds, users = 4, 8, 12
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for r := range rounds {
				var mine []string
				for u := range users {
					if (u+w+r)%3 != 0 {
						mine = append(mine, user(u))
					}
				}
				heads, err := s.Heads(ctx, mine)
				if err != nil {
					t.Error(err)
					return
				}
				var batch []im.Entry
				for _, u := range mine {
					batch = append(batch, entry(u, heads[u]+1, message(1000*w+10*r)), entry(u, heads[u]+2, message(1000*w+10*r+1)))
				}
				slices.SortStableFunc(batch, func(a, b im.Entry) int {
					return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Seq, b.Seq))
				})
				if _, err := s.Insert(ctx, batch); err != nil && !errors.Is(err, im.Conflict) {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	all.Wait()
	for u := range users {
		got, err := s.After(t.Context(), user(u), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range got {
			if e.Seq != int64(i+1) {
				t.Fatalf("user %d has a hole before seq %d", u, e.Seq)
			}
		}
	}
}

func canceled(t *testing.T, s Store) {
	must(t, s, entry(user(1), 1, message(1)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Insert(ctx, []im.Entry{entry(user(1), 2, message(2))})
	if im.KindOf(err) != im.Unavailable {
		t.Errorf("Insert = %v, of kind %q; want %q", err, im.KindOf(err), im.Unavailable)
	}
	if _, err := s.Heads(ctx, []string{user(1)}); im.KindOf(err) != im.Unavailable {
		t.Errorf("Heads = %v, of kind %q", err, im.KindOf(err))
	}
	if _, err := s.Find(ctx, []im.EntryKey{{User: user(1), ID: message(1)}}); im.KindOf(err) != im.Unavailable {
		t.Errorf("Find = %v, of kind %q", err, im.KindOf(err))
	}
	if _, err := s.After(ctx, user(1), 0, 1); im.KindOf(err) != im.Unavailable {
		t.Errorf("After = %v, of kind %q", err, im.KindOf(err))
	}
	holds(t, s, user(1), entry(user(1), 1, message(1)))
}
