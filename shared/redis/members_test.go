package redis

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// groups is a MemberSource.
type groups struct {
	mu    sync.Mutex
	of    map[string]im.Members
	err   error
	reads atomic.Int32
	read  func() // called in the middle of each read
}

func (g *groups) set(group string, version int64, users ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.of == nil {
		g.of = map[string]im.Members{}
	}
	g.of[group] = im.Members{Version: version, Users: users}
}

func (g *groups) GroupMembers(_ context.Context, ask []string) (map[string]im.Members, error) {
	g.reads.Add(1)
	g.mu.Lock()
	found := map[string]im.Members{}
	for _, id := range ask {
		if m, ok := g.of[id]; ok {
			found[id] = im.Members{Version: m.Version, Users: slices.Clone(m.Users)}
		}
	}
	err := g.err
	g.mu.Unlock()
	if g.read != nil {
		g.read()
	}
	return found, err
}

func (g *groups) expect(t *testing.T, reads int32) {
	t.Helper()
	if n := g.reads.Swap(0); n != reads {
		t.Errorf("the source was read %d times, want %d", n, reads)
	}
}

func members1(t *testing.T, m *Members, group string) string {
	t.Helper()
	got, err := m.Members(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(got)
}

func TestMembersAreReadOnceForAllProcesses(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		var src groups
		src.set("x", 1, "cleo", "ann")
		a, b := open(t, url).NewMembers(&src), open(t, url).NewMembers(&src)
		for _, m := range []*Members{a, a, b, b} {
			if got := members1(t, m, "x"); got != "[ann cleo]" {
				t.Errorf("members = %s", got)
			}
		}
		src.expect(t, 1)
		of, err := b.Of(t.Context(), []string{"x", "none", "x"})
		if err != nil || len(of) != 1 || !slices.Equal(of["x"].Users, []string{"ann", "cleo"}) {
			t.Errorf("of = %v, %v", of, err)
		}
		src.expect(t, 1) // the group that there is not
		if _, err := a.Members(t.Context(), "none"); !errors.Is(err, im.NotFound) {
			t.Errorf("the members of no group: %v", err)
		}
	})
}

func TestMembersThatChangeAreReadAgainByAll(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		var src groups
		src.set("x", 1, "ann")
		a, b := open(t, url).NewMembers(&src), open(t, url).NewMembers(&src)
		members1(t, a, "x")
		members1(t, b, "x")
		src.expect(t, 1)
		src.set("x", 2, "ann", "bob")
		withdraw(t, url, "x", 2)
		for _, m := range []*Members{b, a} {
			if got := members1(t, m, "x"); got != "[ann bob]" {
				t.Errorf("members = %s", got)
			}
		}
		src.expect(t, 1)
		withdraw(t, url, "x", 2) // again, and late
		members1(t, a, "x")
		src.expect(t, 0)
	})
}

func TestASlowReaderDoesNotBringBackOldMembers(t *testing.T) {
	for _, tt := range []struct {
		name      string
		meanwhile func(t *testing.T, c *Client)
	}{
		{"after a change", func(*testing.T, *Client) {}},
		{"after a change that Redis has forgotten", func(t *testing.T, c *Client) {
			if err := c.rdb.FlushAll(t.Context()).Err(); err != nil {
				t.Error(err)
			}
		}},
		{"after a change that Redis has forgotten, with others who read", func(t *testing.T, c *Client) {
			if err := c.rdb.FlushAll(t.Context()).Err(); err != nil {
				t.Error(err)
			}
			var down groups
			down.err = im.Unavailable
			if _, err := c.NewMembers(&down).Members(t.Context(), "x"); err == nil {
				t.Error("members came from nowhere")
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachServer(t, func(t *testing.T, url string) {
				var src groups
				src.set("x", 1, "ann")
				c := open(t, url)
				slow, fast := c.NewMembers(&src), c.NewMembers(&src)
				src.read = func() { // the change comes between the read and the write of the slow one
					src.read = nil
					src.set("x", 2, "ann", "bob")
					withdraw(t, url, "x", 2)
					tt.meanwhile(t, c)
				}
				members1(t, slow, "x")
				for _, m := range []*Members{slow, fast} {
					if got := members1(t, m, "x"); got != "[ann bob]" {
						t.Errorf("members = %s", got)
					}
				}
			})
		})
	}
}

func TestNobodyIsAnsweredByWhatWasReadBeforeTheyAsked(t *testing.T) {
	var src groups
	src.set("x", 1, "ann")
	url := imtest.Redis(t)
	m := open(t, url).NewMembers(&src)
	begun, goOn := make(chan struct{}), make(chan struct{})
	src.read = func() {
		if src.reads.Load() == 1 {
			close(begun)
			<-goOn
		}
	}
	var all sync.WaitGroup
	all.Go(func() { m.Members(t.Context(), "x") })
	<-begun
	src.set("x", 2, "ann", "bob")
	withdraw(t, url, "x", 2)
	asked := make(chan struct{}, 10)
	for range 10 {
		all.Go(func() {
			asked <- struct{}{}
			if got, err := m.Members(t.Context(), "x"); err != nil || len(got) != 2 {
				t.Errorf("members = %v, %v", got, err)
			}
		})
	}
	for range 10 {
		<-asked
	}
	close(goOn)
	all.Wait()
	if n := src.reads.Load(); n > 3 {
		t.Errorf("the source was read %d times", n)
	}
}

func TestWhatItTakesToJudgeWhoMaySpeakIsKept(t *testing.T) {
	for name, want := range map[string]im.Members{
		"nobody muted":      {Version: 7, Users: []string{"ann", "bob"}, Staff: []string{"bob"}},
		"all muted":         {Version: 7, Users: []string{"ann", "bob"}, Staff: []string{"ann", "bob"}, Muted: true},
		"some muted":        {Version: 7, Users: []string{"ann", "bob"}, Staff: []string{"ann"}, MutedUntil: map[string]im.Time{"ann": 1, "bob": 253402300799999999}},
		"a group of nobody": {Version: 7},
	} {
		if got, ok := readMembers(7, writeMembers(want)); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %t; want %+v", name, got, ok, want)
		}
	}
	for _, bad := range []string{"", "ann", "ann,bob", "|||x|", "a||a|", "a||a=x|"} {
		if got, ok := readMembers(1, bad); ok {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}

// withdraw does what who makes a change of a group does.
func withdraw(t testing.TB, url, group string, version int64) {
	t.Helper()
	if err := open(t, url).Withdraw(t.Context(), []im.Stale{{Group: group, Version: version}}); err != nil {
		t.Fatal(err)
	}
}

func TestMembersAreReadOnceForManyWhoAskAtOnce(t *testing.T) {
	var src groups
	src.set("x", 1, "ann")
	m := open(t, imtest.Redis(t)).NewMembers(&src)
	begun, goOn := make(chan struct{}), make(chan struct{})
	src.read = func() { close(begun); <-goOn }
	var wg sync.WaitGroup
	ctx, giveUp := context.WithCancel(t.Context())
	wg.Go(func() {
		if _, err := m.Members(ctx, "x"); !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up got %v", err)
		}
	})
	<-begun
	for range 20 {
		wg.Go(func() {
			if got, err := m.Members(t.Context(), "x"); err != nil || len(got) != 1 {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	giveUp() // the first, for whom it is read
	close(goOn)
	wg.Wait()
	if n := src.reads.Load(); n > 2 { // one who came when the read was over finds it in Redis
		t.Errorf("the source was read %d times", n)
	}
}

func TestMembersWithoutRedisComeFromTheSource(t *testing.T) {
	s := imtest.Start(t, "redis")
	var src groups
	src.set("x", 1, "ann")
	m := open(t, s.URL).NewMembers(&src)
	members1(t, m, "x")
	s.Kill()
	src.reads.Store(0)
	src.set("x", 2, "ann", "bob")
	if got := members1(t, m, "x"); got != "[ann bob]" {
		t.Errorf("members = %s: they are those of before", got)
	}
	src.expect(t, 1)
	src.err = im.Unavailable
	if _, err := m.Members(t.Context(), "x"); !errors.Is(err, im.Unavailable) {
		t.Errorf("without the source, too: %v", err)
	}
}

func BenchmarkOfAGroupOf2000(b *testing.B) {
	var src groups
	var users []string
	for range im.MaxGroup {
		users = append(users, im.NewID())
	}
	src.set("x", 1, users...)
	m := open(b, imtest.Redis(b)).NewMembers(&src)
	for b.Loop() {
		if of, err := m.Of(b.Context(), []string{"x"}); err != nil || of["x"].MaySpeak(users[7], 0) != nil {
			b.Fatal(of, err)
		}
	}
}
