// Package functions is the table of contents: every function, by area.
package functions

import (
	"github.com/tidings-im/tidings/functions/account"
	"github.com/tidings-im/tidings/functions/archive"
	"github.com/tidings-im/tidings/functions/away"
	"github.com/tidings-im/tidings/functions/bot"
	"github.com/tidings-im/tidings/functions/chat"
	"github.com/tidings-im/tidings/functions/conversation"
	"github.com/tidings-im/tidings/functions/file"
	"github.com/tidings-im/tidings/functions/friend"
	"github.com/tidings-im/tidings/functions/group"
	"github.com/tidings-im/tidings/functions/history"
	"github.com/tidings-im/tidings/functions/inbox"
	"github.com/tidings-im/tidings/functions/message"
	"github.com/tidings-im/tidings/functions/outbox"
	"github.com/tidings-im/tidings/functions/presence"
	"github.com/tidings-im/tidings/functions/push"
	"github.com/tidings-im/tidings/functions/search"
	"github.com/tidings-im/tidings/functions/user"
	"github.com/tidings-im/tidings/functions/webhook"
	"github.com/tidings-im/tidings/shared/fn"
)

// All is every function.
var All = []fn.Func{
	// the way of a message
	chat.Ingest,
	history.Persist,
	inbox.Persist,
	push.Fanout,
	push.Signal,
	push.Presence,

	// what gateways ask
	inbox.Heads,

	// what other functions ask
	archive.Read,

	// what clients ask
	inbox.Sync,
	history.Read,
	chat.Send,
	message.Recall,
	message.Edit,
	message.React,
	message.Delete,
	conversation.List,
	conversation.Update,
	conversation.Read,
	user.Register,
	user.Login,
	user.Refresh,
	user.Logout,
	user.Search,
	user.Get,
	user.Update,
	user.ChangePassword,
	user.Sessions,
	user.Revoke,
	user.ProveAgain,
	user.Delete,
	friend.Request,
	friend.Requests,
	friend.Respond,
	friend.List,
	friend.Update,
	friend.Delete,
	friend.Block,
	friend.Blocks,
	presence.Get,
	group.Create,
	group.List,
	group.Get,
	group.Update,
	group.Dissolve,
	group.Members,
	group.Invite,
	group.Remove,
	group.Leave,
	group.Role,
	group.Mute,
	group.Ban,
	group.Bans,
	group.Unban,
	group.JoinRequest,
	group.JoinRequests,
	group.JoinRespond,

	// who clients are, beyond a password
	account.VerifyEmail,
	account.ConfirmEmail,
	account.ForgotPassword,
	account.ResetPassword,
	account.StartOAuth,
	account.EndOAuth,
	account.Identities,
	account.DeleteIdentity,
	account.SetUpTOTP,
	account.ConfirmTOTP,
	account.DeleteTOTP,

	// files
	file.Create,
	file.Complete,
	file.Get,
	file.SetAvatar,
	file.Sweep,

	// bots and their webhooks
	bot.Create,
	bot.List,
	bot.Update,
	bot.Delete,
	bot.CreateToken,
	bot.Tokens,
	bot.DeleteToken,
	bot.Login,
	bot.Sweep,
	webhook.Create,
	webhook.List,
	webhook.Update,
	webhook.Delete,
	webhook.Deliver,
	webhook.Retry,

	// those whose devices are offline
	away.Key,
	away.Subscribe,
	away.Unsubscribe,
	away.Notify,
	away.Retry,

	// searching
	search.Search,
	search.Index,

	// what a clock calls
	account.SendMails,
	user.Sweep,
	outbox.Relay,
	archive.Move,
	inbox.Trim,
}
