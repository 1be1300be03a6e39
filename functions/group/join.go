package group

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidings-im/tidings/shared/im"
)

const maxRequests = 200 // users who wait to be let into a group

// The states of who wants to join a group.
const (
	joined  = "joined"
	pending = "pending"
	refused = "none"
)

type state struct {
	State string `json:"state"`
}

type joinRequest struct {
	Group   string `json:"group"`
	Message string `json:"message"`
}

type joiner struct {
	change  changer
	invites invites
	now     func() im.Time
}

// ask lets the caller into a group that is open, and asks the owner and admins
// of one that wants that. Any other does not exist for who is not in it.
func (j *joiner) ask(ctx context.Context, c im.Caller, in joinRequest) (state, error) {
	if err := checkGroup(in.Group); err != nil {
		return state{}, err
	}
	if err := im.CheckJoinMessage(in.Message); err != nil {
		return state{}, err
	}
	out := state{joined}
	err := j.change(ctx, func(ctx context.Context, tx tx) error {
		admitted, err := j.invites.admit(ctx, tx, []string{c.User})
		if err != nil {
			return err
		}
		g, err := tx.LockGroup(ctx, in.Group, c.User)
		switch {
		case err != nil:
			return err
		case g.Role() != im.RoleNone:
			return nil
		case g.Policy == im.PolicyInvite:
			return im.NoGroup()
		case len(admitted) == 0:
			return j.invites.tooMany()
		}
		if err := notBanned(ctx, tx, g.ID, c.User); err != nil {
			return err
		}
		switch {
		case g.Policy == im.PolicyOpen && g.Members >= im.MaxGroup:
			return full()
		case g.Policy == im.PolicyOpen:
			return join(ctx, tx, g.ID, c.User, []string{c.User}, j.now())
		}
		out.State = pending
		asked, err := tx.AskToJoin(ctx, g.ID, c.User, in.Message, j.now(), maxRequests)
		if err != nil || !asked {
			return err
		}
		staff, err := tx.StaffOf(ctx, g.ID)
		if err != nil {
			return err
		}
		return tellQuietly(tx, im.GroupJoinRequested, g.ID, c.User, fields{"user": c.User, "message": in.Message}, staff...)
	})
	if err != nil {
		return state{}, fmt.Errorf("asking to join group %s: %w", in.Group, err)
	}
	return out, nil
}

type joinResponse struct {
	Group  string `json:"group"`
	User   string `json:"user"`
	Accept *bool  `json:"accept"`
}

// notBanned is the error of who asks to get into a group from which they are
// banned.
func notBanned(ctx context.Context, tx tx, group, user string) error {
	banned, err := tx.Banned(ctx, group, []string{user})
	if err == nil && len(banned) > 0 {
		err = im.Errorf(im.Denied, "you are banned from this group")
	}
	return err
}

// respond answers who asks to join a group. Who is in it by then has joined.
func (j *joiner) respond(ctx context.Context, c im.Caller, in joinResponse) (state, error) {
	if err := checkGroup(in.Group); err != nil {
		return state{}, err
	}
	if err := checkUsers([]string{in.User}, 1); err != nil {
		return state{}, err
	}
	if in.Accept == nil {
		return state{}, im.Errorf(im.Invalid, `"accept" is true or false`)
	}
	accept, out := *in.Accept, state{joined}
	err := j.change(ctx, func(ctx context.Context, tx tx) error {
		admitted, err := j.invites.admit(ctx, tx, []string{in.User})
		if err != nil {
			return err
		}
		g, err := lock(ctx, tx, in.Group, c, im.AnswerRequests)
		if err != nil {
			return err
		}
		members, err := tx.InGroup(ctx, g.ID, []string{in.User})
		if err != nil {
			return err
		}
		if accept && members[in.User].Role != im.RoleNone {
			return nil
		}
		asked, err := tx.HasAsked(ctx, g.ID, in.User)
		switch {
		case err != nil:
			return err
		case !asked:
			return im.Errorf(im.NotFound, "this user does not ask to join the group")
		case accept && !slices.Contains(admitted, in.User):
			return im.Errorf(im.TooLarge, "this user is in too many groups")
		case accept && g.Members >= im.MaxGroup:
			return full()
		case accept:
			return join(ctx, tx, g.ID, c.User, []string{in.User}, j.now())
		}
		out.State = refused
		if _, err := tx.DropJoinRequest(ctx, g.ID, in.User); err != nil {
			return err
		}
		return tellQuietly(tx, im.GroupJoinRefused, g.ID, c.User, fields{}, in.User)
	})
	if err != nil {
		return state{}, fmt.Errorf("answering who asks to join group %s: %w", in.Group, err)
	}
	return out, nil
}
