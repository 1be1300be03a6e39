package group

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

// An attempt is something that a user tries in a club.
type attempt func(ctx context.Context, c *club, who im.Caller) (any, error)

func try[In, Out any](f func(*club) func(context.Context, im.Caller, In) (Out, error), in func(*club) In) attempt {
	return func(ctx context.Context, c *club, who im.Caller) (any, error) {
		out, err := f(c)(ctx, who, in(c))
		return out, err
	}
}

func ptr[T any](v T) *T { return &v }

var later = im.Time(4_000_000_000_000_000)

func updating(c *club) func(context.Context, im.Caller, updateRequest) (im.GroupInfo, error) {
	return update(c.change)
}
func removing(c *club) func(context.Context, im.Caller, named) (removed, error) {
	return func(ctx context.Context, by im.Caller, in named) (removed, error) {
		return remove(c.change, im.Now)(ctx, by, removeRequest{named: in})
	}
}
func inviting(c *club) func(context.Context, im.Caller, named) (invited, error) {
	return (&inviter{c.change, c.invites(), im.Now}).call
}
func givingRole(c *club) func(context.Context, im.Caller, roleRequest) (nothing, error) {
	return role(c.change)
}
func muting(c *club) func(context.Context, im.Caller, muteRequest) (nothing, error) {
	return (&muter{c.change, im.Now}).call
}
func leaving(c *club) func(context.Context, im.Caller, one) (nothing, error) {
	return leave(c.change, im.Now)
}
func dissolving(c *club) func(context.Context, im.Caller, one) (nothing, error) {
	return dissolve(c.change)
}
func joining(c *club) func(context.Context, im.Caller, joinRequest) (state, error) {
	return (&joiner{c.change, c.invites(), im.Now}).ask
}
func responding(c *club) func(context.Context, im.Caller, joinResponse) (state, error) {
	return (&joiner{c.change, c.invites(), im.Now}).respond
}
func getting(c *club) func(context.Context, im.Caller, one) (im.GroupInfo, error) { return get(c.db) }
func listingMembers(c *club) func(context.Context, im.Caller, membersRequest) (membersPage, error) {
	return members(c.db)
}
func listingRequests(c *club) func(context.Context, im.Caller, requestsRequest) (requestsPage, error) {
	return requests(c.db)
}

func banning(c *club) func(context.Context, im.Caller, banRequest) (nothing, error) {
	return (&banner{c.change, im.Now}).ban
}
func unbanning(c *club) func(context.Context, im.Caller, unbanRequest) (nothing, error) {
	return unban(c.change)
}
func listingBans(c *club) func(context.Context, im.Caller, bansRequest) (bansPage, error) {
	return bans(c.db)
}

func itself(c *club) one { return one{c.id} }

func users(names ...string) func(*club) named {
	return func(c *club) named {
		in := named{Group: c.id}
		for _, n := range names {
			in.Users = append(in.Users, c.ids[n])
		}
		return in
	}
}

func giving(name string, r im.Role) func(*club) roleRequest {
	return func(c *club) roleRequest { return roleRequest{c.id, c.ids[name], r} }
}

func mutingOf(name string) func(*club) muteRequest {
	return func(c *club) muteRequest { return muteRequest{Group: c.id, User: c.ids[name], Until: &later} }
}

// The columns of the table below: what comes of an attempt by the owner, an
// admin, a member, somebody who is not in the group, and the owner when it is
// dissolved.
var callers = []string{"owner", "admin", "member", "outsider", "dissolved"}

const ok = im.Kind("ok")

// Who may do what. The first who may is looked at: what is told of it, and to
// whom.
var attempts = []struct {
	name   string
	policy im.Policy
	try    attempt
	want   [5]im.Kind
	told   []string // by the first who may; V is the version
}{
	{"look at an open group", im.PolicyOpen, try(getting, itself), [5]im.Kind{ok, ok, ok, ok, im.NotFound}, nil},
	{"look at a group by approval", im.PolicyApproval, try(getting, itself), [5]im.Kind{ok, ok, ok, ok, im.NotFound}, nil},
	{"look at a group by invitation", im.PolicyInvite, try(getting, itself), [5]im.Kind{ok, ok, ok, im.NotFound, im.NotFound}, nil},
	{"see the members", im.PolicyOpen, try(listingMembers, func(c *club) membersRequest { return membersRequest{Group: c.id} }),
		[5]im.Kind{ok, ok, ok, im.NotFound, im.NotFound}, nil},
	{"see what changed of the members", im.PolicyOpen, try(listingMembers, func(c *club) membersRequest { return membersRequest{Group: c.id, Since: 1} }),
		[5]im.Kind{ok, ok, ok, im.NotFound, im.NotFound}, nil},
	{"see who asks to join", im.PolicyApproval, try(listingRequests, func(c *club) requestsRequest { return requestsRequest{Group: c.id} }),
		[5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound}, nil},

	{"rename it", im.PolicyOpen, try(updating, func(c *club) updateRequest { return updateRequest{c.id, im.GroupChange{Name: ptr("Pub")}} }),
		[5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.updated {"name":"Pub","version":V} []`}},
	{"change all of it", im.PolicyOpen, try(updating, func(c *club) updateRequest {
		return updateRequest{c.id, im.GroupChange{Name: ptr("Club"), About: ptr("what\nfor"), Policy: ptr(im.PolicyInvite)}}
	}),
		[5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.updated {"about":"what\nfor","policy":"invite","version":V} []`}},

	{"invite to an open group", im.PolicyOpen, try(inviting, users("other", "member")), [5]im.Kind{ok, ok, ok, im.NotFound, im.NotFound},
		[]string{`owner group.joined {"users":["other"],"version":V} []`}},
	{"invite to a group by approval", im.PolicyApproval, try(inviting, users("asker")), [5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.joined {"users":["asker"],"version":V} []`}},
	{"invite to a group by invitation", im.PolicyInvite, try(inviting, users("other", "asker")), [5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.joined {"users":["other","asker"],"version":V} []`}},
	{"ban who is not in it", im.PolicyOpen, try(banning, func(c *club) banRequest { return banRequest{Group: c.id, User: c.ids["other"], Reason: "spam"} }),
		[5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.banned {"reason":"spam","user":"other"} [owner admin admin2 other] quietly`}},
	{"ban a member", im.PolicyOpen, try(banning, func(c *club) banRequest { return banRequest{Group: c.id, User: c.ids["member2"], Until: &later} }),
		[5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.removed {"users":["member2"],"version":V} [owner admin admin2 member member2]`,
			`owner group.banned {"until":"2096-10-02T07:06:40.000000Z","user":"member2"} [owner admin admin2 member2] quietly`}},
	{"ban an admin", im.PolicyOpen, try(banning, func(c *club) banRequest { return banRequest{Group: c.id, User: c.ids["admin2"]} }),
		[5]im.Kind{ok, im.Denied, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.removed {"users":["admin2"],"version":V} [owner admin admin2 member member2]`,
			`owner group.banned {"user":"admin2"} [owner admin admin2] quietly`}},
	{"see who is banned", im.PolicyOpen, try(listingBans, func(c *club) bansRequest { return bansRequest{Group: c.id} }),
		[5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound}, nil},
	{"lift a ban that there is not", im.PolicyOpen, try(unbanning, func(c *club) unbanRequest { return unbanRequest{c.id, c.ids["other"]} }),
		[5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound}, nil},
	{"join an open group", im.PolicyOpen, try(joining, func(c *club) joinRequest { return joinRequest{c.id, ""} }),
		[5]im.Kind{ok, ok, ok, ok, im.NotFound},
		nil},
	{"ask to join a group", im.PolicyApproval, try(joining, func(c *club) joinRequest { return joinRequest{c.id, "hi"} }),
		[5]im.Kind{ok, ok, ok, ok, im.NotFound}, nil},
	{"join a group by invitation", im.PolicyInvite, try(joining, func(c *club) joinRequest { return joinRequest{c.id, ""} }),
		[5]im.Kind{ok, ok, ok, im.NotFound, im.NotFound}, nil},
	{"let in who asks", im.PolicyApproval, try(responding, func(c *club) joinResponse { return joinResponse{c.id, c.ids["asker"], new(true)} }),
		[5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.joined {"users":["asker"],"version":V} []`}},
	{"refuse who asks", im.PolicyApproval, try(responding, func(c *club) joinResponse { return joinResponse{c.id, c.ids["asker"], new(false)} }),
		[5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.join-refused {} [asker] quietly`}},
	{"let in who does not ask", im.PolicyApproval, try(responding, func(c *club) joinResponse { return joinResponse{c.id, c.ids["other"], new(true)} }),
		[5]im.Kind{im.NotFound, im.NotFound, im.Denied, im.NotFound, im.NotFound}, nil},

	{"remove a member", im.PolicyOpen, try(removing, users("member2", "other")), [5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.removed {"users":["member2"],"version":V} [owner admin admin2 member member2]`}},
	{"remove an admin", im.PolicyOpen, try(removing, users("member2", "admin2")), [5]im.Kind{ok, im.Denied, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.removed {"users":["admin2","member2"],"version":V} [owner admin admin2 member member2]`}},
	{"remove the owner", im.PolicyOpen, try(removing, users("owner")), [5]im.Kind{im.Invalid, im.Denied, im.Denied, im.NotFound, im.Invalid}, nil},
	{"remove who is not in it", im.PolicyOpen, try(removing, users("other")), [5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound}, nil},
	{"leave", im.PolicyOpen, try(leaving, itself), [5]im.Kind{im.Conflict, ok, ok, im.NotFound, im.NotFound},
		[]string{`admin group.left {"user":"admin","version":V} [owner admin admin2 member member2]`}},

	{"make a member an admin", im.PolicyOpen, try(givingRole, giving("member2", im.RoleAdmin)), [5]im.Kind{ok, im.Denied, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.role {"role":"admin","user":"member2","version":V} []`}},
	{"make an admin a member", im.PolicyOpen, try(givingRole, giving("admin2", im.RoleMember)), [5]im.Kind{ok, im.Denied, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.role {"role":"member","user":"admin2","version":V} []`}},
	{"make oneself an admin", im.PolicyOpen, try(givingRole, giving("member", im.RoleAdmin)), [5]im.Kind{ok, im.Denied, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.role {"role":"admin","user":"member","version":V} []`}},
	{"make the owner a member", im.PolicyOpen, try(givingRole, giving("owner", im.RoleMember)), [5]im.Kind{im.Conflict, im.Denied, im.Denied, im.NotFound, im.NotFound}, nil},
	{"hand it over", im.PolicyOpen, try(givingRole, giving("member2", im.RoleOwner)), [5]im.Kind{ok, im.Denied, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.role {"role":"owner","user":"member2","version":V} []`}},
	{"hand it over to who has it", im.PolicyOpen, try(givingRole, giving("owner", im.RoleOwner)), [5]im.Kind{ok, im.Denied, im.Denied, im.NotFound, im.NotFound}, nil},
	{"hand it over to who is not in it", im.PolicyOpen, try(givingRole, giving("other", im.RoleOwner)), [5]im.Kind{im.NotFound, im.Denied, im.Denied, im.NotFound, im.NotFound}, nil},

	{"mute a member", im.PolicyOpen, try(muting, mutingOf("member2")), [5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.muted {"until":"2096-10-02T07:06:40.000000Z","user":"member2","version":V} []`}},
	{"mute an admin", im.PolicyOpen, try(muting, mutingOf("admin2")), [5]im.Kind{ok, im.Denied, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.muted {"until":"2096-10-02T07:06:40.000000Z","user":"admin2","version":V} []`}},
	{"mute the owner", im.PolicyOpen, try(muting, mutingOf("owner")), [5]im.Kind{im.Denied, im.Denied, im.Denied, im.NotFound, im.NotFound}, nil},
	{"mute who is not in it", im.PolicyOpen, try(muting, mutingOf("other")), [5]im.Kind{im.NotFound, im.NotFound, im.Denied, im.NotFound, im.NotFound}, nil},
	{"mute all", im.PolicyOpen, try(muting, func(c *club) muteRequest { return muteRequest{Group: c.id, All: ptr(true)} }),
		[5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.muted {"all":true,"version":V} []`}},
	{"mute nobody", im.PolicyOpen, try(muting, func(c *club) muteRequest { return muteRequest{Group: c.id, All: ptr(false)} }),
		[5]im.Kind{ok, ok, im.Denied, im.NotFound, im.NotFound}, nil},

	{"dissolve it", im.PolicyOpen, try(dissolving, itself), [5]im.Kind{ok, im.Denied, im.Denied, im.NotFound, im.NotFound},
		[]string{`owner group.dissolved {"version":V} [owner admin admin2 member member2]`}},
}

func TestWhoMayDoWhat(t *testing.T) {
	w := newWorld(t)
	for _, tt := range attempts {
		t.Run(tt.name, func(t *testing.T) {
			first := true
			for i, who := range callers {
				c := newClub(w, tt.policy)
				caller := as(c.ids[who])
				if who == "dissolved" {
					caller = as(c.ids["owner"])
					if _, err := dissolve(c.change)(t.Context(), caller, one{c.id}); err != nil {
						t.Fatal(err)
					}
					c.told()
				}
				before := c.state()
				_, err := tt.try(t.Context(), c, caller)
				kind := ok
				if err != nil {
					kind = im.KindOf(err)
				}
				if kind != tt.want[i] {
					t.Errorf("by %s: %v, want %s", who, err, tt.want[i])
				}
				told, after := c.told(), c.state()
				if err != nil && (len(told) > 0 || after != before) {
					t.Errorf("refused to %s, and yet told %q; it was\n%s and is\n%s", who, told, before, after)
				}
				if (len(told) > 0) != (after != before) {
					t.Errorf("by %s, told %q; it was\n%s and is\n%s", who, told, before, after)
				}
				if kind == ok && first {
					first = false
					if got := versionless(t, told); !slices.Equal(got, tt.told) {
						t.Errorf("by %s, told %q, want %q", who, got, tt.told)
					}
				}
				// Doing it again does nothing again.
				if kind == ok {
					if _, err := tt.try(t.Context(), c, caller); err == nil {
						if told := c.told(); len(told) > 0 || c.state() != after {
							t.Errorf("again by %s, told %q", who, told)
						}
					} else if k := im.KindOf(err); k != im.NotFound && k != im.Denied {
						t.Errorf("again by %s: %v", who, err)
					}
				}
			}
		})
	}
}

// versionless replaces the version in notices, which each has that is not
// quiet, by V.
func versionless(t *testing.T, told []string) []string {
	t.Helper()
	var out []string
	for _, s := range told {
		from, to := strings.Index(s, "{"), strings.LastIndex(s, "}")+1
		var data struct{ Version int64 }
		if err := json.Unmarshal([]byte(s[from:to]), &data); err != nil {
			t.Fatal(err)
		}
		if data.Version == 0 && !strings.HasSuffix(s, "quietly") {
			t.Errorf("%s has no version", s)
		}
		out = append(out, strings.ReplaceAll(s, fmt.Sprintf(`"version":%d`, data.Version), `"version":V`))
	}
	return out
}

// What the predecessor did: it told everybody that somebody had been removed,
// by whoever said so.
func TestRemovingWithoutRightsIsNotAnnounced(t *testing.T) {
	w := newWorld(t)
	c := newClub(w, im.PolicyOpen)
	before := c.state()
	for _, who := range []string{"member", "member2", "outsider", "other"} {
		for _, whom := range []string{"owner", "admin", "member", "member2", "other"} {
			if _, err := removing(c)(t.Context(), as(c.ids[who]), users(whom)(c)); err == nil {
				t.Errorf("%s removed %s", who, whom)
			}
		}
	}
	if _, err := removing(c)(t.Context(), as(c.ids["admin"]), users("member", "member2", "admin2")(c)); err == nil {
		t.Error("an admin removed an admin beside members")
	}
	// Of several, only who was removed is told of.
	if told := c.told(); len(told) > 0 || c.state() != before {
		t.Errorf("told %q", told)
	}
	got, err := removing(c)(t.Context(), as(c.ids["admin"]), users("other", "member", "asker")(c))
	if err != nil || !slices.Equal(got.Removed, []string{c.ids["member"]}) {
		t.Errorf("removed %v, %v", got, err)
	}
	const want = `admin group.removed {"users":["member"],`
	if told := c.told(); len(told) != 1 || !strings.HasPrefix(told[0], want) {
		t.Errorf("told %q, want %s", told, want)
	}
}
