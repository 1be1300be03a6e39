package group

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

// A page is held as it is read, as JSON, and as JSON that grew.
const pageHeld = 3

func TestP7TheLargestPagesFitInWhatTheirCallsHold(t *testing.T) {
	wide := func(n int) string { return strings.Repeat("😀", n) }
	user := im.Profile{ID: im.NewID(), Account: strings.Repeat("a", 32), Name: wide(64), Avatar: strings.Repeat("a", 2048), Bio: wide(im.MaxBio)}
	now := im.Now()
	info := im.GroupInfo{ID: im.NewID(), Conversation: "g:xxxxxxxxxxxxxxxx", Name: wide(64), About: wide(im.MaxAbout), Owner: im.NewID(), Created: now}
	for _, tt := range []struct {
		name string
		page any
		most int64
	}{
		{"bans", bansPage{slices.Repeat([]im.GroupBan{{User: user, By: im.NewID(), Reason: wide(im.MaxBanReason), Until: now, Created: now}}, mostBans), "x"}, Bans.Memory},
		{"requests", requestsPage{slices.Repeat([]im.JoinRequest{{User: user, Message: wide(im.MaxJoinMessage), RequestedAt: now}}, maxJoinRequests), "x"}, JoinRequests.Memory},
		{"groups", groupPage{slices.Repeat([]im.GroupInfo{info}, maxGroups), "x"}, List.Memory},
	} {
		b, err := im.JSON(tt.page)
		if err != nil {
			t.Fatal(err)
		}
		if n := int64(pageHeld * len(b)); n > tt.most {
			t.Errorf("a page of %s holds %d bytes, more than the %d of a call", tt.name, n, tt.most)
		}
	}
}
