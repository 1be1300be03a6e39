package inbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/inbox"
)

// crowd is users who are walked through.
type crowd struct {
	users []string // in order
	after string
	walks int
}

func (c *crowd) Walk(_ context.Context, _ string, limit int) ([]string, error) {
	i, found := slices.BinarySearch(c.users, c.after)
	if found {
		i++
	}
	c.walks++
	return c.users[i:min(len(c.users), i+limit)], nil
}

func (c *crowd) Walked(_ context.Context, _, user string) error {
	c.after = user
	return nil
}

// aged returns the entry of a seq whose message is so old, in one of two
// conversations.
func aged(user string, seq int, days int) im.Entry {
	at := im.TimeOf(time.Now().Add(-time.Duration(days)*24*time.Hour + time.Duration(seq)*time.Second))
	c := im.Direct(user, trimPeer)
	if seq%2 == 0 {
		c = im.Group(trimPeer)
	}
	m := im.NewMessageID(at)
	return im.Entry{User: user, Seq: int64(seq), ID: m, Conversation: c, Class: im.ClassUnread, Message: []byte(`{"id":"` + m + `"}`)}
}

const trimPeer = "zzzzzzzzzzzzzzzz"

func TestTrimming(t *testing.T) {
	day := 24 * time.Hour
	for store, open := range stores {
		s := open(t)
		for _, tt := range []struct {
			name    string
			days    []int // age of the message of each seq
			keep    time.Duration
			entries int64
			want    []int64
		}{
			{"what is old goes", []int{100, 90, 80, 70, 60, 50, 3, 2}, 75 * day, 0, []int64{4, 5, 6, 7, 8}},
			{"the newest of each conversation stays", []int{100, 100, 100, 100, 100, 100, 100, 100}, 75 * day, 0, []int64{7, 8}},
			{"though others of it are in another", []int{100, 99, 90, 3, 2, 1, 90, 1}, 75 * day, 0, []int64{4, 5, 6, 7, 8}},
			{"nothing goes after what stays, so that no holes are made", []int{100, 3, 100, 100, 100, 2, 2, 2}, 75 * day, 0, []int64{2, 3, 4, 5, 6, 7, 8}},
			{"all but the last few go", []int{100, 90, 80, 70, 60, 50, 40, 39}, 0, 3, []int64{6, 7, 8}},
			{"but what may come again stays", []int{100, 90, 80, 31, 30, 29, 28, 27}, 0, 3, []int64{4, 5, 6, 7, 8}},
			{"either is enough", []int{100, 90, 80, 70, 60, 50, 40, 39}, 95 * day, 5, []int64{4, 5, 6, 7, 8}},
			{"nothing is old", []int{9, 8, 7, 6, 5, 4, 3, 2}, 75 * day, 1, []int64{1, 2, 3, 4, 5, 6, 7, 8}},
			{"nothing is to go", []int{900, 800, 700}, 0, 0, []int64{1, 2, 3}},
			{"an inbox of one", []int{900}, 75 * day, 1, []int64{1}},
			{"an empty inbox", nil, 75 * day, 1, nil},
		} {
			t.Run(store+": "+tt.name, func(t *testing.T) {
				user := im.NewID()
				var entries []im.Entry
				for i, days := range tt.days {
					entries = append(entries, aged(user, i+1, days))
				}
				insertAll(t, s, entries...)
				for range 2 {
					tr := &trimmer{inboxes: s, users: &crowd{users: []string{user}}, keep: tt.keep, entries: tt.entries}
					if err := tr.trim(t.Context()); err != nil {
						t.Fatal(err)
					}
					if got := seqsOf(t, s, user); !slices.Equal(got, tt.want) {
						t.Errorf("there are %v, want %v", got, tt.want)
					}
				}
				if n := len(tt.days); n > 0 { // the next one is the next one
					insertAll(t, s, aged(user, n+1, 0))
				}
			})
		}
	}
}

func insertAll(t *testing.T, s inbox.Store, entries ...im.Entry) {
	t.Helper()
	if len(entries) == 0 {
		return
	}
	if _, err := s.Insert(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
}

func seqsOf(t *testing.T, s inbox.Store, user string) (seqs []int64) {
	t.Helper()
	all, err := s.Seqs(t.Context(), user, 0, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		seqs = append(seqs, e.Seq)
	}
	return seqs
}

func TestALargeInboxIsTrimmedInParts(t *testing.T) {
	s := stores["PostgreSQL"](t)
	user := im.NewID()
	var entries []im.Entry
	for i := range 3*trimPage + 10 {
		entries = append(entries, aged(user, i+1, 100))
	}
	insertAll(t, s, entries...)
	tr := &trimmer{inboxes: s, users: &crowd{users: []string{user}}, keep: trimAge}
	if err := tr.trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := seqsOf(t, s, user); !slices.Equal(got, []int64{3*trimPage + 9, 3*trimPage + 10}) {
		t.Errorf("%d are left", len(got))
	}
}

// halting is a store in which the inboxes of some fail, and which ends ctx
// after some.
type halting struct {
	trimStore
	mu     sync.Mutex
	fail   map[string]error
	looked []string
	ends   func(looked int)
}

func (h *halting) Seqs(_ context.Context, user string, _ int64, _ int) ([]im.Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looked = append(h.looked, user)
	if h.ends != nil {
		h.ends(len(h.looked))
	}
	return nil, h.fail[user]
}

func TestAWalkGoesOnWhereItEnded(t *testing.T) {
	c := &crowd{}
	for i := range trimUsers + 50 {
		c.users = append(c.users, fmt.Sprintf("user%012d", i))
	}
	down := errors.New("down")
	ctx, cancel := context.WithCancel(t.Context())
	h := &halting{fail: map[string]error{c.users[3]: down}}
	h.ends = func(n int) {
		if n == trimUsers+10 {
			cancel()
		}
	}
	tr := &trimmer{inboxes: h, users: c, keep: trimAge}
	if err := tr.trim(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("without time: %v", err)
	}
	if c.after != c.users[trimUsers-1] {
		t.Errorf("it has come to %q", c.after)
	}
	h.looked = nil
	if err := tr.trim(t.Context()); err != nil || len(h.looked) != 50 || c.after != "" {
		t.Errorf("then %d users, up to %q, %v", len(h.looked), c.after, err)
	}
	h.looked = nil
	if err := tr.trim(t.Context()); !errors.Is(err, down) || len(h.looked) != len(c.users) || c.after != "" {
		t.Errorf("anew %d users, up to %q, %v", len(h.looked), c.after, err)
	}
}

// slow is a store of empty inboxes that takes its time.
type slow struct{ trimStore }

func (slow) Seqs(context.Context, string, int64, int) ([]im.Entry, error) {
	time.Sleep(10 * time.Millisecond)
	return nil, nil
}

// What ran out of time before it got anywhere has not ended well. What ends
// because there is no time for more has.
func TestTrimmingSaysWhenItGetsNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{}
		for i := range 10 * trimUsers {
			c.users = append(c.users, fmt.Sprintf("user%012d", i))
		}
		tr := &trimmer{inboxes: slow{}, users: c, keep: trimAge}
		perUsers := trimUsers / trimMany * 10 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), perUsers/2)
		defer cancel()
		if err := tr.trim(ctx); !errors.Is(err, context.DeadlineExceeded) || c.after != "" {
			t.Errorf("cut off at %q: %v", c.after, err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), perUsers*7/2)
		defer cancel()
		if err := tr.trim(ctx); err != nil || c.after != c.users[3*trimUsers-1] {
			t.Errorf("with time for three times as many it has come to %q: %v", c.after, err)
		}
	})
}

// What is trimmed is older than anything that can come again: else it would be
// appended a second time.
func TestP2WhatIsTrimmedDoesNotComeAgain(t *testing.T) {
	const messages, deadLetters = 168 * time.Hour, 720 * time.Hour // as they are by default
	if trimAge <= messages+deadLetters {
		t.Errorf("what is %s old is trimmed, and Kafka and its dead letters keep it for %s", trimAge, messages+deadLetters)
	}
	for _, tt := range []struct {
		keep string
		vars map[string]string
		ok   bool
	}{
		{"0", nil, true},
		{"768h", nil, false},
		{"888h", nil, false},
		{trimAge.String(), nil, true},
		{trimAge.String(), map[string]string{"KAFKA_RETENTION_DEADLETTERS": "721h"}, false},
		{trimAge.String(), map[string]string{"KAFKA_RETENTION_MESSAGES": "169h"}, false},
		{trimAge.String(), map[string]string{"KAFKA_RETENTION_MESSAGES": "24h", "KAFKA_RETENTION_DEADLETTERS": "24h"}, true},
		{"2400h", map[string]string{"KAFKA_RETENTION_DEADLETTERS": "1440h"}, true},
	} {
		vars := map[string]string{"INBOX_STORE": "postgres", "POSTGRES_URL": "postgres://u:p@127.0.0.1:1/d", "INBOX_KEEP": tt.keep}
		maps.Copy(vars, tt.vars)
		if _, err := Trim.New(t.Context(), imtest.Env(t, vars)); (err == nil) != tt.ok {
			t.Errorf("INBOX_KEEP=%s with %v: %v", tt.keep, tt.vars, err)
		}
	}
	tr := &trimmer{entries: 1, age: 100 * 24 * time.Hour}
	now := time.Now()
	if tr.old(aged("u", 1, 99), 10, now) || !tr.old(aged("u", 1, 101), 10, now) {
		t.Error("a longer retention is not heeded where inboxes are trimmed by number")
	}
}
