package redis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

func presence(t testing.TB, url string, settings ...string) *Presence {
	t.Helper()
	e := env(t, url, settings...)
	c, err := Open(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.NewPresence(e, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// conn is a connection of ann, written "<id> <device> <platform>".
func conn(s string) im.Conn {
	f := strings.Fields(s)
	return im.Conn{ID: f[0], User: "ann", Gateway: "gw-" + f[0], Device: f[1], Platform: f[2], Session: "session-" + f[0]}
}

func connect(t testing.TB, p *Presence, s string) (im.Conn, string) {
	t.Helper()
	c, gone, err := p.Connect(t.Context(), conn(s))
	if err != nil {
		t.Fatal(err)
	}
	return c, displaced(gone)
}

func displaced(gone []im.Displaced) string {
	var s []string
	for _, d := range gone {
		s = append(s, d.ID+" "+d.Reason)
	}
	slices.Sort(s)
	return strings.Join(s, ", ")
}

// there returns the ids of the connections of ann.
func there(t testing.TB, p *Presence) string {
	t.Helper()
	got, err := p.client.Lookup(t.Context(), []string{"ann", "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := got["nobody"]; ok {
		t.Error("nobody is connected")
	}
	var ids []string
	for _, c := range got["ann"] {
		ids = append(ids, c.ID)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

func TestConnect(t *testing.T) {
	for _, tt := range []struct {
		name     string
		settings []string
		before   []string
		connects string
		gone     string
		there    string
	}{
		{name: "the first displaces nobody", connects: "1 phone ios", there: "1"},
		{name: "another of the same device takes its place",
			before: []string{"1 phone ios"}, connects: "2 phone ios", gone: "1 replaced", there: "2"},
		{name: "another of the same platform takes its place",
			before: []string{"1 phone ios", "2 tab web"}, connects: "3 tablet ios", gone: "1 replaced", there: "2 3"},
		{name: "where the policy allows it, one of the same platform does not",
			settings: []string{"ONE_CONNECTION_PER_PLATFORM", "false"},
			before:   []string{"1 phone ios"}, connects: "2 tablet ios", there: "1 2"},
		{name: "but one of the same device does, whatever the platform",
			settings: []string{"ONE_CONNECTION_PER_PLATFORM", "false"},
			before:   []string{"1 phone ios"}, connects: "2 phone android", gone: "1 replaced", there: "2"},
		{name: "one too many takes the place of the oldest",
			settings: []string{"MAX_CONNECTIONS_PER_USER", "2"},
			before:   []string{"1 a ios", "2 b web"}, connects: "3 c desktop", gone: "1 too-many", there: "2 3"},
		{name: "one that replaces another is not one too many",
			settings: []string{"MAX_CONNECTIONS_PER_USER", "2"},
			before:   []string{"1 a ios", "2 b web"}, connects: "3 b web", gone: "2 replaced", there: "1 3"},
		{name: "one is the least that anybody may have",
			settings: []string{"MAX_CONNECTIONS_PER_USER", "1"},
			before:   []string{"1 a ios"}, connects: "2 b web", gone: "1 too-many", there: "2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachServer(t, func(t *testing.T, url string) {
				p := presence(t, url, tt.settings...)
				for _, b := range tt.before {
					connect(t, p, b)
				}
				c, gone := connect(t, p, tt.connects)
				if gone != tt.gone || there(t, p) != tt.there {
					t.Errorf("gone: %q, want %q; there: %q, want %q", gone, tt.gone, there(t, p), tt.there)
				}
				want := conn(tt.connects)
				want.Since = c.Since
				got, err := p.client.Lookup(t.Context(), []string{"ann"})
				if err != nil || c != want || !slices.Contains(got["ann"], want) {
					t.Errorf("connected %+v, looked up %+v, %v", c, got, err)
				}
				if age := time.Since(c.Since.Std()); age < -time.Minute || age > time.Minute {
					t.Errorf("since %s", c.Since)
				}
			})
		})
	}
}

func TestTheReasonsOfDisplacementAreReasonsOfCloseCodes(t *testing.T) {
	if im.Replaced != frame.CloseReplaced.Reason || im.TooMany != frame.CloseTooMany.Reason {
		t.Errorf("%s, %s", im.Replaced, im.TooMany)
	}
}

func TestRefresh(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		p := presence(t, url, "MAX_CONNECTIONS_PER_USER", "2")
		refresh := func(want string, conns ...im.Conn) {
			t.Helper()
			gone, err := p.Refresh(t.Context(), conns)
			if err != nil || displaced(gone) != want {
				t.Errorf("Refresh: %q, %v, want %q", displaced(gone), err, want)
			}
		}
		a, _ := connect(t, p, "1 a ios")
		b, _ := connect(t, p, "2 b web")
		refresh("", a, b)

		c, _ := connect(t, p, "3 b web") // takes the place of b, whose gateway has not heard
		refresh("2 replaced", a, b)      // from Redis
		refresh("2 replaced", b)         // however often it asks
		d, _ := connect(t, p, "4 d bot") // takes the place of a, the oldest
		refresh("1 too-many", a, c, d)   //
		if err := p.Disconnect(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		refresh("", a, c) // there is room again, and its gateway still holds it
		if got := there(t, p); got != "1 3" {
			t.Errorf("there: %s", got)
		}
	})
}

func TestPresenceThatRedisForgotComesBackWhicheverGatewaySpeaksFirst(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		p := presence(t, url, "MAX_CONNECTIONS_PER_USER", "3")
		for range 20 {
			wipe(t, p.client)
			var conns []im.Conn
			for _, s := range []string{"1 a ios", "2 b ios", "3 b web", "4 c web", "5 d bot", "6 e desktop", "7 f android"} {
				c, _ := connect(t, p, s)
				conns = append(conns, c)
			}
			want := there(t, p)
			if want != "5 6 7" {
				t.Fatalf("there: %s", want)
			}
			wipe(t, p.client)
			rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
			closed := map[string]bool{}
			for _, c := range conns { // each at a gateway of its own
				gone, err := p.Refresh(t.Context(), []im.Conn{c})
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range gone {
					closed[d.ID] = true
				}
			}
			if got := there(t, p); got != want || closed["5"] || closed["6"] || closed["7"] {
				t.Fatalf("there: %s, want %s; closed: %v", got, want, closed)
			}
		}
	})
}

func TestAConnectionWhoseLeaseHasEndedIsInNobodysWay(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		p := presence(t, url, "MAX_CONNECTIONS_PER_USER", "1")
		old, _ := connect(t, p, "1 phone ios")
		stored := p.client.rdb.HGet(t.Context(), presenceKey("ann"), "1").Val()
		_, rest, _ := strings.Cut(stored, " ")
		p.client.rdb.HSet(t.Context(), presenceKey("ann"), "1", "1000 "+rest) // it ended in 1970
		if _, gone := connect(t, p, "2 phone ios"); gone != "" || there(t, p) != "2" {
			t.Errorf("gone: %s, there: %s", gone, there(t, p))
		}
		if gone, err := p.Refresh(t.Context(), []im.Conn{old}); err != nil || displaced(gone) != "1 replaced" {
			t.Errorf("when its gateway thaws: %s, %v", displaced(gone), err)
		}
		if ttl := p.client.rdb.PTTL(t.Context(), presenceKey("ann")).Val(); ttl <= 0 || ttl > time.Minute {
			t.Errorf("presence lives for %s", ttl)
		}
	})
}

func TestANewConnectionIsLaterThanOneFromTheFuture(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		p := presence(t, url)
		future := conn("1 phone ios") // by the clock of a server that has been replaced
		future.Since = im.TimeOf(time.Now().Add(time.Hour))
		if _, err := p.Refresh(t.Context(), []im.Conn{future}); err != nil {
			t.Fatal(err)
		}
		if c, gone := connect(t, p, "2 phone ios"); gone != "1 replaced" || c.Since <= future.Since {
			t.Errorf("gone: %s, since %s", gone, c.Since)
		}
	})
}

func TestRefreshAndLookUpMany(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		p := presence(t, url)
		var conns []im.Conn
		var users []string
		for i := range 2*maxPipeline + 1 {
			c := conn("1 phone ios")
			c.User, c.ID = fmt.Sprint("user", i), fmt.Sprint("conn", i)
			c.Since = im.Now()
			conns, users = append(conns, c), append(users, c.User)
		}
		if gone, err := p.Refresh(t.Context(), conns); err != nil || len(gone) > 0 {
			t.Fatal(gone, err)
		}
		got, err := p.client.Lookup(t.Context(), users)
		if err != nil || len(got) != len(users) {
			t.Fatalf("%d of %d users are there: %v", len(got), len(users), err)
		}
		if err := p.Disconnect(t.Context(), conns...); err != nil {
			t.Fatal(err)
		}
		if got, err := p.client.Lookup(t.Context(), users); err != nil || len(got) != 0 {
			t.Errorf("%d users are still there: %v", len(got), err)
		}
	})
}
