package inboxtest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

// in returns e as an entry of a conversation.
func in(c im.Conversation, class im.Class, e im.Entry) im.Entry {
	e.Conversation, e.Class = c, class
	return e
}

var (
	direct = im.Direct(user(1), user(2))
	team   = im.Group("teamteamteamteam")
	empty2 = im.Group("nobodynobodynobo")
)

func latestOf(t *testing.T, s Store, u string, want map[im.Conversation]string) {
	t.Helper()
	got, err := s.Latest(t.Context(), u, 100)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		t.Errorf("the newest messages of %s are %v, want %v", u, got, want)
	}
	for c, id := range want {
		newest(t, s, u, c, id)
	}
}

func newest(t *testing.T, s Store, u string, c im.Conversation, want string) {
	t.Helper()
	if got, err := s.Newest(t.Context(), u, c); got != want || err != nil {
		t.Errorf("the newest message of %s in %s is %q, %v; want %q", u, c, got, err, want)
	}
}

func got(t *testing.T, s Store) {
	u := user(1)
	a := in(direct, im.ClassUnread, entry(u, 1, message(1)))
	b := in(team, im.ClassShown, entry(u, 2, message(2)))
	b.Message, b.Revision = json.RawMessage(`{"text":"\u00e9 `+strings.Repeat("x", 100_000)+`",  "b":1.50}`), 7
	c := in(direct, im.ClassQuiet, entry(user(2), 1, message(3)))
	must(t, s, a, b, c)
	elsewhere := im.EntryKey{User: u, ID: message(1), Conversation: team}
	found, err := s.Get(t.Context(), []im.EntryKey{a.Key(), b.Key(), c.Key(), elsewhere, {User: u, ID: message(3), Conversation: direct}})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 3 {
		t.Errorf("%d entries are got, want 3", len(found))
	}
	for _, want := range []im.Entry{a, b, c} {
		if e := found[want.Key()]; fmt.Sprint(e) != fmt.Sprint(want) {
			t.Errorf("got\n%v\nwant\n%v", e, want)
		}
	}
	if found, err := s.Get(t.Context(), nil); err != nil || len(found) != 0 {
		t.Errorf("got %v, %v where nothing was asked", found, err)
	}
}

func latest(t *testing.T, s Store) {
	u := user(1)
	latestOf(t, s, u, nil)
	must(t, s,
		// The newest is another's, one's own, the only one. Seqs run against
		// places here: it is the place that counts.
		in(direct, im.ClassUnread, entry(u, 1, message(9))),
		in(direct, im.ClassShown, entry(u, 2, message(8))),
		in(team, im.ClassUnread, entry(u, 3, message(4))),
		in(team, im.ClassShown, entry(u, 4, message(5))),
		in(im.Direct(u, user(3)), im.ClassUnread, entry(u, 5, message(1))),
		in(im.Direct(u, user(4)), im.ClassShown, entry(u, 6, message(2))),
		in(direct, im.ClassShown, entry(user(2), 1, message(10))),
	)
	latestOf(t, s, u, map[im.Conversation]string{
		direct: message(9), team: message(5), im.Direct(u, user(3)): message(1), im.Direct(u, user(4)): message(2),
	})
	latestOf(t, s, user(2), map[im.Conversation]string{direct: message(10)})
	newest(t, s, u, empty2, "")
}

func quiet(t *testing.T, s Store) {
	u := user(1)
	must(t, s,
		in(direct, im.ClassUnread, entry(u, 1, message(1))),
		in(direct, im.ClassQuiet, entry(u, 2, message(2))),
		in(team, im.ClassQuiet, entry(u, 3, message(3))),
	)
	latestOf(t, s, u, map[im.Conversation]string{direct: message(1)})
	newest(t, s, u, team, "")
	conflicts(t, s, 0, in(direct, im.ClassQuiet, entry(u, 4, message(2))))
	found, err := s.Find(t.Context(), []im.EntryKey{{User: u, ID: message(3), Conversation: team}})
	if err != nil || len(found) != 1 {
		t.Errorf("found %v, %v", found, err)
	}
}

func limited(t *testing.T, s Store) {
	u := user(1)
	var batch []im.Entry
	for i := range 20 {
		batch = append(batch, in(im.Direct(u, user(100+i/2)), im.Class(1+i%2), entry(u, int64(i+1), message(i))))
	}
	must(t, s, batch...)
	for limit, most := range map[int]int{1: 2, 4: 8, 10: 10, 50: 10} { // of each class apart, if a store likes
		got, err := s.Latest(t.Context(), u, limit)
		if err != nil || len(got) < min(limit, 10) || len(got) > most {
			t.Errorf("of 10 conversations, %d wanted: %d, %v", limit, len(got), err)
		}
	}
}

func unread(t *testing.T, s Store) {
	u := user(1)
	var batch []im.Entry
	for i := range 30 {
		c, class := direct, im.Class(i%3) // each third is another's
		if i >= 24 {
			c, class = team, im.ClassUnread
		}
		batch = append(batch, in(c, class, entry(u, int64(i+1), message(i))))
	}
	must(t, s, batch...)
	must(t, s, in(direct, im.ClassUnread, entry(user(2), 1, message(40))))
	for _, tt := range []struct {
		after map[im.Conversation]string
		most  int
		want  map[im.Conversation]int
	}{
		{map[im.Conversation]string{direct: "", team: "", empty2: ""}, 1000, map[im.Conversation]int{direct: 8, team: 6, empty2: 0}},
		{map[im.Conversation]string{direct: message(2), team: message(24)}, 1000, map[im.Conversation]int{direct: 7, team: 5}},
		{map[im.Conversation]string{direct: message(3), team: message(29)}, 1000, map[im.Conversation]int{direct: 7, team: 0}},
		{map[im.Conversation]string{direct: message(50), team: message(1)}, 1000, map[im.Conversation]int{direct: 0, team: 6}},
		{map[im.Conversation]string{direct: "", team: message(27)}, 5, map[im.Conversation]int{direct: 5, team: 2}},
		{nil, 5, map[im.Conversation]int{}},
	} {
		got, err := s.Unread(t.Context(), u, tt.after, tt.most)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, tt.want) {
			t.Errorf("unread after %v, to %d: %v; want %v", tt.after, tt.most, got, tt.want)
		}
	}
}

// revised returns e as its revision-th.
func revised(e im.Entry, revision int) im.Entry {
	e.Revision = revision
	e.Message = json.RawMessage(fmt.Sprintf(`{"id":"%s","revision":%d}`, e.ID, revision))
	return e
}

// stands fails the test unless this is the entry as it is in the store.
func stands(t *testing.T, s Store, want im.Entry) {
	t.Helper()
	found, err := s.Get(t.Context(), []im.EntryKey{want.Key()})
	if err != nil {
		t.Fatal(err)
	}
	if got := found[want.Key()]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("there is\n%v\nwant\n%v", got, want)
	}
}

func amends(t *testing.T, s Store, entries ...im.Entry) {
	t.Helper()
	if err := s.Amend(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
}

func amend(t *testing.T, s Store) {
	first := in(direct, im.ClassUnread, entry(user(1), 1, message(1)))
	other := in(direct, im.ClassShown, entry(user(2), 1, message(1)))
	must(t, s, first, other)
	two := revised(first, 2)

	amends(t, s)
	amends(t, s, two, revised(in(direct, 1, entry(user(3), 0, message(1))), 2)) // the third has no such entry
	stands(t, s, two)
	stands(t, s, other)
	holds(t, s, user(1), two)
	holds(t, s, user(3))

	amends(t, s, two)
	amends(t, s, revised(first, 1))
	same := revised(first, 2)
	same.Message = json.RawMessage(`{"another":"of the same revision"}`)
	amends(t, s, same)
	stands(t, s, two)
	amends(t, s, revised(first, 1<<30))
	stands(t, s, revised(first, 1<<30))

	// What comes again does not bring back what it was.
	conflicts(t, s, 0, first)
	stands(t, s, revised(first, 1<<30))
}

func amendOrder(t *testing.T, s Store) {
	u := user(1)
	const revisions = 8
	var want []im.Entry
	for m := range 10 {
		e := in(direct, im.ClassUnread, entry(u, int64(m+1), message(m)))
		must(t, s, e)
		want = append(want, e)
	}
	var all sync.WaitGroup
	for range 3 { // each amendment is done by three, at once
		var todo []im.Entry
		for _, e := range want {
			for r := range revisions {
				todo = append(todo, revised(e, r+1))
			}
		}
		rand.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
		all.Go(func() {
			for part := range slices.Chunk(todo, 7) { // in which a message may be twice
				if err := s.Amend(t.Context(), part); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for i := range want {
		want[i] = revised(want[i], revisions)
		stands(t, s, want[i])
	}
	holds(t, s, u, want...)
}

func amendClass(t *testing.T, s Store) {
	u := user(1)
	first := in(direct, im.ClassUnread, entry(u, 1, message(1)))
	second := in(direct, im.ClassUnread, entry(u, 2, message(2)))
	must(t, s, first, second)
	counts := func(want int) {
		t.Helper()
		n, err := s.Unread(t.Context(), u, map[im.Conversation]string{direct: ""}, 10)
		if err != nil || n[direct] != want {
			t.Errorf("unread = %v, %v; want %d", n, err, want)
		}
	}
	counts(2)
	recalled := revised(in(direct, im.ClassShown, second), 1)
	amends(t, s, recalled)
	counts(1)
	latestOf(t, s, u, map[im.Conversation]string{direct: message(2)})
	amends(t, s, revised(in(direct, im.ClassQuiet, second), 2))
	counts(1)
	latestOf(t, s, u, map[im.Conversation]string{direct: message(1)})
	amends(t, s, revised(in(direct, im.ClassQuiet, first), 1))
	counts(0)
	latestOf(t, s, u, nil)
	// They come again, and are what they have become.
	conflicts(t, s, 0, in(direct, im.ClassUnread, entry(u, 3, message(1))))
	conflicts(t, s, 0, in(direct, im.ClassUnread, entry(u, 3, message(2))))
	latestOf(t, s, u, nil)
}

func amendMany(t *testing.T, s Store) {
	const users = 250
	var had, now []im.Entry
	for u := range users {
		e := in(team, im.ClassUnread, entry(user(u), 1, message(1)))
		had, now = append(had, e), append(now, revised(e, 1))
	}
	must(t, s, had...)
	amends(t, s, now...)
	for _, e := range now {
		stands(t, s, e)
	}
}

func erase(t *testing.T, s Store) {
	one := in(direct, im.ClassUnread, entry(user(2), 1, message(1)))
	var batch []im.Entry
	for i := range 300 {
		batch = append(batch, in(direct, im.ClassUnread, entry(user(1), int64(i+1), message(i))))
	}
	must(t, s, append(batch, one)...)
	for range 2 {
		if err := s.Erase(t.Context(), user(1)); err != nil {
			t.Fatal(err)
		}
		holds(t, s, user(1))
		latestOf(t, s, user(1), nil)
		if h := heads(t, s, user(1), user(2)); len(h) != 1 || h[user(2)] != 1 {
			t.Errorf("heads = %v", h)
		}
	}
	holds(t, s, user(2), one)
	must(t, s, batch[0])

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Erase(ctx, user(2)); im.KindOf(err) != im.Unavailable {
		t.Errorf("Erase = %v, of kind %q", err, im.KindOf(err))
	}
	holds(t, s, user(2), one)
}
