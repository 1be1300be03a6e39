// Package functions is the list of them.
package functions

import (
	"github.com/tidings-im/tidings/functions/internal/account"
	"github.com/tidings-im/tidings/functions/internal/archive"
	"github.com/tidings-im/tidings/functions/internal/away"
	"github.com/tidings-im/tidings/functions/internal/bot"
	"github.com/tidings-im/tidings/functions/internal/chat"
	"github.com/tidings-im/tidings/functions/internal/conversation"
	"github.com/tidings-im/tidings/functions/internal/file"
	"github.com/tidings-im/tidings/functions/internal/friend"
	"github.com/tidings-im/tidings/functions/internal/group"
	"github.com/tidings-im/tidings/functions/internal/history"
	"github.com/tidings-im/tidings/functions/internal/inbox"
	"github.com/tidings-im/tidings/functions/internal/message"
	"github.com/tidings-im/tidings/functions/internal/outbox"
	"github.com/tidings-im/tidings/functions/internal/presence"
	"github.com/tidings-im/tidings/functions/internal/push"
	"github.com/tidings-im/tidings/functions/internal/search"
	"github.com/tidings-im/tidings/functions/internal/user"
	"github.com/tidings-im/tidings/functions/internal/webhook"
	"github.com/tidings-im/tidings/shared/fn"
)

// All is every function, as a folder beside this file has it.
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
