package group

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

type newGroup struct {
	Name    string    `json:"name"`
	About   string    `json:"about"`
	Policy  im.Policy `json:"policy"`
	Members []string  `json:"members"` // ids of users; the caller need not be among them
}

// created is a group, and who of those named is not in it.
type created struct {
	im.GroupInfo
	Skipped []string `json:"skipped"`
}

type creator struct {
	change  changer
	invites invites
	now     func() im.Time
}

// call makes a group. The caller owns it and is a member of it. Called again
// with the same Idempotency-Key it returns the group as it is by then.
func (cr *creator) call(ctx context.Context, c im.Caller, in newGroup) (created, error) {
	if in.Policy == "" {
		in.Policy = im.PolicyInvite
	}
	if err := (im.GroupChange{Name: &in.Name, About: &in.About, Policy: &in.Policy}).Check(); err != nil {
		return created{}, err
	}
	asked := distinct(in.Members, c.User)
	if err := checkUsers(in.Members, 2*im.MaxGroup); err != nil {
		return created{}, err
	}
	if n := len(asked) + 1; n > im.MaxGroup {
		return created{}, im.Errorf(im.TooLarge, "a group has %d members at most, not %d", im.MaxGroup, n)
	}
	welcome, _, err := cr.invites.welcome(ctx, c.User, asked)
	if err != nil {
		return created{}, fmt.Errorf("creating a group: %w", err)
	}
	id := im.NewID()
	if key := fn.KeyOf(ctx); key != "" {
		id = im.GroupID(c.User, key)
	}
	var out created
	err = cr.change(ctx, func(ctx context.Context, tx tx) error {
		admitted, err := cr.invites.admit(ctx, tx, append([]string{c.User}, welcome...))
		if err != nil {
			return err
		}
		may, made := slices.Contains(admitted, c.User), false
		if may {
			g := im.GroupInfo{ID: id, Name: in.Name, About: in.About, Policy: in.Policy, Owner: c.User, Created: cr.now()}
			if made, err = tx.CreateGroup(ctx, g, distinct(admitted, c.User)); err != nil {
				return err
			}
		}
		out.GroupInfo, err = lock(ctx, tx, id, c, im.SeeMembers)
		switch {
		case !may && errors.Is(err, im.NotFound):
			return cr.invites.tooMany()
		case err != nil:
			return err
		}
		members, err := tx.InGroup(ctx, id, asked)
		if err != nil {
			return err
		}
		out.Skipped = slices.DeleteFunc(slices.Clone(asked), func(u string) bool { return members[u].Role != im.RoleNone })
		if !made {
			return nil
		}
		return tell(tx, im.GroupCreated, id, c.User, fields{"name": out.Name, "version": out.Version})
	})
	if err != nil {
		return created{}, fmt.Errorf("creating a group: %w", err)
	}
	return out, nil
}

// distinct returns users, each once, in their order, without one of them.
func distinct(users []string, but string) []string {
	seen := map[string]bool{but: true}
	out := make([]string, 0, len(users))
	for _, u := range users {
		if !seen[u] {
			seen[u] = true
			out = append(out, u)
		}
	}
	return out
}
