package redis

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

func withSettings(t *testing.T, url string, settings ...string) *Client {
	t.Helper()
	c, err := Open(t.Context(), env(t, url, settings...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// waits returns how long an error says to wait, and fails unless it is of one
// who has had too much.
func waits(t *testing.T, err error) time.Duration {
	t.Helper()
	var e *im.Error
	if !errors.As(err, &e) || e.Kind != im.Overloaded || e.RetryAfter <= 0 {
		t.Fatalf("not told to wait: %v", err)
	}
	return e.RetryAfter
}

func TestP7SendersAreChargedByRecipients(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		a := withSettings(t, url, "RECIPIENTS_PER_MINUTE", "600", "RECIPIENTS_BURST", "1000")
		b := withSettings(t, url, "RECIPIENTS_PER_MINUTE", "600", "RECIPIENTS_BURST", "1000")
		ann, bob := im.NewID(), im.NewID()
		got := a.Charge(t.Context(), []im.Charge{{User: ann, Recipients: 400}, {User: bob, Recipients: 1000}, {User: ann, Recipients: 500}, {User: ann, Recipients: 200}, {User: ann, Recipients: 100}})
		for i, err := range got {
			if (err != nil) != (i == 3) {
				t.Errorf("charge %d: %v", i, err)
			}
		}
		// 200 of 10 a second, of which there are none left now.
		if w := waits(t, got[3]); w < 9*time.Second || w > 10*time.Second {
			t.Errorf("a hundred too many wait %s", w)
		}
		if w := waits(t, b.Charge(t.Context(), []im.Charge{{User: ann, Recipients: 100}})[0]); w > 10*time.Second {
			t.Errorf("in another process they wait %s", w)
		}
		// More than a full budget is let through when it is full, or it never would be.
		if err := b.Charge(t.Context(), []im.Charge{{User: im.NewID(), Recipients: 5000}})[0]; err != nil {
			t.Error(err)
		}
	})
}

func TestP7AGroupIsChargedForWhatIsPlacedAndOnlyOnce(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		c := withSettings(t, url, "GROUP_RECIPIENTS_PER_MINUTE", "600", "GROUP_RECIPIENTS_BURST", "1000")
		group := im.Group(im.NewID())
		ask := func(id string, n int) im.PlaceRequest {
			r := request(group, "ann", id)
			r.Recipients = n
			return r
		}
		got := c.Place(t.Context(), []im.PlaceRequest{ask("1", 600), ask("2", 600), ask("1", 600), ask("3", 400)})
		if got[0].Err != nil || got[2].Err != nil || !got[2].Again || got[3].Err != nil {
			t.Errorf("got %+v", got)
		}
		if w := waits(t, got[1].Err); w < 19*time.Second || w > 20*time.Second {
			t.Errorf("200 too many wait %s", w)
		}
		if again := place1(t, c, ask("1", 600)); again.Place != got[0].Place {
			t.Errorf("a repeat has %+v, the first had %+v", again, got[0])
		}
		waits(t, c.Place(t.Context(), []im.PlaceRequest{ask("2", 600)})[0].Err)
		if other := place1(t, c, request(group, "ann", "4")); other.Time <= got[3].Time {
			t.Errorf("what costs nothing has %+v", other)
		}
		other := ask("1", 600)
		other.Conversation = im.Group(im.NewID())
		place1(t, c, other)
	})
}

func TestASlowGroupHasEachMemberWait(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		c := withSettings(t, url)
		now := im.Now()
		c.now = func() im.Time { return now }
		group := im.Group(im.NewID())
		say := func(from, id string, slow time.Duration) im.PlaceResult {
			r := request(group, from, id)
			r.Slow = slow
			return c.Place(t.Context(), []im.PlaceRequest{r})[0]
		}
		first := say("ann", "1", 30*time.Second)
		if first.Err != nil {
			t.Fatal(first.Err)
		}
		now += 10e6
		no := say("ann", "2", 30*time.Second)
		if w := waits(t, no.Err); w < 19*time.Second || w > 20*time.Second {
			t.Errorf("after 10 of 30 seconds she waits %s", w)
		}
		if want := fmt.Sprintf("this group is in slow mode: you may write again in %d seconds", 20); no.Err.Error() != want {
			t.Errorf("she is told %q", no.Err)
		}
		if again := say("ann", "1", 30*time.Second); again.Err != nil || again.Place != first.Place {
			t.Errorf("what was accepted is, when it comes again, %+v", again)
		}
		if other := say("bob", "1", 30*time.Second); other.Err != nil {
			t.Error(other.Err)
		}
		if admin := say("ann", "3", 0); admin.Err != nil {
			t.Error(admin.Err)
		}
		now += 20e6
		if got := say("ann", "2", 30*time.Second); got.Err != nil {
			t.Error(got.Err)
		}
		waits(t, say("ann", "4", time.Hour).Err)
	})
}
