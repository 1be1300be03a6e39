// Package search is the functions that find messages: message-search, which
// finds them in the conversations of its caller, and search-index, which notes
// of older messages where it need not look. It does not know how a text
// is compared with a query: package words does.
package search

import (
	"time"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres/searches"
	"github.com/tidings-im/tidings/shared/redis"
)

// Search finds messages in the conversations of the caller.
var Search = fn.API("message-search", im.MessagesRead, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), search(searches.In(o), redis.LimitIn(o, redis.MessageSearches)))
}).Holds(14 << 20) // a read, the matches of a window, and a page as JSON

// Index keeps the index of searches up to date.
var Index = fn.Every("search-index", time.Minute, func(o *fn.Opener) fn.Handler { return fn.Timed(index(searches.In(o))) })
