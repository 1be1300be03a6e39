package inboxtest

import (
	"context"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func seqs(t *testing.T, s Store) {
	u := user(1)
	for i := range 20 {
		must(t, s, in(direct, im.Class(i%3), entry(u, int64(i+1), message(i))))
	}
	must(t, s, entry(user(2), 1, message(1)))
	for _, tt := range []struct{ after, limit, first, n int }{{0, 100, 1, 20}, {0, 7, 1, 7}, {7, 7, 8, 7}, {19, 7, 20, 1}, {20, 7, 0, 0}} {
		got, err := s.Seqs(t.Context(), u, int64(tt.after), tt.limit)
		if err != nil || len(got) != tt.n {
			t.Fatalf("after %d at most %d: %d entries, %v; want %d", tt.after, tt.limit, len(got), err, tt.n)
		}
		for i, e := range got {
			if n := tt.first + i; e.Seq != int64(n) || e.ID != message(n-1) || e.User != u || len(e.Message) > 0 {
				t.Errorf("after %d: entry %d is %+v", tt.after, i, e)
			}
		}
	}
}

func remove(t *testing.T, s Store) {
	u := user(1)
	var all []im.Entry
	for i := range 1500 {
		all = append(all, in(direct, im.Class(i%3), entry(u, int64(i+1), message(i))))
	}
	other := in(direct, im.ClassUnread, entry(user(2), 1, message(1)))
	must(t, s, append(slices.Clone(all), other)...)
	gone := []int64{5, 2_000_000}
	left := slices.Clone(all[1000:])
	for i := range int64(1000) {
		if i == 500 { // kept in the midst of them
			left = slices.Insert(left, 0, all[i])
			continue
		}
		gone = append(gone, i+1)
	}
	for range 2 {
		if err := s.Remove(t.Context(), u, gone); err != nil {
			t.Fatal(err)
		}
		holds(t, s, u, left...)
		if h := heads(t, s, u, user(2)); h[u] != 1500 || h[user(2)] != 1 {
			t.Errorf("heads = %v", h)
		}
	}
	holds(t, s, user(2), other)
	if err := s.Remove(t.Context(), u, nil); err != nil {
		t.Error(err)
	}
	// The list is of what is left.
	newest(t, s, u, direct, message(1499))
	must(t, s, in(direct, im.ClassUnread, entry(u, 1501, message(1501))))
	holds(t, s, u, append(left, entry(u, 1501, message(1501)))...)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Remove(ctx, u, []int64{501}); im.KindOf(err) != im.Unavailable {
		t.Errorf("Remove = %v, of kind %q", err, im.KindOf(err))
	}
	if _, err := s.Seqs(ctx, u, 0, 1); im.KindOf(err) != im.Unavailable {
		t.Errorf("Seqs = %v, of kind %q", err, im.KindOf(err))
	}
}
