package user

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/shared/im"
)

type updater interface {
	// UpdateUser changes a user and returns them; NotFound if they are not
	// there any more.
	UpdateUser(ctx context.Context, user string, c im.UserChange) (im.Self, error)
	// Self returns a user as they see themselves, likewise.
	Self(ctx context.Context, user string) (im.Self, error)
}

type updateRequest struct {
	Name     *string         `json:"name"`
	Bio      *string         `json:"bio"`
	Avatar   *string         `json:"avatar"`
	Email    *string         `json:"email"` // "" takes it away
	Phone    *string         `json:"phone"` // "" takes it away
	Settings settingsRequest `json:"settings"`
}

type settingsRequest struct {
	FindByEmail    *bool   `json:"find_by_email"`
	FindByPhone    *bool   `json:"find_by_phone"`
	Presence       *string `json:"presence"`
	FriendRequests *string `json:"friend_requests"`
	GroupAdds      *string `json:"group_adds"`
}

// update changes what the caller says of themselves. What is not named stays
// as it is. An avatar is a picture that avatar-set made, or of one of hosts: any
// other site would be told who looks at it.
func update(users updater, hosts []string) func(context.Context, im.Caller, updateRequest) (im.Self, error) {
	return func(ctx context.Context, c im.Caller, in updateRequest) (im.Self, error) {
		s := in.Settings
		err := cmp.Or(
			check(in.Name, im.CheckName),
			check(in.Bio, im.CheckBio),
			check(in.Avatar, im.CheckAvatar),
			normalise(&in.Email, im.NormalEmail),
			normalise(&in.Phone, im.NormalPhone),
			oneOf("presence", s.Presence, im.Everyone, im.Friends, im.Nobody),
			oneOf("friend_requests", s.FriendRequests, im.Everyone, im.Nobody),
			oneOf("group_adds", s.GroupAdds, im.Everyone, im.Friends, im.Nobody),
		)
		if err != nil {
			return im.Self{}, err
		}
		if in.Avatar, err = avatar(ctx, users, hosts, c.User, in.Avatar); err != nil {
			return im.Self{}, fmt.Errorf("changing a user: %w", gone(err))
		}
		u, err := users.UpdateUser(ctx, c.User, im.UserChange{
			Name: in.Name, Bio: in.Bio, Avatar: in.Avatar, Email: in.Email, Phone: in.Phone,
			FindByEmail: s.FindByEmail, FindByPhone: s.FindByPhone, Presence: s.Presence, FriendRequests: s.FriendRequests, GroupAdds: s.GroupAdds,
		})
		if err != nil {
			return im.Self{}, fmt.Errorf("changing a user: %w", gone(err))
		}
		return u, nil
	}
}

// avatar returns the avatar that a user asks for, or nil if it is the one that
// they have.
func avatar(ctx context.Context, users updater, hosts []string, id string, asked *string) (*string, error) {
	if asked == nil || *asked == "" {
		return asked, nil
	}
	at, err := url.Parse(*asked)
	if err == nil && slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, at.Host) }) {
		return asked, nil
	}
	u, err := users.Self(ctx, id)
	if err != nil {
		return nil, err
	}
	if u.Avatar != *asked {
		return nil, im.Errorf(im.Invalid, "a picture on another site would tell it who looks at you: upload one, and make it your avatar by avatar-set")
	}
	return nil, nil
}

func check(s *string, is func(string) error) error {
	if s == nil {
		return nil
	}
	return is(*s)
}

func normalise(s **string, normal func(string) (string, error)) error {
	if *s == nil || **s == "" {
		return nil
	}
	n, err := normal(**s)
	*s = &n
	return err
}

func oneOf(name string, s *string, values ...string) error {
	if s == nil || slices.Contains(values, *s) {
		return nil
	}
	return im.Errorf(im.Invalid, "%q is one of %q, not %.40q", name, values, *s)
}
