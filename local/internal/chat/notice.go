package chat

import (
	"strings"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/shared/im"
)

// notice returns in words what a notice tells, or "" if it is for devices
// rather than for people.
func (s *session) notice(m im.Message) string {
	n, ok := client.NoticeOf(m)
	var data struct {
		Name, User, Role, Message, Text, Emoji string

		Users []string
		Until im.Time
		All   *bool
		On    bool
	}
	if !ok || n.Read(&data) != nil {
		return ""
	}
	by, user := s.people.account(m.From), s.people.account(data.User)
	var users []string
	for _, u := range data.Users {
		users = append(users, s.people.account(u))
	}
	those := strings.Join(users, ", ")
	switch n.Type {
	case im.FriendRequested:
		return by + " asks to be friends: " + data.Message
	case im.FriendAccepted:
		return by + " accepted: you are friends"
	case im.GroupCreated:
		return by + " made the group " + data.Name
	case im.GroupJoined:
		return those + " joined"
	case im.GroupLeft:
		return user + " left"
	case im.GroupRemoved:
		return by + " removed " + those
	case im.GroupUpdated:
		return by + " changed the group"
	case im.GroupRole:
		return user + " is " + data.Role + " now"
	case im.GroupMuted:
		switch {
		case data.All != nil && *data.All:
			return by + " muted everybody"
		case data.All != nil:
			return by + " lets everybody speak again"
		case data.Until == 0:
			return by + " lets " + user + " speak again"
		}
		return by + " muted " + user + " until " + data.Until.Std().Local().Format("15:04")
	case im.GroupDissolved:
		return by + " dissolved the group"
	case im.GroupJoinRequested:
		return user + " asks to join: " + data.Message
	case im.MessageRecalled:
		return by + " took a message back"
	case im.MessageEdited:
		return by + " changed a message to: " + data.Text
	case im.MessageReacted:
		if data.On {
			return by + " reacted with " + data.Emoji
		}
	}
	return ""
}
