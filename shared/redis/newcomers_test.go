package redis

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func newcomers(t *testing.T, url string, settings ...string) *Newcomers {
	t.Helper()
	n, err := OpenNewcomers(t.Context(), env(t, url, settings...))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// An account writes to few strangers in its first hour, to some more in its first
// day, and then to whom it likes.
func TestP7ANewAccountWritesToFewStrangers(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		n := newcomers(t, url, "STRANGERS_FIRST_HOUR", "2", "STRANGERS_FIRST_DAY", "4")
		other := newcomers(t, url, "STRANGERS_FIRST_HOUR", "2", "STRANGERS_FIRST_DAY", "4") // of another process
		now := im.Now()
		n.client.now = func() im.Time { return now }
		other.client.now = n.client.now
		ctx := t.Context()
		if err := n.Mark(ctx, "ann"); err != nil {
			t.Fatal(err)
		}
		may := func(n *Newcomers, users ...string) {
			t.Helper()
			if err := n.Reach(ctx, "ann", users...); err != nil {
				t.Errorf("%q: %v", users, err)
			}
		}
		mayNot := func(wait time.Duration, users ...string) {
			t.Helper()
			var e *im.Error
			if err := n.Reach(ctx, "ann", users...); !errors.As(err, &e) || e.Kind != im.Overloaded || e.RetryAfter != wait {
				t.Errorf("%q: %v (%+v)", users, err, e)
			}
		}
		may(n)
		mayNot(time.Hour, "1", "2", "3") // all or none
		may(n, "1")
		may(other, "1", "2")
		may(n, "1", "2")
		mayNot(time.Hour, "3")
		if err := n.Met(ctx, "ann", "3"); err != nil { // who wrote first is none
			t.Fatal(err)
		}
		may(other, "3")
		now += im.Time((20 * time.Minute).Microseconds())
		mayNot(40*time.Minute, "4")
		now += im.Time((40 * time.Minute).Microseconds())
		may(n, "4", "5")
		mayNot(23*time.Hour, "6")
		if err := n.client.rdb.Del(ctx, newKey("ann")).Err(); err != nil { // it is a day old
			t.Fatal(err)
		}
		may(n, "6", "7", "8")
		if err := n.Reach(ctx, "bob", "1", "2", "3"); err != nil {
			t.Errorf("an old account: %v", err)
		}
	})
}

func TestP7WhatIsRememberedOfANewAccountIsBounded(t *testing.T) {
	n := newcomers(t, imtest.Redis(t))
	if err := n.Mark(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	for i := range metMost + 5 {
		if err := n.Met(t.Context(), "ann", fmt.Sprint("u", i)); err != nil {
			t.Fatal(err)
		}
	}
	if met, err := n.client.rdb.HLen(t.Context(), metKey("ann")).Result(); err != nil || met != metMost {
		t.Errorf("%d are remembered, %v", met, err)
	}
	for _, key := range []string{newKey("ann"), metKey("ann")} {
		if ttl, err := n.client.rdb.TTL(t.Context(), key).Result(); err != nil || ttl <= 0 || ttl > newFor {
			t.Errorf("%s is kept for %s, %v", key, ttl, err)
		}
	}
	down := newcomers(t, "redis://127.0.0.1:1")
	if err := down.Reach(t.Context(), "ann", "bob"); im.KindOf(err) != im.Unavailable {
		t.Errorf("without Redis: %v", err)
	}
}

// One who is new makes bots, which are as new.
func TestP7BotsOfANewAccountWriteToNoMoreStrangersThanItself(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		n := newcomers(t, url, "STRANGERS_FIRST_HOUR", "3", "STRANGERS_FIRST_DAY", "4")
		other := newcomers(t, url, "STRANGERS_FIRST_HOUR", "3", "STRANGERS_FIRST_DAY", "4") // of another process
		ctx := t.Context()
		err := errors.Join(n.Mark(ctx, "eve"), n.MarkBot(ctx, "first", "eve"), n.MarkBot(ctx, "second", "eve"), n.MarkBot(ctx, "bot of ann", "ann"))
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			by       *Newcomers
			from, to string
			may      bool
		}{
			{n, "first", "1", true},
			{other, "second", "2", true},
			{n, "eve", "3", true},
			{n, "second", "1", true}, // to whom one of them has turned before
			{n, "eve", "4", false},
			{other, "first", "4", false},
			{n, "second", "4", false},
			{n, "bot of ann", "1", true}, // ann is no newcomer, and it is one by itself
			{other, "bot of ann", "2", true},
			{n, "bot of ann", "3", true},
			{n, "bot of ann", "4", false},
		} {
			if err := tt.by.Reach(ctx, tt.from, tt.to); (err == nil) != tt.may {
				t.Errorf("%s to %s: %v", tt.from, tt.to, err)
			}
		}
		if err := other.Met(ctx, "second", "5"); err != nil {
			t.Fatal(err)
		}
		if err := n.Reach(ctx, "second", "5"); err != nil {
			t.Errorf("to answer: %v", err)
		}
		if n.old.Contains("first") || n.old.Contains("second") {
			t.Error("a new bot is taken for an old account")
		}
	})
}
