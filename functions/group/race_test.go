package group

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func TestAGroupNeverHasMoreMembersThanItMay(t *testing.T) {
	w := newWorld(t)
	const room, each = 7, 12
	all := w.users(im.MaxGroup - room + 3*each)
	in, joiners, invitees, askers := all[:im.MaxGroup-room], all[im.MaxGroup-room:][:each], all[im.MaxGroup-room+each:][:each], all[im.MaxGroup-room+2*each:]
	made, err := (&creator{w.change, w.invites(), im.Now}).call(t.Context(), as(in[0]), newGroup{Name: "Crowd", Policy: im.PolicyApproval, Members: in[1:]})
	if err != nil || made.Members != len(in) {
		t.Fatal(made, err)
	}
	j := &joiner{w.change, w.invites(), im.Now}
	for _, u := range askers {
		if s, err := j.ask(t.Context(), as(u), joinRequest{made.ID, ""}); err != nil || s.State != pending {
			t.Fatal(s, err)
		}
	}
	if _, err := update(w.change)(t.Context(), as(in[0]), updateRequest{made.ID, im.GroupChange{Policy: ptr(im.PolicyOpen)}}); err != nil {
		t.Fatal(err)
	}
	var entered atomic.Int64
	var run sync.WaitGroup
	count := func(n int, err error) {
		if err != nil && !errors.Is(err, im.TooLarge) {
			t.Error(err)
		}
		entered.Add(int64(n))
	}
	for i := range each {
		run.Go(func() {
			_, err := j.ask(t.Context(), as(joiners[i]), joinRequest{made.ID, ""})
			count(one01(err), err)
		})
		run.Go(func() {
			_, err := j.respond(t.Context(), as(in[0]), joinResponse{made.ID, askers[i], new(true)})
			count(one01(err), err)
		})
		if i%4 == 0 {
			run.Go(func() {
				got, err := (&inviter{w.change, w.invites(), im.Now}).call(t.Context(), as(in[1]), named{made.ID, invitees[i : i+4]})
				count(len(got.Added), err)
				if err == nil && len(got.Added)+len(got.Skipped) != 4 {
					t.Errorf("invited %+v", got)
				}
			})
		}
	}
	run.Wait()
	list, err := w.db.MemberList(t.Context(), made.ID, "", im.MaxGroup+100)
	if err != nil || len(list) != im.MaxGroup || entered.Load() != room {
		t.Errorf("%d members, %d came in, %v", len(list), entered.Load(), err)
	}
	g, err := w.db.Group(t.Context(), made.ID, in[0])
	if err != nil || g.Members != im.MaxGroup {
		t.Errorf("%d are counted, %v", g.Members, err)
	}
}

func one01(err error) int {
	if err != nil {
		return 0
	}
	return 1
}

func TestAGroupAlwaysHasOneOwner(t *testing.T) {
	w := newWorld(t)
	people := w.users(6)
	made, err := (&creator{w.change, w.invites(), im.Now}).call(t.Context(), as(people[0]), newGroup{Name: "Relay", Policy: im.PolicyOpen, Members: people[1:]})
	if err != nil {
		t.Fatal(err)
	}
	var run sync.WaitGroup
	done := make(chan struct{})
	var handed atomic.Int64
	for _, u := range people {
		run.Go(func() {
			for handed.Load() < 30 {
				to := people[rand.IntN(len(people))]
				if _, err := role(w.change)(t.Context(), as(u), roleRequest{made.ID, to, im.RoleOwner}); err == nil && to != u {
					handed.Add(1)
				}
				switch rand.IntN(4) {
				case 0:
					leave(w.change, im.Now)(t.Context(), as(u), one{made.ID})
				case 1:
					remove(w.change, im.Now)(t.Context(), as(u), removeRequest{named: named{made.ID, []string{to}}})
				}
				(&joiner{w.change, w.invites(), im.Now}).ask(t.Context(), as(u), joinRequest{made.ID, ""})
			}
		})
	}
	var looking sync.WaitGroup
	looks := 0
	looking.Go(func() {
		for {
			list, err := w.db.MemberList(t.Context(), made.ID, "", 100)
			owners := 0
			for _, m := range list {
				if m.Role == im.RoleOwner {
					owners++
				}
			}
			if err != nil || owners != 1 {
				t.Errorf("%d owners of %+v, %v", owners, list, err)
				return
			}
			looks++
			select {
			case <-done:
				return
			default:
			}
		}
	})
	run.Wait()
	close(done)
	looking.Wait()
	g, err := w.db.Group(t.Context(), made.ID, people[0])
	if err != nil {
		t.Fatal(err)
	}
	list, err := w.db.MemberList(t.Context(), made.ID, "", 100)
	if err != nil || len(list) != g.Members || !slices.ContainsFunc(list, func(m im.GroupMember) bool { return m.User.ID == g.Owner && m.Role == im.RoleOwner }) {
		t.Errorf("%+v has %+v, %v", g, list, err)
	}
	if looks < 20 {
		t.Errorf("looked at %d times: nothing was tested", looks)
	}
}

func TestWhoReadsWhatChangedMissesNothing(t *testing.T) {
	w := newWorld(t)
	people := w.users(40)
	made, err := (&creator{w.change, w.invites(), im.Now}).call(t.Context(), as(people[0]), newGroup{Name: "Busy", Policy: im.PolicyOpen, Members: people[1:20]})
	if err != nil {
		t.Fatal(err)
	}
	owner := as(people[0])
	var run sync.WaitGroup
	done := make(chan struct{})
	for i := range 4 {
		run.Go(func() {
			mine := people[1+i*9 : 1+(i+1)*9]
			for range 50 {
				var err error
				u := mine[rand.IntN(len(mine))]
				switch rand.IntN(6) {
				case 0:
					_, err = (&joiner{w.change, w.invites(), im.Now}).ask(t.Context(), as(u), joinRequest{made.ID, ""})
				case 1:
					_, err = (&inviter{w.change, w.invites(), im.Now}).call(t.Context(), owner, named{made.ID, mine})
				case 2:
					_, err = remove(w.change, im.Now)(t.Context(), owner, removeRequest{named: named{made.ID, mine[:3+rand.IntN(6)]}})
				case 3:
					_, err = leave(w.change, im.Now)(t.Context(), as(u), one{made.ID})
				case 4:
					_, err = role(w.change)(t.Context(), owner, roleRequest{made.ID, u, []im.Role{im.RoleAdmin, im.RoleMember}[rand.IntN(2)]})
				case 5:
					_, err = (&muter{w.change, im.Now}).call(t.Context(), owner, muteRequest{Group: made.ID, User: u, Until: ptr(later + im.Time(rand.IntN(9)))})
				}
				if err != nil && im.KindOf(err).Transient() {
					t.Error(err)
				}
			}
		})
	}
	go func() { run.Wait(); close(done) }()

	var readers sync.WaitGroup
	for limit := range 4 {
		limit := 1 + limit*3
		readers.Go(func() {
			seen := map[string]string{}
			var version int64
			read := func(since int64, whole bool) {
				var next string
				for {
					p, err := members(w.db)(t.Context(), owner, membersRequest{Group: made.ID, Since: since, page: page{Limit: limit, Cursor: next}})
					if err != nil {
						t.Error(err)
						return
					}
					for _, u := range p.Removed {
						delete(seen, u)
					}
					for _, m := range p.Members {
						seen[m.User.ID] = fmt.Sprint(m.Role, m.MutedUntil)
					}
					version, next = p.Version, p.Next
					// A reader of changes may stop after any page and go on by its version.
					if next == "" || !whole && rand.IntN(3) == 0 {
						return
					}
				}
			}
			read(0, true)
			for over := false; !over; {
				select {
				case <-done:
					over = true
				default:
					if rand.IntN(4) == 0 { // afresh
						clear(seen)
						read(0, true)
					}
				}
				read(version, over)
			}
			want := map[string]string{}
			list, err := w.db.MemberList(context.WithoutCancel(t.Context()), made.ID, "", 100)
			if err != nil {
				t.Error(err)
			}
			for _, m := range list {
				want[m.User.ID] = fmt.Sprint(m.Role, m.MutedUntil)
			}
			if fmt.Sprint(seen) != fmt.Sprint(want) {
				t.Errorf("by pages of %d, seen\n%v, there are\n%v", limit, seen, want)
			}
		})
	}
	readers.Wait()
}
