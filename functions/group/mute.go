package group

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

type muteRequest struct {
	Group string   `json:"group"`
	User  string   `json:"user"`
	Until *im.Time `json:"until"` // nil, or what has passed, lifts it
	All   *bool    `json:"all"`
}

func (in muteRequest) check() error {
	if err := checkGroup(in.Group); err != nil {
		return err
	}
	if (in.User == "") == (in.All == nil) || in.All != nil && in.Until != nil {
		return im.Errorf(im.Invalid, `mute a "user", with or without "until", or "all"`)
	}
	if in.All != nil {
		return nil
	}
	return checkUsers([]string{in.User}, 1)
}

type muter struct {
	change changer
	now    func() im.Time
}

// call keeps a member from speaking until a time, or all but the owner and
// admins, or lifts that.
func (mu *muter) call(ctx context.Context, c im.Caller, in muteRequest) (nothing, error) {
	if err := in.check(); err != nil {
		return nothing{}, err
	}
	err := mu.change(ctx, func(ctx context.Context, tx tx) error {
		if in.All != nil {
			return muteAll(ctx, tx, c, in.Group, *in.All)
		}
		until := im.Time(0)
		if in.Until != nil && *in.Until > mu.now() {
			until = *in.Until
		}
		return muteMember(ctx, tx, c, in.Group, in.User, until)
	})
	if err != nil {
		return nothing{}, fmt.Errorf("muting in group %s: %w", in.Group, err)
	}
	return nothing{}, nil
}

func muteAll(ctx context.Context, tx tx, c im.Caller, group string, muted bool) error {
	g, err := lock(ctx, tx, group, c, im.MuteAll)
	if err != nil || g.Muted == muted {
		return err
	}
	version, err := tx.MuteGroup(ctx, g.ID, muted)
	if err != nil {
		return err
	}
	return tell(tx, im.GroupMuted, g.ID, c.User, fields{"all": muted, "version": version})
}

func muteMember(ctx context.Context, tx tx, c im.Caller, group, user string, until im.Time) error {
	g, err := lock(ctx, tx, group, c, im.MuteMember)
	if err != nil {
		return err
	}
	members, err := tx.InGroup(ctx, g.ID, []string{user})
	if err != nil {
		return err
	}
	m := members[user]
	if m.Role == im.RoleNone {
		return notIn()
	}
	needs, err := im.Muting(m.Role)
	if err == nil {
		err = im.May(g.Role(), needs)
	}
	if err != nil || m.MutedUntil == until {
		return err
	}
	version, err := tx.MuteMember(ctx, g.ID, user, until)
	if err != nil {
		return err
	}
	data := fields{"user": user, "version": version}
	if until != 0 {
		data["until"] = until
	}
	return tell(tx, im.GroupMuted, g.ID, c.User, data)
}
