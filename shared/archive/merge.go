package archive

import (
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

// Merge returns the first limit messages of two sequences that begin at the
// same place of a conversation and run the same way: backwards, newest first.
// What is in both is taken from the first. Beyond the end of a sequence that has
// not ended nothing is known, so that nothing of the other is taken from there.
func Merge(a, b event.ArchiveAnswer, backwards bool, limit int) event.ArchiveAnswer {
	before := func(m, n im.Message) bool {
		if backwards {
			m, n = n, m
		}
		return m.Place().Less(n.Place())
	}
	merged := event.ArchiveAnswer{Ended: a.Ended && b.Ended}
	one, other := a.Messages, b.Messages
	for len(one) > 0 || len(other) > 0 {
		if len(merged.Messages) == limit || len(one) == 0 && !a.Ended || len(other) == 0 && !b.Ended {
			merged.Ended = false
			return merged
		}
		var next im.Message
		switch {
		case len(other) == 0 || len(one) > 0 && before(one[0], other[0]):
			next, one = one[0], one[1:]
		case len(one) == 0 || before(other[0], one[0]):
			next, other = other[0], other[1:]
		default:
			next, one, other = one[0], one[1:], other[1:]
		}
		merged.Messages = append(merged.Messages, next)
	}
	return merged
}
