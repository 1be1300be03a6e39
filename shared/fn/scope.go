package fn

import "github.com/tidings-im/tidings/shared/im"

// people is the scope of what no token of a bot is good for: what concerns an
// account, and what is asked without any token.
const people im.Scope = ""

// scopes says which scope a bot's token needs for each function that may be
// reached from outside. A function that is not here is people's; a test holds
// the table to the functions that there are.
var scopes = map[string]im.Scope{
	"message-sync":    im.MessagesRead,
	"message-history": im.MessagesRead,
	"message-search":  im.MessagesRead,
	"message-send":    im.MessagesWrite,
	"message-edit":    im.MessagesWrite,
	"message-recall":  im.MessagesWrite,
	"message-react":   im.MessagesWrite,
	"message-delete":  im.MessagesWrite,

	"conversation-list":   im.ConversationsRead,
	"conversation-update": im.ConversationsWrite,
	"message-read":        im.ConversationsWrite,

	"group-list":          im.GroupsRead,
	"group-get":           im.GroupsRead,
	"group-members":       im.GroupsRead,
	"group-join-requests": im.GroupsRead,
	"group-bans":          im.GroupsRead,
	"group-create":        im.GroupsWrite,
	"group-update":        im.GroupsWrite,
	"group-dissolve":      im.GroupsWrite,
	"group-invite":        im.GroupsWrite,
	"group-remove":        im.GroupsWrite,
	"group-leave":         im.GroupsWrite,
	"group-role":          im.GroupsWrite,
	"group-mute":          im.GroupsWrite,
	"group-ban":           im.GroupsWrite,
	"group-unban":         im.GroupsWrite,
	"group-join-request":  im.GroupsWrite,
	"group-join-respond":  im.GroupsWrite,

	"friend-list":     im.FriendsRead,
	"friend-requests": im.FriendsRead,
	"block-list":      im.FriendsRead,
	"friend-request":  im.FriendsWrite,
	"friend-respond":  im.FriendsWrite,
	"friend-update":   im.FriendsWrite,
	"friend-delete":   im.FriendsWrite,
	"block-set":       im.FriendsWrite,

	"user-get":     im.UsersRead,
	"user-search":  im.UsersRead,
	"presence-get": im.UsersRead,

	"file-get":      im.FilesRead,
	"file-create":   im.FilesWrite,
	"file-complete": im.FilesWrite,

	"user-register":   people,
	"user-login":      people,
	"user-logout":     people,
	"user-update":     people,
	"user-delete":     people,
	"avatar-set":      people,
	"token-refresh":   people,
	"session-list":    people,
	"session-revoke":  people,
	"session-prove":   people,
	"password-change": people,
	"password-forgot": people,
	"password-reset":  people,
	"email-verify":    people,
	"email-confirm":   people,
	"oauth-start":     people,
	"oauth-callback":  people,
	"identity-list":   people,
	"identity-delete": people,
	"totp-setup":      people,
	"totp-confirm":    people,
	"totp-delete":     people,

	"push-key":         people,
	"push-subscribe":   people,
	"push-unsubscribe": people,

	"bot-create":       people,
	"bot-list":         people,
	"bot-update":       people,
	"bot-delete":       people,
	"bot-token-create": people,
	"bot-token-list":   people,
	"bot-token-delete": people,
	"bot-login":        people,
	"webhook-create":   people,
	"webhook-list":     people,
	"webhook-update":   people,
	"webhook-delete":   people,
}

// ScopeOf returns the scope that a bot's token needs for a function, which is
// "" if none is enough, and whether somebody has said so.
func ScopeOf(function string) (im.Scope, bool) {
	s, ok := scopes[function]
	return s, ok
}
