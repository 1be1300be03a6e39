package group

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	maxBans     = 5000 // users who are banned from a group
	defaultBans = 50
	mostBans    = 100 // on a page
)

type banRequest struct {
	Group  string   `json:"group"`
	User   string   `json:"user"`
	Reason string   `json:"reason"`
	Until  *im.Time `json:"until"` // nil is for ever
}

type banner struct {
	change changer
	now    func() im.Time
}

// ban keeps a user out of a group, whether or not they are in it. Who is banned
// already is from then on for this reason and until this time.
func (b *banner) ban(ctx context.Context, c im.Caller, in banRequest) (nothing, error) {
	if err := checkBan(c, in.Group, in.User); err != nil {
		return nothing{}, err
	}
	if err := im.CheckBanReason(in.Reason); err != nil {
		return nothing{}, err
	}
	until := im.Time(0)
	if in.Until != nil {
		if until = *in.Until; until <= b.now() {
			return nothing{}, im.Errorf(im.Invalid, `"until" is over: give a time to come, or none`)
		}
	}
	err := b.change(ctx, func(ctx context.Context, tx tx) error {
		found, err := tx.HoldUsers(ctx, []string{in.User})
		if err != nil {
			return err
		}
		g, err := lock(ctx, tx, in.Group, c, im.Ban)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return im.Errorf(im.NotFound, "there is no such user")
		}
		members, err := tx.InGroup(ctx, g.ID, found)
		if err != nil {
			return err
		}
		if m, is := members[in.User]; is {
			if err := mayRemove(g, m.Role); err != nil {
				return err
			}
			if _, err := takeOut(ctx, tx, g.ID, c.User, found); err != nil {
				return err
			}
		}
		return ban(ctx, tx, g.ID, found, im.GroupBan{By: c.User, Reason: in.Reason, Until: until, Created: b.now()})
	})
	if err != nil {
		return nothing{}, fmt.Errorf("banning from group %s: %w", in.Group, err)
	}
	return nothing{}, nil
}

func checkBan(c im.Caller, group, user string) error {
	if err := checkGroup(group); err != nil {
		return err
	}
	if user == c.User {
		return im.Errorf(im.Invalid, "you do not ban yourself from a group: you leave it")
	}
	return checkUsers([]string{user}, 1)
}

// ban bans users who are not in a group that is locked, and tells its owner and
// admins, and each of those users.
func ban(ctx context.Context, tx tx, group string, users []string, b im.GroupBan) error {
	changed, n, err := tx.Ban(ctx, group, users, b)
	switch {
	case err != nil:
		return err
	case n > maxBans:
		return im.Errorf(im.Conflict, "%d users are banned from the group, which is the most: lift a ban first", maxBans)
	}
	for _, u := range changed {
		data := fields{"user": u}
		if b.Reason != "" {
			data["reason"] = b.Reason
		}
		if b.Until != 0 {
			data["until"] = b.Until
		}
		if err := tellStaff(ctx, tx, im.GroupBanned, group, b.By, data, u); err != nil {
			return err
		}
	}
	return nil
}

// tellStaff leaves a quiet notice for the owner and admins of a group, and one
// more.
func tellStaff(ctx context.Context, tx tx, typ, group, from string, data fields, also string) error {
	staff, err := tx.StaffOf(ctx, group)
	if err != nil {
		return err
	}
	return tellQuietly(tx, typ, group, from, data, append(staff, also)...)
}

type unbanRequest struct {
	Group string `json:"group"`
	User  string `json:"user"`
}

// unban lifts a ban. Who is not banned may come in again already.
func unban(change changer) func(context.Context, im.Caller, unbanRequest) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in unbanRequest) (nothing, error) {
		if err := checkBan(c, in.Group, in.User); err != nil {
			return nothing{}, err
		}
		err := change(ctx, func(ctx context.Context, tx tx) error {
			g, err := lock(ctx, tx, in.Group, c, im.Ban)
			if err != nil {
				return err
			}
			was, err := tx.Unban(ctx, g.ID, in.User)
			if err != nil || !was {
				return err
			}
			return tellStaff(ctx, tx, im.GroupUnbanned, g.ID, c.User, fields{"user": in.User}, in.User)
		})
		if err != nil {
			return nothing{}, fmt.Errorf("lifting a ban from group %s: %w", in.Group, err)
		}
		return nothing{}, nil
	}
}

// bansReader reads who is banned from groups.
type bansReader interface {
	reader
	// Bans returns at most limit of those who are banned from a group, those
	// first who were first: those after the user who was banned then.
	Bans(ctx context.Context, group string, after im.Time, user string, limit int) ([]im.GroupBan, error)
}

type bansRequest struct {
	Group string `json:"group"`
	page
}

type bansPage struct {
	Bans []im.GroupBan `json:"bans"`
	Next string        `json:"next,omitempty"`
}

// bans returns who is banned from a group, to those who may ban.
func bans(groups bansReader) func(context.Context, im.Caller, bansRequest) (bansPage, error) {
	return func(ctx context.Context, c im.Caller, in bansRequest) (bansPage, error) {
		if err := checkGroup(in.Group); err != nil {
			return bansPage{}, err
		}
		limit, err := im.Limit(in.Limit, defaultBans, mostBans)
		if err != nil {
			return bansPage{}, err
		}
		from, err := cursor.Decode(in.Cursor, cursor.User{})
		if err != nil {
			return bansPage{}, err
		}
		g, err := groups.Group(ctx, in.Group, c.User)
		if err == nil {
			err = im.May(g.Role(), im.Ban)
		}
		var found []im.GroupBan
		if err == nil {
			found, err = groups.Bans(ctx, g.ID, from.Time, from.ID, limit+1)
		}
		if err != nil {
			return bansPage{}, fmt.Errorf("reading who is banned from group %s: %w", in.Group, err)
		}
		found, last := cursor.Cut(found, limit)
		out := bansPage{Bans: found}
		if last != nil {
			out.Next = cursor.Encode(cursor.User{Time: last.Created, ID: last.User.ID})
		}
		return out, nil
	}
}
