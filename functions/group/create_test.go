package group

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
)

// acquaintances are relations: of these pairs as they say, of all others that
// both exist.
type acquaintances map[im.Pair]im.Relation

// GroupAdds says that everybody may add anybody.
func (a acquaintances) GroupAdds(_ context.Context, users []string) (map[string]string, error) {
	adds := make(map[string]string)
	for _, u := range users {
		adds[u] = im.Everyone
	}
	return adds, nil
}

// settled are acquaintances with settings.
type settled struct {
	acquaintances
	club *club
}

func (s settled) GroupAdds(ctx context.Context, users []string) (map[string]string, error) {
	return s.club.db.GroupAdds(ctx, users)
}

func (a acquaintances) Relations(_ context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	out := map[im.Pair]im.Relation{}
	for _, p := range pairs {
		r, known := a[p]
		if !known {
			r = im.Relation{Exist: true}
		}
		out[p] = r
	}
	return out, nil
}

func TestCreate(t *testing.T) {
	w := newWorld(t)
	u := w.users(5)
	ann, bob, cat, dan, eve := u[0], u[1], u[2], u[3], u[4]
	nobody, many := im.NewID(), make([]string, im.MaxGroup)
	for i := range many {
		many[i] = im.NewID()
	}
	know := acquaintances{
		im.PairOf(ann, cat):    {Exist: true, Blocked: true},
		im.PairOf(ann, dan):    {Exist: true, Friends: true},
		im.PairOf(ann, nobody): {},
	}
	for _, tt := range []struct {
		name             string
		in               newGroup
		policy           string
		members, skipped []string
		want             error
	}{
		{name: "the caller is a member", in: newGroup{Name: "staff", Members: []string{eve, bob}}, members: []string{ann, bob, eve}},
		{name: "a member named twice is one, and so is the caller", in: newGroup{Name: "staff", Members: []string{bob, ann, bob}}, members: []string{ann, bob}},
		{name: "alone", in: newGroup{Name: "staff"}, members: []string{ann}},
		{name: "with all that may be said", in: newGroup{Name: "staff", About: "us", Policy: im.PolicyOpen}, members: []string{ann}},
		{name: "who does not exist, or is blocked, is skipped", in: newGroup{Name: "staff", Members: []string{nobody, bob, cat}}, members: []string{ann, bob}, skipped: []string{nobody, cat}},
		{name: "who is no friend is skipped where only friends may", in: newGroup{Name: "staff", Members: []string{bob, dan}}, policy: im.DirectFriends, members: []string{ann, dan}, skipped: []string{bob}},
		{name: "who is gone by now is skipped", in: newGroup{Name: "staff", Members: many[:3]}, members: []string{ann}, skipped: many[:3]},
		{name: "as many as may be", in: newGroup{Name: "staff", Members: many[1:]}, members: []string{ann}, skipped: many[1:]},
		{name: "one more", in: newGroup{Name: "staff", Members: many}, want: im.TooLarge},
		{name: "far more", in: newGroup{Name: "staff", Members: slices.Repeat(many, 3)}, want: im.TooLarge},
		{name: "what is no user by its form", in: newGroup{Name: "staff", Members: []string{"bob"}}, want: im.Invalid},
		{name: "no name", in: newGroup{Members: []string{bob}}, want: im.Invalid},
		{name: "no policy that there is", in: newGroup{Name: "staff", Policy: "closed"}, want: im.Invalid},
		{name: "too much about it", in: newGroup{Name: "staff", About: strings.Repeat("x", im.MaxAbout+1)}, want: im.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.policy == "" {
				tt.policy = im.DirectOpen
			}
			got, err := (&creator{w.change, invites{know, tt.policy, 1000, noLimit{}, noLimit{}}, im.Now}).call(t.Context(), as(ann), tt.in)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			told := w.notices()
			if tt.want != nil {
				if len(told) > 0 || got.ID != "" {
					t.Errorf("created %+v, told %+v", got, told)
				}
				return
			}
			policy := tt.in.Policy
			if policy == "" {
				policy = im.PolicyInvite
			}
			if got.Name != tt.in.Name || got.About != tt.in.About || got.Policy != policy || got.Owner != ann || got.Members != len(tt.members) ||
				got.Role() != im.RoleOwner || got.Conversation != im.Group(got.ID) || got.Conversation.Check() != nil {
				t.Errorf("created %+v", got)
			}
			if !slices.Equal(got.Skipped, tt.skipped) && len(got.Skipped)+len(tt.skipped) > 0 || got.Skipped == nil {
				t.Errorf("skipped %v, want %v", got.Skipped, tt.skipped)
			}
			if age := time.Since(got.Created.Std()); age < 0 || age > time.Minute {
				t.Errorf("created at %s", got.Created)
			}
			in, err := w.db.GroupMembers(t.Context(), []string{got.ID})
			if err != nil || !slices.Equal(in[got.ID].Users, tt.members) {
				t.Errorf("members = %v, %v; want %v", in[got.ID].Users, err, tt.members)
			}
			if len(told) != 1 || told[0].Type != im.GroupCreated || told[0].To != nil || string(told[0].Data) != `{"name":"staff","version":1}` {
				t.Errorf("told %+v", told)
			}
		})
	}
}

func TestInvitingSkipsWhomOneMayNotWriteTo(t *testing.T) {
	w := newWorld(t)
	u := w.users(6)
	ann, bob, cat, dan, gone, eve := u[0], u[1], u[2], u[3], im.NewID(), u[4]
	made, err := (&creator{w.change, w.invites(), im.Now}).call(t.Context(), as(ann), newGroup{Name: "G", Members: []string{bob}})
	if err != nil {
		t.Fatal(err)
	}
	know := acquaintances{im.PairOf(ann, cat): {Exist: true, Blocked: true}, im.PairOf(ann, dan): {Exist: true, Friends: true}}
	for _, tt := range []struct {
		name, policy         string
		users                []string
		added, skipped, told string
		want                 error
	}{
		{"nobody that may be", im.DirectOpen, []string{cat, gone}, "[]", fmt.Sprint([]string{cat, gone}), "[]", nil},
		{"who is in it", im.DirectOpen, []string{bob, ann}, "[]", "[]", "[]", nil},
		{"a friend and another where only friends may", im.DirectFriends, []string{eve, dan}, fmt.Sprint([]string{dan}), fmt.Sprint([]string{eve}), `[{"users":["` + dan + `"],"version":2}]`, nil},
		{"nobody at all", im.DirectOpen, nil, "", "", "[]", im.Invalid},
		{"too many", im.DirectOpen, slices.Repeat([]string{bob}, maxNamed+1), "", "", "[]", im.TooLarge},
		{"what is no user", im.DirectOpen, []string{"bob"}, "", "", "[]", im.Invalid},
	} {
		w.notices()
		got, err := (&inviter{w.change, invites{know, tt.policy, 1000, noLimit{}, noLimit{}}, im.Now}).call(t.Context(), as(ann), named{made.ID, tt.users})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err == nil && (fmt.Sprint(got.Added) != tt.added || fmt.Sprint(got.Skipped) != tt.skipped || got.Added == nil || got.Skipped == nil) {
			t.Errorf("%s: %+v", tt.name, got)
		}
		told := []string{}
		for _, n := range w.notices() {
			told = append(told, string(n.Data))
		}
		if fmt.Sprint(told) != tt.told {
			t.Errorf("%s: told %s", tt.name, told)
		}
	}
}

// budget is how many strangers may be added.
type budget struct{ left int }

func (b *budget) AllowN(_ context.Context, _ string, n int) error {
	if n > b.left {
		return im.Errorf(im.Overloaded, "too many")
	}
	b.left -= n
	return nil
}

// newcomer is one who may turn to nobody.
type newcomer struct{ reached []string }

func (n *newcomer) Reach(_ context.Context, _ string, strangers ...string) error {
	n.reached = strangers
	if len(strangers) == 0 {
		return nil
	}
	return im.Errorf(im.Overloaded, "you are new")
}

func TestP7ANewAccountAddsFewStrangers(t *testing.T) {
	w := newWorld(t)
	u := w.users(3)
	ann, friend, other := u[0], u[1], u[2]
	know := acquaintances{im.PairOf(ann, friend): {Exist: true, Friends: true}, im.PairOf(ann, other): {Exist: true}}
	isNew := &newcomer{}
	i := invites{know, im.DirectOpen, 1000, noLimit{}, isNew}
	if _, err := (&creator{w.change, i, im.Now}).call(t.Context(), as(ann), newGroup{Name: "G", Members: []string{other, friend}}); !errors.Is(err, im.Overloaded) || !slices.Equal(isNew.reached, []string{other}) {
		t.Errorf("a stranger: %v, reached %q", err, isNew.reached)
	}
	if _, err := (&creator{w.change, i, im.Now}).call(t.Context(), as(ann), newGroup{Name: "G", Members: []string{friend}}); err != nil {
		t.Errorf("a friend: %v", err)
	}
}

func TestP7StrangersAreAddedOnlySoOften(t *testing.T) {
	w := newWorld(t)
	u := w.users(5)
	ann, friend, others := u[0], u[1], u[2:]
	know := acquaintances{im.PairOf(ann, friend): {Exist: true, Friends: true}}
	left := &budget{2}
	i := invites{know, im.DirectOpen, 1000, left, noLimit{}}
	made, err := (&creator{w.change, i, im.Now}).call(t.Context(), as(ann), newGroup{Name: "G", Members: []string{others[0], friend}})
	if err != nil || left.left != 1 {
		t.Errorf("a friend and a stranger: %v, %d left", err, left.left)
	}
	w.notices()
	if _, err := (&inviter{w.change, i, im.Now}).call(t.Context(), as(ann), named{made.ID, others[1:]}); !errors.Is(err, im.Overloaded) {
		t.Errorf("more strangers than are left: %v", err)
	}
	if told := w.notices(); len(told) > 0 {
		t.Errorf("told %+v", told)
	}
}

func TestNobodyIsInTooManyGroups(t *testing.T) {
	w := newWorld(t)
	u := w.users(3)
	busy, other, third := as(u[0]), as(u[1]), as(u[2])
	few := invites{w.db, im.DirectOpen, 2, noLimit{}, noLimit{}}
	var last created
	for i := range 3 {
		got, err := (&creator{w.change, few, im.Now}).call(t.Context(), busy, newGroup{Name: "Mine", Policy: im.PolicyOpen})
		if (i < 2) != (err == nil) || i == 2 && im.KindOf(err) != im.TooLarge {
			t.Errorf("group %d: %v", i, err)
		}
		if err == nil {
			last = got
		}
	}
	theirs, err := (&creator{w.change, few, im.Now}).call(t.Context(), other, newGroup{Name: "Theirs", Policy: im.PolicyOpen, Members: []string{busy.User}})
	if err != nil || !slices.Equal(theirs.Skipped, []string{busy.User}) {
		t.Errorf("%+v, %v", theirs, err)
	}
	if got, err := (&inviter{w.change, few, im.Now}).call(t.Context(), other, named{theirs.ID, []string{busy.User, third.User}}); err != nil ||
		!slices.Equal(got.Skipped, []string{busy.User}) || !slices.Equal(got.Added, []string{third.User}) {
		t.Errorf("%+v, %v", got, err)
	}
	j := &joiner{w.change, few, im.Now}
	if _, err := j.ask(t.Context(), busy, joinRequest{theirs.ID, ""}); im.KindOf(err) != im.TooLarge {
		t.Errorf("joined one more: %v", err)
	}
	if s, err := j.ask(t.Context(), busy, joinRequest{last.ID, ""}); err != nil || s.State != joined {
		t.Errorf("joined again: %v, %v", s, err)
	}
	// Who has asked, and got into others meanwhile, is not let in.
	if _, err := update(w.change)(t.Context(), busy, updateRequest{last.ID, im.GroupChange{Policy: ptr(im.PolicyApproval)}}); err != nil {
		t.Fatal(err)
	}
	if s, err := j.ask(t.Context(), other, joinRequest{last.ID, ""}); err != nil || s.State != pending {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := (&creator{w.change, few, im.Now}).call(t.Context(), other, newGroup{Name: "More"}); err != nil {
		t.Fatal(err)
	}
	if _, err := j.respond(t.Context(), busy, joinResponse{last.ID, other.User, ptr(true)}); im.KindOf(err) != im.TooLarge {
		t.Errorf("let in to one more: %v", err)
	}
	if s, err := j.respond(t.Context(), busy, joinResponse{last.ID, other.User, ptr(false)}); err != nil || s.State != refused {
		t.Errorf("refused: %v, %v", s, err)
	}
}

func TestAskingForWhatCannotBe(t *testing.T) {
	w := newWorld(t)
	c := newClub(w, im.PolicyApproval)
	owner := as(c.ids["owner"])
	good := cursor.Encode(cursor.User{Time: 7, ID: c.ids["owner"]})
	for name, in := range map[string]attempt{
		"a limit below nothing": try(listingMembers, func(c *club) membersRequest { return membersRequest{Group: c.id, page: page{Limit: -1}} }),
		"a limit above all":     try(listingMembers, func(c *club) membersRequest { return membersRequest{Group: c.id, page: page{Limit: maxMembers + 1}} }),
		"a cursor that is none": try(listingMembers, func(c *club) membersRequest { return membersRequest{Group: c.id, page: page{Cursor: "?"}} }),
		"half a cursor":         try(listingMembers, func(c *club) membersRequest { return membersRequest{Group: c.id, page: page{Cursor: good[:5]}} }),
		"a cursor below nothing": try(listingMembers, func(c *club) membersRequest {
			return membersRequest{Group: c.id, page: page{Cursor: cursor.Encode(memberPlace{Version: -1, User: c.id})}}
		}),
		"since before all": try(listingMembers, func(c *club) membersRequest { return membersRequest{Group: c.id, Since: -1} }),
		"members after a group": try(listingMembers, func(c *club) membersRequest {
			return membersRequest{Group: c.id, page: page{Cursor: good}}
		}),
		"the members of nothing":       try(listingMembers, func(c *club) membersRequest { return membersRequest{Group: "x"} }),
		"requests beyond all":          try(listingRequests, func(c *club) requestsRequest { return requestsRequest{Group: c.id, page: page{Limit: 101}} }),
		"requests after nothing":       try(listingRequests, func(c *club) requestsRequest { return requestsRequest{Group: c.id, page: page{Cursor: "x"}} }),
		"groups beyond all":            try(listing, func(*club) page { return page{Limit: 101} }),
		"groups after nothing":         try(listing, func(*club) page { return page{Cursor: "e30"} }),
		"to change nothing":            try(updating, func(c *club) updateRequest { return updateRequest{Group: c.id} }),
		"a name that is none":          try(updating, func(c *club) updateRequest { return updateRequest{c.id, im.GroupChange{Name: ptr(" ")}} }),
		"a role that is none":          try(givingRole, giving("member", "king")),
		"to mute nobody and not all":   try(muting, func(c *club) muteRequest { return muteRequest{Group: c.id} }),
		"to mute one and all":          try(muting, func(c *club) muteRequest { return muteRequest{Group: c.id, User: c.ids["member"], All: ptr(true)} }),
		"to mute all until":            try(muting, func(c *club) muteRequest { return muteRequest{Group: c.id, All: ptr(true), Until: &later} }),
		"to say too much when joining": try(joining, func(c *club) joinRequest { return joinRequest{c.id, strings.Repeat("x", 201)} }),
		"to answer who is no user":     try(responding, func(c *club) joinResponse { return joinResponse{c.id, "x", ptr(true)} }),
		"to answer neither yes nor no": try(responding, func(c *club) joinResponse { return joinResponse{c.id, c.ids["asker"], nil} }),
		"to leave what is no group":    try(leaving, func(*club) one { return one{"x"} }),
	} {
		if out, err := in(t.Context(), c, owner); im.KindOf(err) != im.Invalid || err == nil {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	if told := c.told(); len(told) > 0 {
		t.Errorf("told %q", told)
	}
}

func listing(c *club) func(context.Context, im.Caller, page) (groupPage, error) { return list(c.db) }

func TestListsAreReadInPages(t *testing.T) {
	w := newWorld(t)
	people := w.users(12)
	var made []string
	for i := range 5 {
		g, err := (&creator{w.change, w.invites(), im.Now}).call(t.Context(), as(people[0]), newGroup{Name: fmt.Sprint("G", i), Policy: im.PolicyApproval, Members: people[1:7]})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, g.ID)
	}
	for limit := 1; limit < 8; limit++ {
		var groups []string
		for next := ""; ; {
			p, err := list(w.db)(t.Context(), as(people[3]), page{limit, next})
			if err != nil || len(p.Groups) > limit || p.Groups == nil {
				t.Fatalf("%+v, %v", p, err)
			}
			for _, g := range p.Groups {
				groups = append(groups, g.ID)
				if g.Members != 7 || g.Role() != im.RoleMember {
					t.Errorf("%+v", g)
				}
			}
			if next = p.Next; next == "" {
				break
			}
		}
		if slices.Reverse(groups); !slices.Equal(groups, made) {
			t.Errorf("by %d: groups %v, want %v backwards", limit, groups, made)
		}
		var in []string
		for next := ""; ; {
			p, err := members(w.db)(t.Context(), as(people[3]), membersRequest{Group: made[0], page: page{limit, next}})
			if err != nil || len(p.Members) > limit || p.Version != 1 || !p.Full || p.Members == nil {
				t.Fatalf("%+v, %v", p, err)
			}
			for _, m := range p.Members {
				in = append(in, m.User.ID)
			}
			if next = p.Next; next == "" {
				break
			}
		}
		if !slices.Equal(in, people[:7]) {
			t.Errorf("by %d: members %v, want %v", limit, in, people[:7])
		}
	}
	for _, u := range people[7:] {
		if _, err := (&joiner{w.change, w.invites(), im.Now}).ask(t.Context(), as(u), joinRequest{made[0], ""}); err != nil {
			t.Fatal(err)
		}
	}
	var asking []string
	for next := ""; ; {
		p, err := requests(w.db)(t.Context(), as(people[0]), requestsRequest{made[0], page{2, next}})
		if err != nil || len(p.Requests) > 2 || p.Requests == nil {
			t.Fatalf("%+v, %v", p, err)
		}
		for _, r := range p.Requests {
			asking = append(asking, r.User.ID)
		}
		if next = p.Next; next == "" {
			break
		}
	}
	if !slices.Equal(asking, people[7:]) {
		t.Errorf("asking: %v, want %v", asking, people[7:])
	}
}

// Whoever comes with a version that the group has not had yet, as after the
// database was restored, is handed the whole list; and a cursor goes on with the
// list that it is of, whatever is said besides.
func TestAListOfMembersSaysWhetherItIsWhole(t *testing.T) {
	w := newWorld(t)
	c := newClub(w, im.PolicyInvite)
	owner := as(c.ids["owner"])
	ask := func(since int64, limit int, next string) membersPage {
		t.Helper()
		p, err := members(w.db)(t.Context(), owner, membersRequest{Group: c.id, Since: since, page: page{limit, next}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	all := ask(0, 0, "")
	if !all.Full || all.Removed != nil || len(all.Members) < 3 || all.Version < 2 {
		t.Fatalf("the whole list: %+v", all)
	}
	for _, since := range []int64{all.Version + 1, 1 << 62} {
		if got := ask(since, 0, ""); !reflect.DeepEqual(got, all) {
			t.Errorf("since %d, of %d: %+v", since, all.Version, got)
		}
	}
	if got := ask(all.Version, 0, ""); got.Full || got.Removed == nil || len(got.Members)+len(got.Removed) > 0 || got.Version != all.Version {
		t.Errorf("since it is as it is: %+v", got)
	}
	whole, part := ask(0, 1, ""), ask(1, 1, "")
	if !whole.Full || part.Full || whole.Next == "" || part.Next == "" {
		t.Fatalf("pages: %+v, %+v", whole, part)
	}
	for _, since := range []int64{0, 1, all.Version + 1} {
		if got := ask(since, 0, whole.Next); !got.Full || !reflect.DeepEqual(got.Members, all.Members[1:]) {
			t.Errorf("the whole list goes on, since %d: %+v", since, got)
		}
		if got := ask(since, 0, part.Next); got.Full || got.Version != all.Version {
			t.Errorf("the changes go on, since %d: %+v", since, got)
		}
	}
	ahead := cursor.Encode(memberPlace{Version: all.Version + 1, User: c.ids["owner"]})
	if got := ask(1, 0, ahead); !reflect.DeepEqual(got, all) {
		t.Errorf("a cursor of what has not been: %+v", got)
	}
}
