package im

import (
	"strings"
	"testing"
)

func TestMay(t *testing.T) {
	for _, r := range Rights {
		for role, may := range map[Role]bool{RoleOwner: r.Owner, RoleAdmin: r.Admin, RoleMember: r.Member} {
			err := May(role, r.Action)
			if may != (err == nil) || err != nil && KindOf(err) != Denied {
				t.Errorf("whether %s may %s: %v", role, r.Action, err)
			}
		}
		if err := May(RoleNone, r.Action); KindOf(err) != NotFound || err.Error() != NoGroup().Error() {
			t.Errorf("who is not in it may %s: %v", r.Action, err)
		}
	}
	for _, role := range []Role{RoleOwner, "king"} {
		if May(role, "fly") == nil || role == "king" && May(role, Speak) == nil {
			t.Errorf("%s may do what nobody has heard of", role)
		}
	}
	// What is told is who may.
	for a, want := range map[Action]string{
		Dissolve: "only the owner of a group may dissolve it",
		MuteAll:  "only the owner and admins of a group may mute all",
	} {
		if err := May(RoleMember, a); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, of := range []func(Role) (Action, error){Removing, Muting} {
		if a, err := of(RoleOwner); err == nil {
			t.Errorf("the owner may be the object of %q", a)
		}
		admin, err1 := of(RoleAdmin)
		member, err2 := of(RoleMember)
		if err1 != nil || err2 != nil || May(RoleAdmin, admin) == nil || May(RoleAdmin, member) != nil {
			t.Errorf("%q, %q, %v, %v", admin, member, err1, err2)
		}
	}
}

func TestWhoMaySpeak(t *testing.T) {
	const now = Time(1000)
	m := Members{Users: []string{ann, bob, cat}, Staff: []string{bob}, MutedUntil: map[string]Time{cat: now + 1, bob: now}}
	quiet := m
	quiet.Muted = true
	for _, tt := range []struct {
		name string
		in   Members
		user string
		want string // "" may
	}{
		{"a member", m, ann, ""},
		{"who was muted until now", m, bob, ""},
		{"who is muted", m, cat, "you are muted in this group until 1970-01-01T00:00:00.001001Z"},
		{"who is not in it", m, "dddddddddddddddd", "you are not in this group"},
		{"in a group that there is not", Members{}, ann, "you are not in this group"},
		{"a member while all are muted", quiet, ann, "only the owner and admins may speak in this group now"},
		{"an admin while all are muted", quiet, bob, ""},
	} {
		err := tt.in.MaySpeak(tt.user, now)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want || KindOf(err) != Denied) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestWhatAGroupMaySayOfItself(t *testing.T) {
	str := func(s string) *string { return &s }
	policy := func(p Policy) *Policy { return &p }
	for _, tt := range []struct {
		name string
		in   GroupChange
		ok   bool
	}{
		{"nothing", GroupChange{}, true},
		{"all", GroupChange{Name: str("Club"), About: str("for\nus 👩‍🚀"), Policy: policy(PolicyApproval)}, true},
		{"an about that is empty", GroupChange{About: str("")}, true},
		{"as long as it may be", GroupChange{About: str(strings.Repeat("ä", MaxAbout))}, true},
		{"longer", GroupChange{About: str(strings.Repeat("ä", MaxAbout+1))}, false},
		{"no UTF-8", GroupChange{About: str("\xff")}, false},
		{"what cannot be stored", GroupChange{About: str("a\x00b")}, false},
		{"what turns text around", GroupChange{About: str("\u202eevil")}, false},
		{"a name that is none", GroupChange{Name: str("")}, false},
		{"a policy that is none", GroupChange{Policy: policy("closed")}, false},
	} {
		if err := tt.in.Check(); (err == nil) != tt.ok || err != nil && KindOf(err) != Invalid {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if CheckJoinMessage(strings.Repeat("x", MaxJoinMessage)) != nil || CheckJoinMessage(strings.Repeat("x", MaxJoinMessage+1)) == nil {
		t.Error("a message has another length")
	}
}

func TestAKeyMakesOneGroupOfEachUser(t *testing.T) {
	id := GroupID(ann, "k")
	if !IsID(id) || id != GroupID(ann, "k") || id == GroupID(bob, "k") || id == GroupID(ann, "k2") {
		t.Errorf("%s, %s", id, GroupID(bob, "k"))
	}
}
