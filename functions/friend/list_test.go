package friend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
)

// shelf has lists of a few entries, and keeps what it is asked.
type shelf struct {
	friends []im.Friend
	changes im.FriendChanges
	rows    int // requests and blocks
	asked   string
	err     error
}

func (s *shelf) Friends(_ context.Context, user, after string, limit int) ([]im.Friend, int64, error) {
	s.asked += fmt.Sprintf("friends of %s after %q, %d; ", user, after, limit)
	return s.friends[:min(limit, len(s.friends))], 9, s.err
}

func (s *shelf) FriendChanges(_ context.Context, user string, after im.FriendPlace, limit int) (im.FriendChanges, error) {
	s.asked += fmt.Sprintf("changes for %s after %v, %d; ", user, after, limit)
	c := s.changes
	c.Changes = c.Changes[:min(limit, len(c.Changes))]
	return c, s.err
}

func (s *shelf) FriendRequests(_ context.Context, user string, incoming bool, since im.Time, after im.FriendRequest, limit int) ([]im.FriendRequest, error) {
	s.asked += fmt.Sprintf("requests of %s, incoming: %v, since %s, after %s %q, %d; ", user, incoming, since, after.RequestedAt, after.User.ID, limit)
	got := make([]im.FriendRequest, min(limit, s.rows))
	for i := range got {
		got[i] = im.FriendRequest{User: im.Profile{ID: bob}, RequestedAt: noon - im.Time(i)}
	}
	return got, s.err
}

func (s *shelf) Blocks(_ context.Context, user string, after im.Block, limit int) ([]im.Block, error) {
	s.asked += fmt.Sprintf("blocks of %s after %s %q, %d; ", user, after.Since, after.User.ID, limit)
	got := make([]im.Block, min(limit, s.rows))
	for i := range got {
		got[i] = im.Block{User: im.Profile{ID: bob}, Since: noon - im.Time(i)}
	}
	return got, s.err
}

func TestList(t *testing.T) {
	friend := func(id string, version int64) im.Friend { return im.Friend{User: im.Profile{ID: id}, Version: version} }
	three := []im.Friend{friend(ann, 1), friend(bob, 5), friend("cccccccccccccccc", 3)}
	changes := im.FriendChanges{Known: true, Version: 7, Changes: []im.FriendChange{
		{Friend: friend(bob, 5)}, {Friend: friend(ann, 6), Removed: true}, {Friend: friend("cccccccccccccccc", 7)},
	}}
	for _, tt := range []struct {
		name  string
		in    listIn
		shelf shelf
		asked string
		want  string
		err   error
	}{
		{name: "the whole list", shelf: shelf{friends: three}, asked: `friends of ` + ann + ` after "", 201; `, want: "abc  full v9"},
		{name: "as much as there is", in: listIn{Limit: 3}, shelf: shelf{friends: three}, asked: `friends of ` + ann + ` after "", 4; `, want: "abc  full v9"},
		{name: "a page of the list", in: listIn{Limit: 2}, shelf: shelf{friends: three}, asked: `friends of ` + ann + ` after "", 3; `, want: "ab  full v9 next {true 9 0 " + bob + "}"},
		{name: "the next page, which bears the version of the first", in: listIn{Limit: 1, Cursor: cursor.Encode(afterFriend{Whole: true, Version: 4, ID: ann})},
			shelf: shelf{friends: three}, asked: `friends of ` + ann + ` after "` + ann + `", 2; `, want: "a  full v4 next {true 4 0 " + ann + "}"},
		{name: "no friends", shelf: shelf{}, asked: `friends of ` + ann + ` after "", 201; `, want: "  full v9"},
		{name: "changes", in: listIn{Since: 4, Limit: 1000}, shelf: shelf{changes: changes}, asked: `changes for ` + ann + ` after {4 ~}, 1001; `, want: "bc a part v7"},
		{name: "a page of changes", in: listIn{Since: 4, Limit: 2}, shelf: shelf{changes: changes}, asked: `changes for ` + ann + ` after {4 ~}, 3; `, want: "b a part v7 next {false 0 6 " + ann + "}"},
		{name: "the next page of changes", in: listIn{Limit: 9, Cursor: cursor.Encode(afterFriend{At: 5, ID: ann})},
			shelf: shelf{changes: changes}, asked: `changes for ` + ann + ` after {5 ` + ann + `}, 10; `, want: "bc a part v7"},
		{name: "no changes", in: listIn{Since: 7}, shelf: shelf{changes: im.FriendChanges{Known: true, Version: 7}}, asked: `changes for ` + ann + ` after {7 ~}, 201; `, want: "  part v7"},
		{name: "a version that is too old: the whole list", in: listIn{Since: 2}, shelf: shelf{friends: three, changes: im.FriendChanges{Version: 7}},
			asked: `changes for ` + ann + ` after {2 ~}, 201; friends of ` + ann + ` after "", 201; `, want: "abc  full v9"},
		{name: "a page that has become too old: the whole list from its beginning", in: listIn{Cursor: cursor.Encode(afterFriend{At: 5, ID: ann})},
			shelf: shelf{friends: three}, asked: `changes for ` + ann + ` after {5 ` + ann + `}, 201; friends of ` + ann + ` after "", 201; `, want: "abc  full v9"},
		{name: "more than a page may have", in: listIn{Limit: 1001}, err: im.Invalid},
		{name: "fewer than none", in: listIn{Limit: -1}, err: im.Invalid},
		{name: "since before there was anything", in: listIn{Since: -1}, err: im.Invalid},
		{name: "after what is no cursor", in: listIn{Cursor: "x"}, err: im.Invalid},
		{name: "after nobody", in: listIn{Cursor: cursor.Encode(afterFriend{At: 5, ID: "a\x00"})}, err: im.Invalid},
		{name: "after what is too long a cursor", in: listIn{Cursor: strings.Repeat("A", 1<<20)}, err: im.Invalid},
		{name: "the database is down", shelf: shelf{err: down}, err: im.Unavailable},
		{name: "the database is down, changes", in: listIn{Since: 1}, shelf: shelf{err: down}, err: im.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			page, err := list(&tt.shelf)(t.Context(), caller, tt.in)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("error = %v, want %v", err, tt.err)
			}
			if tt.err != nil {
				return
			}
			if tt.shelf.asked != tt.asked {
				t.Errorf("asked %s, want %s", tt.shelf.asked, tt.asked)
			}
			got := ""
			for _, f := range page.Friends {
				got += f.User.ID[:1]
			}
			got += " "
			for _, id := range page.Removed {
				got += id[:1]
			}
			got += fmt.Sprintf(" %s v%d", map[bool]string{true: "full", false: "part"}[page.Full], page.Version)
			if page.Next != "" {
				c, err := cursor.Decode(page.Next, afterFriend{})
				if err != nil {
					t.Error(err)
				}
				got += fmt.Sprintf(" next %v", c)
			}
			if got != tt.want {
				t.Errorf("page is %q, want %q", got, tt.want)
			}
			if (page.Removed == nil) != page.Full {
				t.Errorf("removed is %v, full %v", page.Removed, page.Full)
			}
		})
	}
}

func TestRequestsAndBlocksInPages(t *testing.T) {
	const end = `9999-12-31T23:59:59.999999Z ""`
	second := cursor.Encode(cursor.User{Time: noon - 1, ID: bob})
	for _, tt := range []struct {
		name   string
		blocks bool
		in     requestsIn
		rows   int
		asked  string
		n      int
		next   string
		down   bool
		err    error
	}{
		{name: "incoming", in: requestsIn{Direction: "incoming"}, rows: 50, n: 50, asked: "requests of " + ann + ", incoming: true, since " + over.String() + ", after " + end + ", 51; "},
		{name: "outgoing, a page", in: requestsIn{Direction: "outgoing", Limit: 2}, rows: 3, n: 2, next: second, asked: "requests of " + ann + ", incoming: false, since " + over.String() + ", after " + end + ", 3; "},
		{name: "the next page", in: requestsIn{Direction: "incoming", Limit: 100, Cursor: second}, rows: 0, n: 0,
			asked: "requests of " + ann + ", incoming: true, since " + over.String() + ", after " + (noon - 1).String() + ` "` + bob + `", 101; `},
		{name: "in no direction", in: requestsIn{}, err: im.Invalid},
		{name: "in another direction", in: requestsIn{Direction: "up"}, err: im.Invalid},
		{name: "more than a page may have", in: requestsIn{Direction: "incoming", Limit: 101}, err: im.Invalid},
		{name: "fewer than none", in: requestsIn{Direction: "incoming", Limit: -5}, err: im.Invalid},
		{name: "after what is no cursor", in: requestsIn{Direction: "incoming", Cursor: "e30=="}, err: im.Invalid},
		{name: "the database is down", in: requestsIn{Direction: "incoming"}, down: true, err: im.Unavailable},

		{name: "blocks", blocks: true, rows: 50, n: 50, asked: "blocks of " + ann + " after " + end + ", 51; "},
		{name: "a page of blocks", blocks: true, in: requestsIn{Limit: 2}, rows: 9, n: 2, next: second, asked: "blocks of " + ann + " after " + end + ", 3; "},
		{name: "the next page of blocks", blocks: true, in: requestsIn{Cursor: second}, rows: 1, n: 1, asked: "blocks of " + ann + " after " + (noon - 1).String() + ` "` + bob + `", 51; `},
		{name: "more blocks than a page may have", blocks: true, in: requestsIn{Limit: 101}, err: im.Invalid},
		{name: "blocks after what is no cursor", blocks: true, in: requestsIn{Cursor: "bm8"}, err: im.Invalid},
		{name: "the database of blocks is down", blocks: true, down: true, err: im.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &shelf{rows: tt.rows}
			if tt.down {
				s.err = down
			}
			var n int
			var next string
			var err error
			if tt.blocks {
				var page blocksPage
				page, err = blocks(s)(t.Context(), caller, blocksIn{Limit: tt.in.Limit, Cursor: tt.in.Cursor})
				n, next = len(page.Blocks), page.Next
			} else {
				var page requestsPage
				page, err = requests(s, life, func() im.Time { return noon })(t.Context(), caller, tt.in)
				n, next = len(page.Requests), page.Next
			}
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("error = %v, want %v", err, tt.err)
			}
			if tt.err == nil && (s.asked != tt.asked || n != tt.n || next != tt.next) {
				t.Errorf("asked %s, %d rows, next %q; want %s, %d, %q", s.asked, n, next, tt.asked, tt.n, tt.next)
			}
		})
	}
}

// Somebody makes and loses friends, and calls them names, as fast as they can.
// Their devices page through the list and through its changes all the while,
// a few at a time. A friend who stays is in each whole list, and whoever has
// asked for the last changes has the list as it is.
func TestWhoPagesThroughAListThatChangesMissesNobody(t *testing.T) {
	env := imtest.Env(t, map[string]string{"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate)})
	db, err := pgtest.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	user := func() string {
		id := im.NewID()
		if err := db.CreateUser(t.Context(), im.User{ID: id, Account: "u" + id, Name: "x"}, "-"); err != nil {
			t.Fatal(err)
		}
		return id
	}
	change := func(f func(context.Context, *pgtest.Tx) error) {
		_, _, err := db.Change(t.Context(), f, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
		if err != nil {
			t.Error(err)
		}
	}
	me := user()
	others := make([]string, 24)
	for i := range others {
		others[i] = user()
	}
	toggle := func(other string) {
		change(func(ctx context.Context, tx *pgtest.Tx) error {
			is, err := tx.LockPair(ctx, me, other)
			if err != nil {
				return err
			}
			if is.Friends {
				return tx.Unfriend(ctx, other, me)
			}
			_, _, err = tx.Befriend(ctx, other, me)
			return err
		})
	}
	for _, o := range others[:16] {
		toggle(o)
	}
	stay := others[:8]

	truth := func() map[string]string {
		have := map[string]string{}
		got, _, err := db.Friends(t.Context(), me, "", 1000)
		if err != nil {
			t.Error(err)
		}
		for _, f := range got {
			have[f.User.ID] = f.Remark
		}
		return have
	}
	// pull brings what a device has to the end of the pages.
	pull := func(have map[string]string, since int64, limit int) (map[string]string, int64) {
		in := listIn{Since: since, Limit: limit}
		full := false
		for {
			page, err := list(db)(t.Context(), im.Caller{User: me}, in)
			if err != nil {
				t.Error(err)
				return have, since
			}
			if page.Full && !full {
				full, have = true, map[string]string{}
			}
			for _, f := range page.Friends {
				have[f.User.ID] = f.Remark
			}
			for _, id := range page.Removed {
				delete(have, id)
			}
			if page.Next == "" {
				return have, page.Version
			}
			in.Cursor = page.Next
		}
	}
	type device struct {
		have  map[string]string
		since int64
	}
	devices := make([]device, 3)
	for round := range 20 {
		var writers, readers sync.WaitGroup
		for w := range 3 {
			r := rand.New(rand.NewPCG(uint64(w), uint64(round)))
			writers.Go(func() {
				for range 8 {
					if r.IntN(3) > 0 {
						toggle(others[8+r.IntN(16)])
						continue
					}
					change(func(ctx context.Context, tx *pgtest.Tx) error {
						_, err := tx.SetRemark(ctx, me, stay[r.IntN(len(stay))], im.NewID())
						return err
					})
				}
			})
		}
		done := make(chan struct{})
		for i := range devices {
			readers.Go(func() {
				d := &devices[i]
				for last := false; !last; {
					select {
					case <-done:
						last = true
					default:
					}
					d.have, d.since = pull(d.have, d.since, 2+i)
					for _, s := range stay {
						if _, ok := d.have[s]; !ok {
							t.Error("a friend who stays is missing")
						}
					}
				}
			})
		}
		writers.Wait()
		close(done)
		readers.Wait()
		want := truth()
		for i := range devices {
			d := &devices[i]
			if !maps.Equal(d.have, want) {
				t.Fatalf("a device has\n%v\nthe list is\n%v", d.have, want)
			}
			if (round+i)%3 == 0 { // it loses its memory
				d.have, d.since = nil, 0
			}
		}
	}
}
