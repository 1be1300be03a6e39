package conversation

import (
	"fmt"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// BenchmarkList reads the first page of a list whose inbox has 20 entries of
// each conversation, one half of them unread.
func BenchmarkList(b *testing.B) {
	vars := services(b)
	vars["INBOX_STORE"] = "postgres"
	s := open(b, imtest.Env(b, vars))
	for _, conversations := range []int{50, 500, 5000} {
		user := im.NewID()
		seq := int64(0)
		for range 20 {
			var batch []im.Entry
			for i := range conversations {
				seq++
				c := im.Direct(user, fmt.Sprintf("u%015d", i))
				id := im.NewMessageID(im.Time(seq * 1_000_000))
				batch = append(batch, im.Entry{User: user, Seq: seq, ID: id, Message: []byte(`{"id":"` + id + `"}`), Conversation: c, Class: im.Class(1 + seq/int64(conversations)%2)})
			}
			if _, err := s.inbox.Insert(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprint("conversations=", conversations), func(b *testing.B) {
			for b.Loop() {
				page, err := s.list(b.Context(), im.Caller{User: user}, listRequest{})
				if err != nil || len(page.Conversations) != 50 || page.Conversations[0].Unread != 10 {
					b.Fatal(len(page.Conversations), err)
				}
			}
		})
	}
}
