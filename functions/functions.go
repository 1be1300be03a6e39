// Package functions is the list of them.
package functions

import (
	"github.com/tidings-im/tidings/functions/internal/chat"
	"github.com/tidings-im/tidings/functions/internal/group"
	"github.com/tidings-im/tidings/functions/internal/history"
	"github.com/tidings-im/tidings/functions/internal/inbox"
	"github.com/tidings-im/tidings/functions/internal/push"
	"github.com/tidings-im/tidings/functions/internal/user"
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

	// what gateways ask
	inbox.Heads,

	// what clients ask
	inbox.Sync,
	history.Read,
	user.Register,
	user.Login,
	user.Refresh,
	user.Logout,
	user.Search,
	group.Create,
}
