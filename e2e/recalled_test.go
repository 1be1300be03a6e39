package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

// Recalling takes back every text that a message has had, from everybody who
// has it: a device that syncs afterwards finds none of them.
func TestARecalledTextIsInNoInbox(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, bob, cyd := d.signUp("ann"), d.signUp("bob"), d.signUp("cyd")
	recall := func(path string) { ann.must("POST", path+"/recall", nil) }
	holds := func(v visitor, text string) (kinds []string) {
		for _, m := range v.inbox() {
			if raw, _ := json.Marshal(m); strings.Contains(string(raw), text) {
				kinds = append(kinds, m.Kind+" "+string(m.Data))
			}
		}
		return kinds
	}

	t.Run("that it had by an edit", func(t *testing.T) {
		m := ann.tell(bob, "first words")
		path := "/v1/conversations/" + string(m.Conversation) + "/messages/" + m.ID
		ann.must("PATCH", path, request{"text": "second words"})
		recall(path)
		bob.gets("the recall", notice(im.MessageRecalled))
		for _, v := range []visitor{ann, bob} {
			for _, text := range []string{"first words", "second words"} {
				if got := holds(v, text); len(got) > 0 {
					t.Errorf("%s still syncs %q: %s", v.Account, text, got)
				}
			}
		}
	})

	t.Run("of who has left the group since", func(t *testing.T) {
		group := ann.group("invite", bob, cyd)
		ann.must("POST", "/v1/messages", request{"to": "g:" + group, "text": "among us"})
		m := cyd.gets("the message", func(m im.Message) bool { return m.Text == "among us" })
		cyd.must("DELETE", "/v1/groups/"+group+"/members/me", nil)
		recall("/v1/conversations/g:" + group + "/messages/" + m.ID)
		bob.gets("the recall", func(n im.Message) bool {
			return notice(im.MessageRecalled)(n) && n.Conversation == m.Conversation
		})
		for _, v := range []visitor{ann, bob, cyd} {
			if got := holds(v, "among us"); len(got) > 0 {
				t.Errorf("%s still syncs it: %s", v.Account, got)
			}
		}
	})
}
