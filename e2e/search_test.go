package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func TestP6SearchFindsNothingThatOneMayNotRead(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ann, bob, cyd, eve := d.signUp("ann"), d.signUp("bob"), d.signUp("cyd"), d.signUp("eve")
	group := ann.group("invite", bob, cyd)
	talk := string(im.Direct(ann.ID, bob.ID))
	say := func(v visitor, to, text string) string {
		t.Helper()
		var sent struct{ ID string }
		if err := json.Unmarshal([]byte(v.must("POST", "/v1/messages", request{"to": to, "text": text})), &sent); err != nil {
			t.Fatal(err)
		}
		v.gets(text, func(m im.Message) bool { return m.ID == sent.ID })
		return sent.ID
	}
	// found returns the ids of what somebody finds.
	found := func(v visitor, query string) (ids []string) {
		t.Helper()
		var page struct {
			Messages []struct {
				Message im.Message
				Snippet struct{ Text string }
			}
		}
		if err := json.Unmarshal([]byte(v.must("GET", "/v1/messages/search?"+query, nil)), &page); err != nil {
			t.Fatal(err)
		}
		for _, m := range page.Messages {
			ids = append(ids, m.Message.ID)
		}
		return ids
	}
	finds := func(why string, v visitor, query string, want ...string) {
		t.Helper()
		imtest.Eventually(t, why, func() error {
			got := found(v, query)
			slices.Sort(got)
			if slices.Sort(want); !slices.Equal(got, want) {
				return fmt.Errorf("found %q, want %q", got, want)
			}
			return nil
		})
	}
	q := func(s string) string { return "q=" + url.QueryEscape(s) }

	direct := say(ann, talk, "a pineapple for two")
	inGroup := say(ann, "g:"+group, "pineapples for all")
	chinese := say(bob, "g:"+group, "我们明天中午去吃菠萝")
	finds("one's own", ann, q("pineapple"), direct, inGroup)
	finds("what was said to one", bob, q("pineapple"), direct, inGroup)
	finds("what was said in the group", cyd, q("pineapple"), inGroup)
	finds("in Chinese", cyd, q("菠萝"), chinese)
	finds("by who said it", cyd, q("pineapple")+"&from="+ann.ID, inGroup)
	finds("by who did not", cyd, q("pineapple")+"&from="+bob.ID)
	finds("of others", eve, q("pineapple"))
	finds("of others, by who said it", eve, q("pineapple")+"&from="+ann.ID)
	for _, v := range []visitor{eve, cyd} {
		v.refused("in a conversation of others", "GET", "/v1/messages/search?"+q("pineapple")+"&conversation="+talk, nil, http.StatusForbidden)
	}
	eve.refused("in a group of others", "GET", "/v1/messages/search?"+q("pineapple")+"&conversation=g:"+group, nil, http.StatusForbidden)
	eve.refused("for another", "GET", "/v1/messages/search?"+q("pineapple")+"&user="+ann.ID, nil, http.StatusBadRequest)
	for _, s := range []string{"%", "_", "*", "pine%", "' OR 1=1 --", "pineapple | a", "!pineapple", ":*"} {
		if got := found(eve, q(s)); len(got) > 0 {
			t.Errorf("eve looks for %s and finds %q", s, got)
		}
	}

	// What was taken back, deleted or said otherwise is not found as it was.
	ann.must("POST", "/v1/conversations/"+talk+"/messages/"+direct+"/recall", nil)
	finds("what was recalled", bob, q("two"))
	finds("what one has recalled", ann, q("two"))
	bob.must("DELETE", "/v1/conversations/g:"+group+"/messages", request{"messages": []string{inGroup}})
	finds("what one has deleted", bob, q("pineapple"))
	finds("what another has deleted for themselves", cyd, q("pineapple"), inGroup)
	ann.must("PATCH", "/v1/conversations/g:"+group+"/messages/"+inGroup, request{"text": "bananas for all"})
	finds("what it said before it was edited", cyd, q("pineapple"))
	finds("what it says", cyd, q("bananas"), inGroup)

	ann.must("DELETE", "/v1/groups/"+group+"/members", request{"users": []string{cyd.ID}})
	finds("in a group that one was removed from", cyd, q("bananas"))
	finds("in a group that one is in", ann, q("bananas"), inGroup)
}
