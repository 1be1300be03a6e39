package group

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

const maxNamed = 100 // users that one call may add or remove

// leftFor is for how long nobody but friends adds again who has left a group by
// themselves.
const leftFor = im.Time(24 * time.Hour / time.Microsecond)

type relations interface {
	// Relations returns the relation of each pair.
	Relations(context.Context, []im.Pair) (map[im.Pair]im.Relation, error)
	// GroupAdds returns who may make each user a member of a group: Everyone,
	// Friends or Nobody.
	GroupAdds(ctx context.Context, users []string) (map[string]string, error)
}

// invites knows who may be made a member of a group by whom.
type invites struct {
	relations relations
	policy    string // of who may write to whom
	most      int    // groups that a user is in
	strangers limiter
	newcomers newcomers
}

type limiter interface {
	// AllowN counts that a user adds n who are not friends. Overloaded: these
	// are too many for now. TooLarge: they are too many at once.
	AllowN(ctx context.Context, user string, n int) error
}

type newcomers interface {
	// Reach counts that an account turns to strangers. Overloaded: they are too
	// many for one that is so new.
	Reach(ctx context.Context, from string, strangers ...string) error
}

// welcome returns those of users whom from may write to and who let them, and
// so may add to a group, and who of these are no friends. Those are not asked
// either, so there is a limit to them.
func (i invites) welcome(ctx context.Context, from string, users []string) (welcome, strangers []string, err error) {
	if len(users) == 0 {
		return nil, nil, nil
	}
	pairs := make([]im.Pair, len(users))
	for n, u := range users {
		pairs[n] = im.PairOf(from, u)
	}
	found, err := i.relations.Relations(ctx, pairs)
	if err != nil {
		return nil, nil, fmt.Errorf("asking whom %s may invite: %w", from, err)
	}
	adds, err := i.relations.GroupAdds(ctx, users)
	if err != nil {
		return nil, nil, fmt.Errorf("asking whom %s may invite: %w", from, err)
	}
	for n, u := range users {
		r := found[pairs[n]]
		if r.MayWrite(i.policy) != nil || adds[u] != im.Everyone && !(adds[u] == im.Friends && r.Friends) {
			continue
		}
		welcome = append(welcome, u)
		if !r.Friends {
			strangers = append(strangers, u)
		}
	}
	if err := i.newcomers.Reach(ctx, from, strangers...); err != nil {
		return nil, nil, fmt.Errorf("asking whether %s may invite strangers: %w", from, err)
	}
	return welcome, strangers, i.strangers.AllowN(ctx, from, len(strangers))
}

// away returns those of users who are not to be added to a group: who is banned
// from it, and those strangers who have just left it.
func (i invites) away(ctx context.Context, tx tx, group string, users, strangers []string, now im.Time) ([]string, error) {
	banned, err := tx.Banned(ctx, group, users)
	if err != nil {
		return nil, err
	}
	left, err := tx.LeftAfter(ctx, group, strangers, now-leftFor)
	return append(banned, left...), err
}

// admit returns those of users, in their order, who exist, which they do until
// the transaction ends, and are not in too many groups. The last is not exact:
// who is added to several groups at once may be in a few more.
func (i invites) admit(ctx context.Context, tx tx, users []string) ([]string, error) {
	found, err := tx.HoldUsers(ctx, users)
	if err != nil {
		return nil, err
	}
	busy, err := tx.InManyGroups(ctx, found, i.most)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(users), func(u string) bool {
		return !slices.Contains(found, u) || slices.Contains(busy, u)
	}), nil
}

// tooMany is the error of a caller whom admit does not return.
func (i invites) tooMany() error {
	return im.Errorf(im.TooLarge, "you are in %d groups or more: leave one first", i.most)
}

type named struct {
	Group string   `json:"group"`
	Users []string `json:"users"`
}

func (in named) check() error {
	if err := checkGroup(in.Group); err != nil {
		return err
	}
	if len(in.Users) == 0 {
		return im.Errorf(im.Invalid, `"users" names nobody`)
	}
	return checkUsers(in.Users, maxNamed)
}

// invited says who was added to a group, and who could not be. Who was in it
// before is neither.
type invited struct {
	Added   []string `json:"added"`
	Skipped []string `json:"skipped"`
}

type inviter struct {
	change  changer
	invites invites
	now     func() im.Time
}

func (i *inviter) call(ctx context.Context, c im.Caller, in named) (invited, error) {
	if err := in.check(); err != nil {
		return invited{}, err
	}
	asked := distinct(in.Users, c.User)
	welcome, strangers, err := i.invites.welcome(ctx, c.User, asked)
	if err != nil {
		return invited{}, err
	}
	var out invited
	err = i.change(ctx, func(ctx context.Context, tx tx) error {
		added, err := i.invites.admit(ctx, tx, welcome)
		if err != nil {
			return err
		}
		g, err := tx.LockGroup(ctx, in.Group, c.User)
		if err != nil {
			return err
		}
		if err := im.May(g.Role(), g.Policy.Inviting()); err != nil {
			return err
		}
		were, err := tx.InGroup(ctx, g.ID, asked)
		if err != nil {
			return err
		}
		away, err := i.invites.away(ctx, tx, g.ID, welcome, strangers, i.now())
		if err != nil {
			return err
		}
		isNew := func(u string) bool { return were[u].Role == im.RoleNone }
		added = slices.DeleteFunc(added, func(u string) bool { return !isNew(u) || slices.Contains(away, u) })
		switch room := im.MaxGroup - g.Members; {
		case len(added) == 0:
		case room <= 0:
			return full()
		case len(added) > room:
			added = added[:room]
		}
		out = invited{Added: []string{}, Skipped: []string{}}
		for _, u := range asked {
			switch {
			case slices.Contains(added, u):
				out.Added = append(out.Added, u)
			case isNew(u):
				out.Skipped = append(out.Skipped, u)
			}
		}
		if len(added) == 0 {
			return nil
		}
		return join(ctx, tx, g.ID, c.User, added, i.now())
	})
	if err != nil {
		return invited{}, fmt.Errorf("inviting to group %s: %w", in.Group, err)
	}
	return out, nil
}

// join adds users to a group that is locked, and tells its members.
func join(ctx context.Context, tx tx, group, by string, users []string, at im.Time) error {
	version, err := tx.AddMembers(ctx, group, users, at)
	if err != nil {
		return err
	}
	return announce(ctx, tx, at, users, im.GroupJoined, group, by, fields{"users": users, "version": version})
}

// full is the error of a group that cannot have another member.
func full() error {
	return im.Errorf(im.TooLarge, "the group has %d members, and no room for more", im.MaxGroup)
}
