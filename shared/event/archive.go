package event

import "github.com/tidings-im/tidings/shared/im"

// ArchiveAsk asks for archived messages of a conversation, as they are now:
// those of IDs, if there are any; otherwise at most Limit right after a place,
// oldest first, or backwards right before it, newest first, without those that
// User has deleted for themselves. Whether User may read them was asked before.
type ArchiveAsk struct {
	Conversation im.Conversation `json:"conversation"`
	User         string          `json:"user,omitempty"`
	From         im.Place        `json:"from"`
	Backwards    bool            `json:"backwards,omitempty"`
	Limit        int             `json:"limit,omitempty"`
	IDs          []string        `json:"ids,omitempty"`
}

// MaxArchiveIDs is the most IDs in one ArchiveAsk.
const MaxArchiveIDs = 100

// ArchiveAnswer answers an ArchiveAsk. Ended says that there are no others
// beyond these; if it has not ended there is at least one.
type ArchiveAnswer struct {
	Messages []im.Message `json:"messages"`
	Ended    bool         `json:"ended"`
}
