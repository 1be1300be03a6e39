package group

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func TestP6WhoIsBannedComesInByNoWay(t *testing.T) {
	for _, policy := range []im.Policy{im.PolicyOpen, im.PolicyApproval} {
		c := newClub(newWorld(t), policy)
		owner, out := as(c.ids["owner"]), as(c.ids["member2"])
		ask := func() error { _, err := joining(c)(t.Context(), out, joinRequest{c.id, ""}); return err }
		invite := func() []string {
			t.Helper()
			got, err := inviting(c)(t.Context(), owner, named{c.id, []string{out.User}})
			if err != nil {
				t.Fatal(err)
			}
			return got.Skipped
		}
		got, err := remove(c.change, im.Now)(t.Context(), owner, removeRequest{named{c.id, []string{out.User}}, true})
		if err != nil || !slices.Equal(got.Removed, []string{out.User}) {
			t.Fatal(got, err)
		}
		if err := ask(); !errors.Is(err, im.Denied) {
			t.Errorf("%s: who is banned asks to join: %v", policy, err)
		}
		if skipped := invite(); !slices.Equal(skipped, []string{out.User}) {
			t.Errorf("%s: of those invited are skipped %v", policy, skipped)
		}
		page, err := listingBans(c)(t.Context(), owner, bansRequest{Group: c.id})
		if err != nil || len(page.Bans) != 1 || page.Bans[0].User.ID != out.User || page.Bans[0].By != owner.User || page.Bans[0].Until != 0 {
			t.Errorf("banned are %+v, %v", page, err)
		}
		if _, err := unbanning(c)(t.Context(), owner, unbanRequest{c.id, out.User}); err != nil {
			t.Fatal(err)
		}
		if err := ask(); err != nil {
			t.Errorf("%s: after the ban: %v", policy, err)
		}
		// One that is over is none; and it drops what was asked.
		soon := im.Now() + im.Time((50 * time.Millisecond).Microseconds())
		if _, err := banning(c)(t.Context(), owner, banRequest{Group: c.id, User: out.User, Until: &soon}); err != nil {
			t.Fatal(err)
		}
		if asks, err := listingRequests(c)(t.Context(), owner, requestsRequest{Group: c.id}); err != nil || slices.ContainsFunc(asks.Requests, func(r im.JoinRequest) bool { return r.User.ID == out.User }) {
			t.Errorf("%s: who is banned still asks: %+v, %v", policy, asks, err)
		}
		imtest.Eventually(t, "a ban that is over has ended", ask)
	}
}

func TestP7WhoComesAndGoesIsListedOnceAnHour(t *testing.T) {
	c := newClub(newWorld(t), im.PolicyOpen)
	now := im.Now()
	clock := func() im.Time { return now }
	who := as(c.ids["outsider"])
	come := func() {
		t.Helper()
		if _, err := (&joiner{c.change, c.invites(), clock}).ask(t.Context(), who, joinRequest{c.id, ""}); err != nil {
			t.Fatal(err)
		}
	}
	goAway := func() {
		t.Helper()
		if _, err := leave(c.change, clock)(t.Context(), who, one{c.id}); err != nil {
			t.Fatal(err)
		}
	}
	c.notices()
	for range 5 {
		come()
		goAway()
		now += 60e6
	}
	told := c.notices()
	listed := 0
	for _, n := range told {
		if !n.Quiet {
			listed++
		}
	}
	if len(told) != 10 || listed != 1 {
		t.Errorf("%d of %d notices are for eyes to see, want 1 of 10", listed, len(told))
	}
	now += announceEvery
	come()
	if told := c.notices(); len(told) != 1 || told[0].Quiet {
		t.Errorf("an hour later: %+v", told)
	}
}

func TestWhoLeftIsNotAddedAgainAtOnceByStrangers(t *testing.T) {
	c := newClub(newWorld(t), im.PolicyInvite)
	owner, gone := as(c.ids["owner"]), as(c.ids["member"])
	now := im.Now()
	clock := func() im.Time { return now }
	if _, err := leave(c.change, clock)(t.Context(), gone, one{c.id}); err != nil {
		t.Fatal(err)
	}
	add := func(i invites) []string {
		t.Helper()
		got, err := (&inviter{c.change, i, clock}).call(t.Context(), owner, named{c.id, []string{gone.User}})
		if err != nil {
			t.Fatal(err)
		}
		return got.Added
	}
	if added := add(c.invites()); len(added) > 0 {
		t.Errorf("who has just left was added: %v", added)
	}
	friends := acquaintances{im.PairOf(owner.User, gone.User): {Exist: true, Friends: true}}
	if added := add(invites{friends, im.DirectOpen, 1000, noLimit{}, noLimit{}}); len(added) != 1 {
		t.Error("a friend could not add who has left")
	}
	if _, err := leave(c.change, clock)(t.Context(), gone, one{c.id}); err != nil {
		t.Fatal(err)
	}
	now += leftFor + 1
	if added := add(c.invites()); len(added) != 1 {
		t.Error("a day later nobody could add them")
	}
}

func TestWhoMayAddOneToGroupsIsASetting(t *testing.T) {
	c := newClub(newWorld(t), im.PolicyInvite)
	owner, other := as(c.ids["owner"]), c.ids["other"]
	stranger := acquaintances{im.PairOf(owner.User, other): {Exist: true}}
	friend := acquaintances{im.PairOf(owner.User, other): {Exist: true, Friends: true}}
	for _, tt := range []struct {
		setting string
		are     acquaintances
		may     bool
	}{
		{im.Nobody, friend, false}, {im.Friends, stranger, false}, {im.Nobody, stranger, false},
		{im.Friends, friend, true}, {im.Everyone, stranger, true},
	} {
		if _, err := c.db.UpdateUser(t.Context(), other, im.UserChange{GroupAdds: &tt.setting}); err != nil {
			t.Fatal(err)
		}
		i := invites{settled{tt.are, c}, im.DirectOpen, 1000, noLimit{}, noLimit{}}
		made, err := (&creator{c.change, i, im.Now}).call(t.Context(), owner, newGroup{Name: "Other", Members: []string{other}})
		if err != nil || (len(made.Skipped) == 0) != tt.may {
			t.Errorf("%s: made with %v skipped, %v", tt.setting, made.Skipped, err)
		}
		got, err := (&inviter{c.change, i, im.Now}).call(t.Context(), owner, named{c.id, []string{other}})
		if err != nil || (len(got.Added) == 1) != tt.may {
			t.Errorf("%s: added %v, %v", tt.setting, got.Added, err)
		}
		if _, err := removing(c)(t.Context(), owner, named{c.id, []string{other}}); err != nil {
			t.Fatal(err)
		}
	}
}
