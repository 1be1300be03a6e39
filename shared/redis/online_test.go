package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/im"
)

func online(t testing.TB, url string, settings ...string) *Online {
	t.Helper()
	e := env(t, url, settings...)
	c, err := Open(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	o, err := c.NewOnline(e)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// pass has time go by for ann: what is remembered of her is of longer ago.
func pass(t testing.TB, p *Presence, d time.Duration) {
	t.Helper()
	at, err := p.client.rdb.HGet(t.Context(), seenKey("ann"), "at").Int64()
	if err == nil {
		err = p.client.rdb.HSet(t.Context(), seenKey("ann"), "at", at-d.Microseconds()).Err()
	}
	key := dueKey(dueShard("ann"))
	if score, e := p.client.rdb.ZScore(t.Context(), key, "ann").Result(); e == nil {
		err = errors.Join(err, p.client.rdb.ZAdd(t.Context(), key, redis.Z{Score: score - float64(d.Milliseconds()), Member: "ann"}).Err())
	} else if e != redis.Nil {
		err = errors.Join(err, e)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// leave disconnects ann.
func leave(t testing.TB, p *Presence, conns ...im.Conn) {
	t.Helper()
	if err := p.Disconnect(t.Context(), conns...); err != nil {
		t.Fatal(err)
	}
}

// due returns who is due, and whether ann is.
func due(t testing.TB, p *Presence) (bool, func(context.Context) error) {
	t.Helper()
	users, done, err := p.Due(t.Context())
	if err != nil || len(users) > 1 || len(users) == 1 && users[0] != "ann" {
		t.Fatal(users, err)
	}
	return len(users) == 1, done
}

func TestOnline(t *testing.T) {
	const grace = 10 * time.Second
	for _, tt := range []struct {
		name   string
		do     func(t *testing.T, p *Presence)
		online bool
		seen   time.Duration // ago, to a second; 0 is never
	}{
		{name: "who was never there is offline", do: func(*testing.T, *Presence) {}},
		{name: "who has a connection is online", online: true, do: func(t *testing.T, p *Presence) {
			connect(t, p, "1 phone ios")
			pass(t, p, time.Hour) // of silence
		}},
		{name: "who left a moment ago is online", online: true, do: func(t *testing.T, p *Presence) {
			c, _ := connect(t, p, "1 phone ios")
			leave(t, p, c)
			pass(t, p, grace-time.Second)
		}},
		{name: "who left is offline when the grace is over", seen: grace, do: func(t *testing.T, p *Presence) {
			c, _ := connect(t, p, "1 phone ios")
			pass(t, p, time.Hour)
			leave(t, p, c)
			pass(t, p, grace)
		}},
		{name: "who has another connection left is online", online: true, do: func(t *testing.T, p *Presence) {
			c, _ := connect(t, p, "1 phone ios")
			connect(t, p, "2 laptop desktop")
			leave(t, p, c)
			pass(t, p, time.Hour)
		}},
		{name: "whose gateway died is offline when the lease has ended", seen: time.Minute, do: func(t *testing.T, p *Presence) {
			connect(t, p, "1 phone ios")
			p.client.rdb.HSet(t.Context(), presenceKey("ann"), "1", "1000 1 gw phone ios s") // it ended in 1970
			pass(t, p, time.Minute)
		}},
		{name: "of whom a connection goes that was not known nothing is remembered", do: func(t *testing.T, p *Presence) {
			leave(t, p, conn("1 phone ios"))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachServer(t, func(t *testing.T, url string) {
				p, o := presence(t, url), online(t, url)
				tt.do(t, p)
				got, err := o.Of(t.Context(), []string{"ann", "bob"})
				if err != nil || len(got) != 2 || got[0].User != "ann" || got[0].Online != tt.online || got[1] != (im.Presence{User: "bob"}) {
					t.Fatalf("%+v, %v; want online %t", got, err, tt.online)
				}
				ago := time.Duration(0)
				if got[0].LastSeen != 0 {
					ago = time.Since(got[0].LastSeen.Std()).Truncate(time.Second)
				}
				if ago != tt.seen {
					t.Errorf("last seen %s ago, want %s", ago, tt.seen)
				}
			})
		})
	}
}

// Others are told of a user who comes and of one who is gone, and of nothing
// between: not of a second device, not of a connection that breaks and comes
// back.
func TestTurned(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		p, o := presence(t, url), online(t, url)
		turned := func(what, want string) {
			t.Helper()
			all, err := o.Turned(t.Context(), []string{"ann"})
			got := ""
			for _, q := range all {
				got = fmt.Sprint(q.Online, q.LastSeen != 0)
			}
			if err != nil || got != want {
				t.Errorf("%s: others are told %q, %v; want %q", what, got, err, want)
			}
		}
		a, _ := connect(t, p, "1 phone ios")
		turned("she came", "true false")
		turned("they were told", "")
		b, _ := connect(t, p, "2 laptop desktop")
		turned("a second device", "")
		leave(t, p, a)
		pass(t, p, time.Hour)
		turned("one of two devices", "")
		leave(t, p, b)
		turned("a moment after she left", "")
		c, _ := connect(t, p, "3 laptop desktop")
		pass(t, p, time.Hour)
		turned("she came back", "")
		leave(t, p, c)
		pass(t, p, time.Hour)
		if _, err := o.Of(t.Context(), []string{"ann"}); err != nil { // who asks tells nobody else
			t.Fatal(err)
		}
		turned("she is gone", "false true")
		turned("they were told that, too", "")
		untold := func(online bool) {
			t.Helper()
			if err := o.Untold(t.Context(), []im.Presence{{User: "ann", Online: online}}); err != nil {
				t.Fatal(err)
			}
		}
		untold(false)
		turned("that did not work", "false true")
		connect(t, p, "4 laptop desktop")
		turned("she is there again", "true false")
		untold(true)
		turned("that did not work either", "true false")
		wipe(t, p.client)
		turned("Redis forgot her", "false false")
	})
}

// Of many who ask at once one is to tell others.
func TestTurnedIsForOne(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		p, o := presence(t, url), online(t, url)
		connect(t, p, "1 phone ios")
		answers := make(chan int)
		for range 16 {
			go func() {
				turned, err := o.Turned(context.Background(), []string{"ann"})
				if err != nil {
					t.Error(err)
				}
				answers <- len(turned)
			}()
		}
		sum := 0
		for range 16 {
			sum += <-answers
		}
		if sum != 1 {
			t.Errorf("%d are to tell", sum)
		}
	})
}

func TestDue(t *testing.T) {
	const lease, grace = time.Minute, 10 * time.Second
	come := func(t *testing.T, p *Presence) im.Conn { c, _ := connect(t, p, "1 phone ios"); return c }
	told := func(t *testing.T, p *Presence) im.Conn {
		c := come(t, p)
		if err := p.client.rdb.HSet(t.Context(), seenKey("ann"), "told", 1).Err(); err != nil {
			t.Fatal(err)
		}
		_, done := due(t, p)
		if err := done(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	refresh := func(t *testing.T, p *Presence, c im.Conn) {
		if _, err := p.Refresh(t.Context(), []im.Conn{c}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, p *Presence)
		want bool
	}{
		{"who came", func(t *testing.T, p *Presence) { come(t, p) }, true},
		{"not who came back", func(t *testing.T, p *Presence) { leave(t, p, told(t, p)); come(t, p) }, false},
		{"not who is there", func(t *testing.T, p *Presence) { refresh(t, p, told(t, p)); pass(t, p, lease+grace-time.Second) }, false},
		{"whose gateway died, when the lease and the grace are over", func(t *testing.T, p *Presence) { refresh(t, p, told(t, p)); pass(t, p, lease+grace) }, true},
		{"not who just left", func(t *testing.T, p *Presence) { leave(t, p, told(t, p)); pass(t, p, grace-time.Second) }, false},
		{"who left, when the grace is over", func(t *testing.T, p *Presence) { leave(t, p, told(t, p)); pass(t, p, grace) }, true},
		{"not who left with one device of two", func(t *testing.T, p *Presence) {
			c := told(t, p)
			connect(t, p, "2 laptop desktop")
			leave(t, p, c)
			pass(t, p, grace)
		}, false},
		{"who came and was not looked at for long", func(t *testing.T, p *Presence) {
			c := come(t, p)
			refresh(t, p, c)
		}, true},
		{"who came and could not be looked at", func(t *testing.T, p *Presence) {
			c := come(t, p)
			due(t, p)
			refresh(t, p, c)
		}, true},
		{"not who came and left at once", func(t *testing.T, p *Presence) { leave(t, p, come(t, p)) }, false},
		{"nobody for having been forgotten", func(t *testing.T, p *Presence) {
			c := told(t, p)
			wipe(t, p.client)
			refresh(t, p, c)
			pass(t, p, lease)
		}, false},
		{"not who is looked at", func(t *testing.T, p *Presence) { come(t, p); due(t, p) }, false},
		{"whom nobody has looked at after all", func(t *testing.T, p *Presence) { come(t, p); due(t, p); pass(t, p, dueFor) }, true},
		{"who left while being looked at", func(t *testing.T, p *Presence) {
			c := come(t, p)
			_, done := due(t, p)
			leave(t, p, c)
			if err := done(t.Context()); err != nil {
				t.Fatal(err)
			}
			pass(t, p, grace)
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachServer(t, func(t *testing.T, url string) {
				p := presence(t, url)
				tt.do(t, p)
				if got, _ := due(t, p); got != tt.want {
					t.Errorf("due: %t", got)
				}
			})
		})
	}
}

func TestP7NobodyStaysDueForEver(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		p := presence(t, url)
		want := map[string]bool{}
		for i := range 1000 {
			c := conn("1 phone ios")
			c.User = fmt.Sprint("user", i)
			want[c.User] = true
			if _, _, err := p.Connect(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		for range 1000 {
			users, done, err := p.Due(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(users) == 0 {
				break
			}
			if len(users) > dueShards*dueMost {
				t.Fatalf("%d at once", len(users))
			}
			for _, u := range users {
				if !want[u] {
					t.Fatalf("%s is due again", u)
				}
				delete(want, u)
			}
			if err := done(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if len(want) > 0 {
			t.Errorf("%d were never due", len(want))
		}
		for i := range dueShards {
			if n := p.client.rdb.ZCard(t.Context(), dueKey(i)).Val(); n != 0 {
				t.Errorf("%d are left", n)
			}
		}
		if ttl := p.client.rdb.PTTL(t.Context(), seenKey("user0")).Val(); ttl <= 0 || ttl > seenFor {
			t.Errorf("a user is remembered for %s", ttl)
		}
	})
}

func TestPresenceWithoutRedis(t *testing.T) {
	p, o := presence(t, "redis://127.0.0.1:1"), online(t, "redis://127.0.0.1:1")
	_, ofErr := o.Of(t.Context(), []string{"ann"})
	_, turnedErr := o.Turned(t.Context(), []string{"ann"})
	_, _, dueErr := p.Due(t.Context())
	for i, err := range []error{ofErr, turnedErr, o.Untold(t.Context(), []im.Presence{{User: "ann"}}), dueErr, p.Disconnect(t.Context(), conn("1 phone ios"))} {
		if im.KindOf(err) != im.Unavailable || !strings.Contains(fmt.Sprint(err), ":") {
			t.Errorf("%d: %v", i, err)
		}
	}
	if got, err := o.Of(t.Context(), nil); err != nil || !slices.Equal(got, []im.Presence{}) {
		t.Errorf("of nobody: %v, %v", got, err)
	}
}
