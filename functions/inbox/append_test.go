package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/retry"
)

// shelf is a store in memory, all of it at once, in which things go wrong when told to.
type shelf struct {
	entries []im.Entry
	all     bool // an insert is all or nothing

	insert []error // of the calls to come; nil is none
	amend  []error
	before func() // somebody else, just before the next insert
	err    error  // of reading
	calls  []string
}

func (s *shelf) head(user string) (n int64) {
	for _, e := range s.entries {
		if e.User == user {
			n = max(n, e.Seq)
		}
	}
	return n
}

func (s *shelf) Heads(_ context.Context, users []string) (map[string]int64, error) {
	s.calls = append(s.calls, fmt.Sprint("heads ", len(users)))
	heads := make(map[string]int64)
	for _, u := range users {
		if n := s.head(u); n > 0 {
			heads[u] = n
		}
	}
	return heads, s.err
}

func (s *shelf) Insert(_ context.Context, entries []im.Entry) (int, error) {
	s.calls = append(s.calls, fmt.Sprint("insert ", len(entries)))
	if s.before != nil {
		s.before()
		s.before = nil
	}
	if len(s.insert) > 0 {
		err := s.insert[0]
		s.insert = s.insert[1:]
		if err != nil {
			return 0, err
		}
	}
	for i, e := range entries {
		if slices.ContainsFunc(s.entries, func(had im.Entry) bool {
			return had.User == e.User && (had.Seq == e.Seq || had.ID == e.ID)
		}) {
			if s.all {
				s.entries = s.entries[:len(s.entries)-i]
				return 0, im.Errorf(im.Conflict, "taken")
			}
			return i, im.Errorf(im.Conflict, "taken")
		}
		s.entries = append(s.entries, e)
	}
	return len(entries), nil
}

func (s *shelf) Find(_ context.Context, keys []im.EntryKey) (map[im.EntryKey]int64, error) {
	s.calls = append(s.calls, fmt.Sprint("find ", len(keys)))
	found := make(map[im.EntryKey]int64)
	for _, e := range s.entries {
		if slices.Contains(keys, e.Key()) {
			found[e.Key()] = e.Seq
		}
	}
	return found, s.err
}

func (s *shelf) Amend(_ context.Context, entries []im.Entry) error {
	s.calls = append(s.calls, fmt.Sprint("amend ", len(entries)))
	if len(s.amend) > 0 {
		err := s.amend[0]
		s.amend = s.amend[1:]
		if err != nil {
			return err
		}
	}
	for _, e := range entries {
		for i := range s.entries {
			if had := &s.entries[i]; had.Key() == e.Key() && had.Revision < e.Revision {
				had.Message, had.Class, had.Revision = e.Message, e.Class, e.Revision
			}
		}
	}
	return nil
}

func (s *shelf) Get(_ context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Entry, error) {
	found := make(map[im.EntryKey]im.Entry)
	for _, e := range s.entries {
		if slices.Contains(keys, e.Key()) {
			found[e.Key()] = e
		}
	}
	return found, s.err
}

func (s *shelf) After(_ context.Context, user string, after int64, limit int) ([]im.Entry, error) {
	var out []im.Entry
	for _, e := range s.entries {
		if e.User == user && e.Seq > after {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b im.Entry) int { return int(a.Seq - b.Seq) })
	return out[:min(limit, len(out))], s.err
}

// notes are hints in memory.
type notes struct {
	heads map[string]int64
	err   error
}

func (n *notes) Heads(_ context.Context, users []string) (map[string]int64, error) {
	if n.err != nil {
		return nil, n.err
	}
	out := make(map[string]int64)
	for _, u := range users {
		if seq, ok := n.heads[u]; ok {
			out[u] = seq
		}
	}
	return out, nil
}

func (n *notes) RaiseHeads(_ context.Context, heads map[string]int64) error {
	if n.err == nil {
		if n.heads == nil {
			n.heads = make(map[string]int64)
		}
		for u, seq := range heads {
			n.heads[u] = max(n.heads[u], seq)
		}
	}
	return n.err
}

const (
	ann = "aaaaaaaaaaaaaaaa"
	bob = "bbbbbbbbbbbbbbbb"
	cem = "cccccccccccccccc"
)

func mid(n int) string { return fmt.Sprintf("01890000-0000-7000-8000-%012d", n) }

func to(user string, messages ...int) []im.Entry {
	var out []im.Entry
	for _, m := range messages {
		out = append(out, im.Entry{User: user, ID: mid(m), Message: []byte(`{}`)})
	}
	return out
}

// at is an inbox that holds messages, from seq 1 on.
func at(user string, messages ...int) []im.Entry {
	out := to(user, messages...)
	for i := range out {
		out[i].Seq = int64(i + 1)
	}
	return out
}

func with(parts ...[]im.Entry) []im.Entry { return slices.Concat(parts...) }

// turnAbout returns the first of a and b, their second, and so on.
func turnAbout(a, b []im.Entry) []im.Entry {
	var out []im.Entry
	for i := range a {
		out = append(out, a[i], b[i])
	}
	return out
}

var errLost = im.Errorf(im.Unavailable, "connection lost")

func TestAppend(t *testing.T) {
	long := rand.Perm(100)
	for _, tt := range []struct {
		name   string
		held   []im.Entry
		hints  map[string]int64
		down   error // of the hints
		insert []error
		before []im.Entry // put in by somebody else just before the first insert
		rows   int
		append []im.Entry
		want   map[string][]int // messages by user, in the order of seq
		err    im.Kind
		calls  []string // of a store that inserts one by one; nil: not looked at
	}{
		{
			name:   "first messages begin at 1, in the order given",
			append: with(to(bob, 1), to(ann, 1), to(ann, 2), to(bob, 2)),
			want:   map[string][]int{ann: {1, 2}, bob: {1, 2}},
			calls:  []string{"heads 2", "insert 4"},
		},
		{
			name:   "the order given is kept in a long batch, too",
			append: turnAbout(to(ann, long...), to(bob, long...)),
			want:   map[string][]int{ann: long, bob: long},
		},
		{
			name:   "hints save the store a read",
			held:   with(at(ann, 1, 2), at(bob, 1)),
			hints:  map[string]int64{ann: 2, bob: 1},
			append: with(to(ann, 3), to(bob, 3)),
			want:   map[string][]int{ann: {1, 2, 3}, bob: {1, 3}},
			calls:  []string{"insert 2"},
		},
		{
			name:   "of whom the hints know nothing the store is asked",
			held:   with(at(ann, 1, 2), at(bob, 1)),
			hints:  map[string]int64{ann: 2},
			append: with(to(ann, 3), to(bob, 3)),
			want:   map[string][]int{ann: {1, 2, 3}, bob: {1, 3}},
			calls:  []string{"heads 1", "insert 2"},
		},
		{
			name:   "hints that are down are not read, but have to be raised",
			held:   at(ann, 1),
			down:   errLost,
			append: to(ann, 2),
			want:   map[string][]int{ann: {1, 2}},
			err:    im.Unavailable,
		},
		{
			name:   "hints that are behind cost a read",
			held:   with(at(ann, 1, 2, 3), at(bob, 1)),
			hints:  map[string]int64{ann: 1, bob: 1},
			append: with(to(ann, 4), to(bob, 4)),
			want:   map[string][]int{ann: {1, 2, 3, 4}, bob: {1, 4}},
		},
		{
			name:   "what is there already keeps its seq",
			held:   with(at(ann, 1, 2), at(bob, 2, 1)),
			hints:  map[string]int64{ann: 2, bob: 2},
			append: with(to(ann, 1), to(bob, 1)),
			want:   map[string][]int{ann: {1, 2}, bob: {2, 1}},
		},
		{
			name:   "what is there already, and the hints do not know",
			held:   at(ann, 1, 2),
			hints:  map[string]int64{ann: 0},
			append: to(ann, 1),
			want:   map[string][]int{ann: {1, 2}},
		},
		{
			name:   "a batch of which part is there",
			held:   with(at(ann, 1), at(bob, 2)),
			append: with(to(ann, 1, 2, 3), to(bob, 1, 2, 3)),
			want:   map[string][]int{ann: {1, 2, 3}, bob: {2, 1, 3}},
		},
		{
			name:   "the same twice in one batch is one",
			append: with(to(ann, 1, 1, 2), to(bob, 1), to(ann, 1)),
			want:   map[string][]int{ann: {1, 2}, bob: {1}},
		},
		{
			name:   "somebody else is faster",
			hints:  map[string]int64{ann: 0, bob: 0, cem: 0},
			before: at(bob, 9),
			append: with(to(ann, 1), to(bob, 1), to(cem, 1)),
			want:   map[string][]int{ann: {1}, bob: {9, 1}, cem: {1}},
		},
		{
			name:   "a user's share of more than one insert",
			rows:   2,
			append: with(to(ann, 1, 2, 3, 4, 5), to(bob, 1)),
			want:   map[string][]int{ann: {1, 2, 3, 4, 5}, bob: {1}},
			calls:  []string{"heads 2", "insert 2", "insert 2", "insert 2"},
		},
		{
			name:   "a store that is down fails the append",
			insert: []error{errLost},
			append: to(ann, 1),
			want:   map[string][]int{},
			err:    im.Unavailable,
		},
		{
			name:   "a store that goes down half way fails the append, and what went in stays",
			rows:   1,
			insert: []error{nil, errLost},
			append: to(ann, 1, 2, 3),
			want:   map[string][]int{ann: {1}},
			err:    im.Unavailable,
		},
		{
			name:   "conflicts that never end are given up",
			insert: slices.Repeat([]error{im.Errorf(im.Conflict, "taken")}, 1000),
			append: with(to(ann, 1), to(bob, 1)),
			want:   map[string][]int{},
			err:    im.Unavailable,
		},
		{
			name:   "nothing",
			append: nil,
			want:   map[string][]int{},
		},
	} {
		for _, all := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, all or nothing %v", tt.name, all), func(t *testing.T) {
				s := &shelf{entries: slices.Clone(tt.held), insert: tt.insert, all: all}
				if tt.before != nil {
					s.before = func() { s.entries = append(s.entries, tt.before...) }
				}
				h := &notes{heads: maps.Clone(tt.hints), err: tt.down}
				a := testAppender(s, h)
				if tt.rows > 0 {
					a.rows = tt.rows
				}
				seqs, err := a.append(t.Context(), tt.append)
				if tt.err == "" && err != nil || tt.err != "" && (err == nil || im.KindOf(err) != tt.err) {
					t.Fatalf("error = %v, want kind %q", err, tt.err)
				}
				got := make(map[string][]int)
				for user := range maps.Keys(tt.want) {
					entries, _ := s.After(t.Context(), user, 0, 100)
					for i, e := range entries {
						if e.Seq != int64(i+1) {
							t.Errorf("entry %d of %s has seq %d", i+1, user, e.Seq)
						}
						var m int
						fmt.Sscanf(e.ID[24:], "%d", &m)
						got[user] = append(got[user], m)
					}
				}
				if !maps.EqualFunc(got, tt.want, slices.Equal) {
					t.Errorf("the inboxes hold %v, want %v", got, tt.want)
				}
				if tt.calls != nil && !slices.Equal(s.calls, tt.calls) {
					t.Errorf("the store was asked %v, want %v", s.calls, tt.calls)
				}
				if tt.err != "" {
					return
				}
				for _, e := range tt.append {
					i := slices.IndexFunc(s.entries, func(had im.Entry) bool { return had.Key() == e.Key() })
					if i < 0 || seqs[e.Key()] != s.entries[i].Seq {
						t.Errorf("seq of %v = %d", e.Key(), seqs[e.Key()])
					}
				}
				for _, e := range tt.append {
					if h.heads[e.User] != s.head(e.User) {
						t.Errorf("the hint of %s is %d, the head %d", e.User, h.heads[e.User], s.head(e.User))
					}
				}
			})
		}
	}
}

func testAppender(s store, h hints) *appender {
	a := newAppender(s, h, slog.New(slog.DiscardHandler))
	a.pause = noPause
	return a
}

func noPause(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func TestP7InsertsAreBounded(t *testing.T) {
	t.Run("in rows", func(t *testing.T) {
		s := &shelf{}
		a := testAppender(s, &notes{})
		var entries []im.Entry
		for m := range 50 {
			for u := range 50 {
				entries = append(entries, im.Entry{User: fmt.Sprintf("user%012d", u), ID: mid(m)})
			}
		}
		if _, err := a.append(t.Context(), entries); err != nil {
			t.Fatal(err)
		}
		if want := []string{"heads 50", "insert 2000", "insert 500"}; !slices.Equal(s.calls, want) {
			t.Errorf("the store was asked %v, want %v", s.calls, want)
		}
	})
	t.Run("in bytes", func(t *testing.T) {
		s := &shelf{}
		a := testAppender(s, &notes{})
		large := make([]byte, maxInsertBytes/2-1)
		var entries []im.Entry
		for m := range 5 {
			entries = append(entries, im.Entry{User: ann, ID: mid(m), Message: large})
		}
		entries = append(entries, im.Entry{User: ann, ID: mid(9), Message: make([]byte, 2*maxInsertBytes)})
		if _, err := a.append(t.Context(), entries); err != nil {
			t.Fatal(err)
		}
		if want := []string{"heads 1", "insert 2", "insert 2", "insert 1", "insert 1"}; !slices.Equal(s.calls, want) {
			t.Errorf("the store was asked %v, want %v", s.calls, want)
		}
	})
	t.Run("in time", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &shelf{insert: slices.Repeat([]error{im.Errorf(im.Conflict, "taken")}, 1000)}
		a := testAppender(s, &notes{})
		a.pause = func(ctx context.Context, d time.Duration) error {
			if d > pauses.Limit {
				t.Errorf("a pause of %s", d)
			}
			cancel() // the request's time is over
			return retry.Sleep(ctx, time.Hour)
		}
		_, err := a.append(ctx, to(ann, 1))
		if im.KindOf(err) != im.Unavailable || !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want %s", err, im.Unavailable)
		}
	})
	t.Run("and get smaller while others are faster", func(t *testing.T) {
		taken := im.Errorf(im.Conflict, "taken")
		s := &shelf{insert: []error{taken, taken, taken}}
		a := testAppender(s, &notes{})
		if _, err := a.append(t.Context(), to(ann, 1, 2, 3, 4, 5, 6, 7, 8)); err != nil {
			t.Fatal(err)
		}
		want := []string{"heads 1", "insert 8", "find 8", "heads 1", "insert 4", "find 4", "heads 1", "insert 2", "find 2", "heads 1", "insert 1", "insert 2", "insert 4", "insert 1"}
		if !slices.Equal(s.calls, want) {
			t.Errorf("the store was asked %v, want %v", s.calls, want)
		}
	})
}
