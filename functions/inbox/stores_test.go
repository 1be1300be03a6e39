package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
)

// stores opens the inbox in each real store, as funcs.go does.
var stores = map[string]func(testing.TB) inbox.Store{
	"PostgreSQL": func(t testing.TB) inbox.Store {
		env := imtest.Env(t, map[string]string{"INBOX_STORE": "postgres", "POSTGRES_URL": imtest.Migrated(t, postgres.Migrate)})
		return opened(t, env)
	},
	"MongoDB": func(t testing.TB) inbox.Store {
		return opened(t, imtest.Env(t, map[string]string{"MONGODB_URL": imtest.Mongo(t)}))
	},
}

// TestP2P3ConcurrentAppends has several persisters append overlapping batches
// to the same inboxes of a real store, each cut off at random moments and
// handed the same batch again, while readers follow the inboxes.
func TestP2P3ConcurrentAppends(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) { concurrently(t, open(t)) })
	}
}

func concurrently(t *testing.T, store inbox.Store) {
	const workers, messages, users = 4, 120, 6
	names := make([]string, users)
	for i := range names {
		names[i] = im.NewID()
	}
	group := im.NewID()
	r := &roster{groups: map[string][]string{group: names}}
	var events []event.Event
	want := make(map[string]map[string]bool) // message ids by user
	in := make(map[string]im.Conversation)   // by message id
	for i := range messages {
		a, b := names[i%users], names[(i*7+1)%users]
		c, to := im.Direct(a, b), []string{a, b}
		if i%5 == 0 || a == b {
			c, to = im.Group(group), names
		}
		e := accepted(i, c, a)
		events = append(events, e)
		in[e.ID] = c
		for _, u := range to {
			if want[u] == nil {
				want[u] = make(map[string]bool)
			}
			want[u][e.ID] = true
		}
	}

	h, o := &flaky{hints: &notes{}}, &ledger{told: make(map[delivered]bool)}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			mine := slices.Clone(events)
			rand.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
			for len(mine) > 0 && !t.Failed() {
				batch := mine[:min(len(mine), 1+rand.IntN(25))]
				mine = mine[len(batch):]
				for tries := 0; ; tries++ {
					ctx, cancel := context.WithCancel(ctx)
					cut := time.AfterFunc(time.Hour, cancel)
					if tries < 3 && rand.IntN(2) == 0 { // as by a crash, somewhere in the middle
						cut.Reset(rand.N(15 * time.Millisecond))
					}
					err := newPersister(store, h, fixed{r}, &past{}, o, seal, imtest.Log(t)).persist(ctx, batch)
					cut.Stop()
					cancel()
					if err == nil {
						break
					}
					if !passing(err) || tries > 100 {
						t.Errorf("after %d tries: %v", tries, err)
						return
					}
				}
			}
		})
	}

	done := make(chan struct{})
	var readers sync.WaitGroup
	for _, u := range names {
		readers.Go(func() {
			cursor, last := int64(0), false
			for !t.Failed() {
				page, err := store.After(ctx, u, cursor, 7)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range page {
					if e.Seq != cursor+1 {
						t.Errorf("P3: after %d the reader of %s finds %d", cursor, u, e.Seq)
					}
					cursor = e.Seq
				}
				if len(page) > 0 {
					continue
				}
				if last {
					break
				}
				select {
				case <-done:
					last = true
				default:
				}
			}
			if cursor != int64(len(want[u])) {
				t.Errorf("P3: the reader of %s ends at %d of %d", u, cursor, len(want[u]))
			}
		})
	}
	all.Wait()
	close(done)
	readers.Wait()

	for _, u := range names {
		entries, err := store.After(ctx, u, 0, 10*messages)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		for i, e := range entries {
			if e.Seq != int64(i+1) || seen[e.ID] || !want[u][e.ID] {
				t.Errorf("P2: entry %d of %s has seq %d of message %s", i+1, u, e.Seq, e.ID)
			}
			seen[e.ID] = true
			e.Conversation = in[e.ID]
			if !o.told[delivered{e.Key(), e.Seq}] {
				t.Errorf("P2: nobody was told that %s has %s at %d", u, e.ID, e.Seq)
			}
		}
		if len(seen) != len(want[u]) {
			t.Errorf("P2: %s has %d of %d messages", u, len(seen), len(want[u]))
		}
	}
	for d := range o.told {
		if found, err := store.Find(ctx, []im.EntryKey{d.EntryKey}); err != nil || found[d.EntryKey] != d.seq {
			t.Errorf("P2: %s was told %s at %d; it is at %v, %v", d.User, d.ID, d.seq, found, err)
		}
	}
}

// flaky hints are for many, and get lost, stay behind and fail.
type flaky struct {
	mu    sync.Mutex
	hints *notes
}

func (f *flaky) Heads(ctx context.Context, users []string) (map[string]int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch rand.IntN(10) {
	case 0:
		clear(f.hints.heads)
	case 1:
		return nil, errLost
	}
	return f.hints.Heads(ctx, users)
}

func (f *flaky) RaiseHeads(ctx context.Context, heads map[string]int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rand.IntN(5) == 0 {
		return errLost
	}
	return f.hints.RaiseHeads(ctx, heads)
}

// fixed are members that many may ask for at once.
type fixed struct{ r *roster }

func (l fixed) Members(_ context.Context, group string) ([]string, error) {
	return l.r.groups[group], nil
}

// ledger is a publisher that notes who was told what.
type ledger struct {
	mu   sync.Mutex
	told map[delivered]bool
}

func (l *ledger) Publish(ctx context.Context, _ string, events []event.Event) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publishing: %w", im.Wrap(im.Unavailable, err, "cut off"))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		var a event.Appended
		if err := json.Unmarshal(e.Data, &a); err != nil {
			return err
		}
		id, _, _ := strings.Cut(e.ID, ".")
		for _, to := range a.Entries {
			l.told[delivered{im.EntryKey{User: to.User, ID: id, Conversation: im.Conversation(e.Subject)}, to.Seq}] = true
		}
	}
	return nil
}

// passing reports whether every event that failed may succeed later.
func passing(err error) bool {
	var each fn.Each
	if !errors.As(err, &each) {
		return im.KindOf(err).Transient()
	}
	for _, err := range each {
		if err != nil && !im.KindOf(err).Transient() {
			return false
		}
	}
	return true
}

func opened(t testing.TB, env *proc.Env) inbox.Store {
	t.Helper()
	store, err := inbox.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	return store
}
