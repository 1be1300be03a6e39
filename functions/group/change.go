package group

import (
	"context"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// tx is a transaction that changes groups. What it returns as a version is that
// of the group by the change.
type tx interface {
	// HoldUsers keeps users from being deleted until the transaction ends, and
	// returns those that there are. It comes before LockGroup.
	HoldUsers(ctx context.Context, users []string) ([]string, error)
	// LockGroup returns a group as a user sees it, which it is until the
	// transaction ends. NotFound: there is none, or it was dissolved.
	LockGroup(ctx context.Context, group, user string) (im.GroupInfo, error)

	// What is in a group that is locked.
	MembersOf(ctx context.Context, group string) ([]string, error)
	StaffOf(ctx context.Context, group string) ([]string, error)
	InGroup(ctx context.Context, group string, users []string) (map[string]im.InGroup, error)
	HasAsked(ctx context.Context, group, user string) (bool, error)
	HaveLeft(ctx context.Context, group, user string) (bool, error)
	// LeftAfter returns those of users who left by themselves after a time,
	// Banned those who are banned, and Announced those of whom the members were
	// told after a time that they had come or gone.
	LeftAfter(ctx context.Context, group string, users []string, after im.Time) ([]string, error)
	Banned(ctx context.Context, group string, users []string) ([]string, error)
	Announced(ctx context.Context, group string, users []string, after im.Time) ([]string, error)
	// InManyGroups returns those of users who are in at least so many groups.
	InManyGroups(ctx context.Context, users []string, many int) ([]string, error)

	// Changes of a group that is locked.
	CreateGroup(ctx context.Context, g im.GroupInfo, members []string) (made bool, err error)
	UpdateGroup(ctx context.Context, group string, c im.GroupChange) (version int64, err error)
	MuteGroup(ctx context.Context, group string, muted bool) (version int64, err error)
	DissolveGroup(ctx context.Context, group string) (members []string, version int64, err error)
	AddMembers(ctx context.Context, group string, users []string, at im.Time) (version int64, err error)
	RemoveMembers(ctx context.Context, group string, users []string) (removed []string, version int64, err error)
	SetRole(ctx context.Context, group, user string, role im.Role) (version int64, err error)
	HandOver(ctx context.Context, group, to string) (version int64, err error)
	MuteMember(ctx context.Context, group, user string, until im.Time) (version int64, err error)
	NoteLeft(ctx context.Context, group, user string, at im.Time) error
	Announce(ctx context.Context, group string, users []string, at im.Time) error
	// Ban returns who was not banned so before, and how many are banned then;
	// Unban whether the user was.
	Ban(ctx context.Context, group string, users []string, b im.GroupBan) (changed []string, banned int, err error)
	Unban(ctx context.Context, group, user string) (was bool, err error)
	AskToJoin(ctx context.Context, group, user, message string, at im.Time, most int) (asked bool, err error)
	DropJoinRequest(ctx context.Context, group, user string) (asked bool, err error)

	// Notify has notices published if, and once, the transaction is committed.
	Notify(notices ...im.Notice)
}

// A changer runs f in a transaction, and publishes the notices that it leaves.
type changer func(ctx context.Context, f func(context.Context, tx) error) error

// fields are the data of a notice.
type fields map[string]any

// tell leaves a notice for the members of a group, as they will be, and for who
// made the change, or for those who are named.
func tell(tx tx, typ, group, from string, data fields, to ...string) error {
	n, err := im.NewNotice(typ, im.Group(group), from, data)
	if err != nil {
		return err
	}
	n.To = to
	tx.Notify(n)
	return nil
}

// tellQuietly leaves a notice for the devices of those who are named.
func tellQuietly(tx tx, typ, group, from string, data fields, to ...string) error {
	n, err := im.NewNotice(typ, im.Group(group), from, data)
	if err != nil {
		return err
	}
	n.To, n.Quiet = to, true
	tx.Notify(n)
	return nil
}

// announceEvery is how often the members of a group are told, for eyes to see,
// that one and the same user has come or gone. Whatever else happens meanwhile
// their devices are told of quietly, so that who comes and goes fills no list.
const announceEvery = im.Time(time.Hour / time.Microsecond)

// announce leaves a notice that users have come or gone, which is quiet if all
// of them were announced a moment ago. It comes after the change.
func announce(ctx context.Context, tx tx, at im.Time, users []string, typ, group, by string, data fields, to ...string) error {
	before, err := tx.Announced(ctx, group, users, at-announceEvery)
	if err != nil {
		return err
	}
	if len(before) == len(users) {
		return tellQuietly(tx, typ, group, by, data, to...)
	}
	if err := tx.Announce(ctx, group, users, at); err != nil {
		return err
	}
	return tell(tx, typ, group, by, data, to...)
}

// lock returns a group that is locked, if the caller may do something there.
func lock(ctx context.Context, tx tx, group string, c im.Caller, a im.Action) (im.GroupInfo, error) {
	g, err := tx.LockGroup(ctx, group, c.User)
	if err != nil {
		return g, err
	}
	return g, im.May(g.Role(), a)
}

// checkGroup refuses what is no group by its form.
func checkGroup(group string) error {
	if !im.IsID(group) {
		return im.Errorf(im.Invalid, "%.40q is not the id of a group", group)
	}
	return nil
}

// checkUsers refuses what is no list of so many users by its form.
func checkUsers(users []string, most int) error {
	if len(users) > most {
		return im.Errorf(im.TooLarge, "name %d users at most, not %d", most, len(users))
	}
	for _, u := range users {
		if !im.IsID(u) {
			return im.Errorf(im.Invalid, "%.40q is not the id of a user", u)
		}
	}
	return nil
}

// nothing is the answer of what has nothing to say.
type nothing struct{}
