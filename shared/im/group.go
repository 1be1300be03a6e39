package im

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Role is what a user is in a group.
type Role string

// The roles. A group has one owner.
const (
	RoleOwner  Role = "owner"
	RoleAdmin  Role = "admin"
	RoleMember Role = "member"
	RoleNone   Role = "" // not in the group
)

// An Action is what somebody may do in a group, or not.
type Action string

// The actions. Each is in Rights.
const (
	SeeMembers      Action = "see who is in it"
	Speak           Action = "speak"
	SpeakWhileMuted Action = "speak while all are muted"
	InviteToOpen    Action = "invite, where the policy is open"
	Invite          Action = "invite, where it is approval or invite"
	AnswerRequests  Action = "see and answer who asks to join"
	UpdateGroup     Action = "change its name, about, policy and slow mode"
	MuteAll         Action = "mute all"
	MuteMember      Action = "mute a member"
	MuteAdmin       Action = "mute an admin"
	RemoveMember    Action = "remove a member"
	RemoveAdmin     Action = "remove an admin"
	Ban             Action = "ban a user, see who is banned, lift a ban"
	RecallOthers    Action = "recall what others said"
	GiveRoles       Action = "make others admin or member"
	HandOver        Action = "hand it over to another"
	Dissolve        Action = "dissolve it"
	Leave           Action = "leave it"
)

// A Right says which roles may do something.
type Right struct {
	Action               Action
	Owner, Admin, Member bool
}

const yes, no = true, false

// Rights is who may do what in a group. Nobody may remove, mute or demote its
// owner. The table of docs/api.md is the same.
var Rights = []Right{
	//               owner admin member
	{SeeMembers, yes, yes, yes},
	{Speak, yes, yes, yes},
	{SpeakWhileMuted, yes, yes, no},
	{InviteToOpen, yes, yes, yes},
	{Invite, yes, yes, no},
	{AnswerRequests, yes, yes, no},
	{UpdateGroup, yes, yes, no},
	{MuteAll, yes, yes, no},
	{MuteMember, yes, yes, no},
	{MuteAdmin, yes, no, no},
	{RemoveMember, yes, yes, no},
	{RemoveAdmin, yes, no, no},
	{Ban, yes, yes, no},
	{RecallOthers, yes, yes, no},
	{GiveRoles, yes, no, no},
	{HandOver, yes, no, no},
	{Dissolve, yes, no, no},
	{Leave, no, yes, yes},
}

// May reports whether who has role in a group may do a. Who is not in it is
// told what they would be told of a group that there is not.
func May(role Role, a Action) error {
	if role == RoleNone {
		return NoGroup()
	}
	for _, r := range Rights {
		if r.Action != a {
			continue
		}
		may, who := false, "the owner"
		switch role {
		case RoleOwner:
			may = r.Owner
		case RoleAdmin:
			may = r.Admin
		case RoleMember:
			may = r.Member
		}
		switch {
		case may:
			return nil
		case !r.Owner:
			return Errorf(Denied, "the owner of a group may not %s", a)
		case r.Admin:
			who = "the owner and admins"
		}
		return Errorf(Denied, "only %s of a group may %s", who, a)
	}
	return Errorf(Internal, "nobody has said who may %s", a)
}

// NoGroup is the error of a group that there is not, or not for who asks.
func NoGroup() error { return Errorf(NotFound, "there is no such group") }

// Removing returns what it takes to remove somebody with a role from a group.
// Nobody may remove the owner.
func Removing(role Role) (Action, error) {
	switch role {
	case RoleOwner:
		return "", Errorf(Denied, "nobody may remove the owner of a group")
	case RoleAdmin:
		return RemoveAdmin, nil
	}
	return RemoveMember, nil
}

// Muting returns what it takes to mute somebody with a role in a group. Nobody
// may mute the owner.
func Muting(role Role) (Action, error) {
	switch role {
	case RoleOwner:
		return "", Errorf(Denied, "nobody may mute the owner of a group")
	case RoleAdmin:
		return MuteAdmin, nil
	}
	return MuteMember, nil
}

// A Policy is how one comes to be in a group.
type Policy string

// The policies.
const (
	PolicyOpen     Policy = "open"     // whoever wants to joins
	PolicyApproval Policy = "approval" // whoever wants to asks the owner and admins
	PolicyInvite   Policy = "invite"   // whom the owner or an admin invites
)

// Check reports whether p is a policy.
func (p Policy) Check() error {
	switch p {
	case PolicyOpen, PolicyApproval, PolicyInvite:
		return nil
	}
	return Errorf(Invalid, "%.40q is not a policy of a group: it is %s, %s or %s", string(p), PolicyOpen, PolicyApproval, PolicyInvite)
}

// Inviting returns what it takes to invite to a group of the policy.
func (p Policy) Inviting() Action {
	if p == PolicyOpen {
		return InviteToOpen
	}
	return Invite
}

// A GroupInfo is a group as a user sees it.
type GroupInfo struct {
	ID           string       `json:"id"`
	Conversation Conversation `json:"conversation"`
	Name         string       `json:"name"`
	About        string       `json:"about"`
	Owner        string       `json:"owner"`
	Policy       Policy       `json:"policy"`
	Muted        bool         `json:"muted"`        // only the owner and admins may speak
	SlowSeconds  int          `json:"slow_seconds"` // between two messages of a member; 0 is any
	Members      int          `json:"members"`      // how many
	Version      int64        `json:"version"`      // grows with each change
	Created      Time         `json:"created"`
	Me           *InGroup     `json:"me,omitempty"` // nil of who is not in it
}

// InGroup is what a user is in a group.
type InGroup struct {
	Role       Role `json:"role"`
	MutedUntil Time `json:"muted_until,omitempty"` // 0 is not at all
	Joined     Time `json:"-"`
}

// Role returns what the user who sees g is in it.
func (g GroupInfo) Role() Role {
	if g.Me == nil {
		return RoleNone
	}
	return g.Me.Role
}

// A GroupChange is what is changed of a group; nil stays as it is.
type GroupChange struct {
	Name   *string `json:"name,omitempty"`
	About  *string `json:"about,omitempty"`
	Policy *Policy `json:"policy,omitempty"`

	SlowSeconds *int `json:"slow_seconds,omitempty"`
}

// Check reports what in c could never be.
func (c GroupChange) Check() error {
	if c.Name != nil {
		if err := CheckName(*c.Name); err != nil {
			return err
		}
	}
	if c.About != nil {
		if err := checkText("about", *c.About, MaxAbout); err != nil {
			return err
		}
	}
	if s := c.SlowSeconds; s != nil && (*s < 0 || *s > MaxSlow) {
		return Errorf(Invalid, `"slow_seconds" is 0 to %d`, MaxSlow)
	}
	if c.Policy != nil {
		return c.Policy.Check()
	}
	return nil
}

// Of returns what of c is not so in g already.
func (c GroupChange) Of(g GroupInfo) GroupChange {
	if c.Name != nil && *c.Name == g.Name {
		c.Name = nil
	}
	if c.About != nil && *c.About == g.About {
		c.About = nil
	}
	if c.Policy != nil && *c.Policy == g.Policy {
		c.Policy = nil
	}
	if c.SlowSeconds != nil && *c.SlowSeconds == g.SlowSeconds {
		c.SlowSeconds = nil
	}
	return c
}

// MaxSlow is the most seconds that a slow group has a member wait.
const MaxSlow = 3600

// Limits of groups, in characters.
const (
	MaxAbout       = 500 // of what is said about one
	MaxJoinMessage = 200 // of what is said to who is asked to let one in
	MaxBanReason   = 200 // of why somebody is banned
)

// CheckJoinMessage reports whether s could be said to who is asked.
func CheckJoinMessage(s string) error { return checkText("message", s, MaxJoinMessage) }

// CheckBanReason reports whether s could be why somebody is banned.
func CheckBanReason(s string) error { return checkText("reason", s, MaxBanReason) }

// checkText reports whether s could be the text of a field: of at most so many
// characters, all of which can be shown or break a line.
func checkText(field, s string, most int) error {
	switch {
	case !utf8.ValidString(s):
		return Errorf(Invalid, "%q is not UTF-8", field)
	case utf8.RuneCountInString(s) > most:
		return Errorf(Invalid, "%q has %d characters at most", field, most)
	case strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }):
		return Errorf(Invalid, "%q holds no control characters but line feeds", field)
	}
	return nil
}

// GroupID returns the id of the group that a user makes under a key of theirs:
// always the same one.
func GroupID(user, key string) string {
	h := sha256.Sum256([]byte("group\x00" + user + "\x00" + key))
	return base32Lower.EncodeToString(h[:10])
}

// A GroupMember is a user in a group. Version is that of the group by which
// they came to be as they are.
type GroupMember struct {
	User       Profile `json:"user"`
	Role       Role    `json:"role"`
	Joined     Time    `json:"joined"`
	MutedUntil Time    `json:"muted_until,omitempty"`
	Version    int64   `json:"version"`
}

// A JoinRequest is somebody who asks to join a group.
type JoinRequest struct {
	User        Profile `json:"user"`
	Message     string  `json:"message"`
	RequestedAt Time    `json:"requested_at"`
}

// A GroupBan keeps a user out of a group: they neither join nor ask to, and
// nobody adds them.
type GroupBan struct {
	User    Profile `json:"user"`
	By      string  `json:"by"`
	Reason  string  `json:"reason"`
	Until   Time    `json:"until,omitempty"` // 0 is for ever
	Created Time    `json:"created"`
}

// Members are the members of a group as of a version of it, and what it takes
// to judge whether one may speak. Each change makes a greater version.
type Members struct {
	Version int64
	Users   []string // sorted

	Muted      bool            // but for those in Staff
	Slow       int             // seconds between two messages of one, but for those in Staff
	Staff      []string        // owner and admins
	MutedUntil map[string]Time // of those who are or were muted by themselves
}

// Has reports whether a user is among them.
func (m Members) Has(user string) bool {
	_, in := slices.BinarySearch(m.Users, user)
	return in
}

// SlowFor returns how long a user has to wait after each message to the group.
func (m Members) SlowFor(user string) time.Duration {
	if slices.Contains(m.Staff, user) {
		return 0
	}
	return time.Duration(m.Slow) * time.Second
}

// MaySpeak reports whether a user may speak in the group now. Of a group that
// there is not, which is the zero Members, it says what it says of any that the
// user is not in.
func (m Members) MaySpeak(user string, now Time) error {
	if !m.Has(user) {
		return Errorf(Denied, "you are not in this group")
	}
	if until := m.MutedUntil[user]; until > now {
		return Errorf(Denied, "you are muted in this group until %s", until)
	}
	if m.Muted && !slices.Contains(m.Staff, user) {
		return Errorf(Denied, "only the owner and admins may speak in this group now")
	}
	return nil
}
