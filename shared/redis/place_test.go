package redis

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func request(c im.Conversation, from, id string) im.PlaceRequest {
	return im.PlaceRequest{Conversation: c, From: from, ClientID: id, Digest: im.Draft{ClientID: id, Text: id}.Digest(c)}
}

func place1(t testing.TB, c *Client, r im.PlaceRequest) im.PlaceResult {
	t.Helper()
	got := c.Place(t.Context(), []im.PlaceRequest{r})[0]
	if got.Err != nil {
		t.Fatal(got.Err)
	}
	return got
}

func TestP5ARetryReturnsTheFirstIDAndTime(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		a, b := open(t, url), open(t, url)
		first := place1(t, a, request("g:x", "ann", "1"))
		if !im.IsMessageID(first.ID) || first.Again {
			t.Errorf("first = %+v", first)
		}
		if prefix := im.NewMessageID(first.Time)[:18]; !strings.HasPrefix(first.ID, prefix) {
			t.Errorf("id %s is not made of time %s: %s…", first.ID, first.Time, prefix)
		}
		for _, c := range []*Client{a, b} {
			again := place1(t, c, request("g:x", "ann", "1"))
			if again.Place != first.Place || !again.Again {
				t.Errorf("again = %+v, first %+v", again, first)
			}
		}
		if other := place1(t, b, request("g:x", "bob", "1")); other.Place == first.Place || other.Again {
			t.Errorf("another's message of the same client id = %+v", other)
		}
		if other := place1(t, b, request("g:y", "ann", "1")); other.ID == first.ID || other.Again {
			t.Errorf("the same client id in another conversation = %+v", other)
		}
	})
}

func TestP5ManyProcessesAgreeOnOnePlace(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		const processes, messages = 4, 50
		got := make([][]im.PlaceResult, processes)
		var wg sync.WaitGroup
		for p := range processes {
			c := open(t, url)
			wg.Go(func() {
				var reqs []im.PlaceRequest
				for i := range messages {
					reqs = append(reqs, request("g:x", "ann", fmt.Sprint(i)))
				}
				for len(reqs) > 0 {
					n := min(1+p, len(reqs))
					got[p] = append(got[p], c.Place(t.Context(), reqs[:n])...)
					reqs = reqs[n:]
				}
			})
		}
		wg.Wait()
		firsts := 0
		for p := range processes {
			for i, r := range got[p] {
				if r.Err != nil || r.Place != got[0][i].Place {
					t.Fatalf("process %d has message %d at %+v, process 0 at %+v", p, i, r, got[0][i])
				}
				if !r.Again {
					firsts++
				}
			}
		}
		if firsts != messages {
			t.Errorf("%d messages were placed %d times for the first time", messages, firsts)
		}
	})
}

func TestP5AnIDUsedForAnotherMessageIsAConflict(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		c := open(t, url)
		r := request("g:x", "ann", "1")
		other := r
		other.Digest = im.Draft{Text: "something else"}.Digest("g:x")
		got := c.Place(t.Context(), []im.PlaceRequest{r, other, r})
		if got[0].Err != nil || got[0].Again {
			t.Errorf("first: %+v", got[0])
		}
		if im.KindOf(got[1].Err) != im.Conflict {
			t.Errorf("other in the same batch: %+v", got[1])
		}
		if got[2].Place != got[0].Place || !got[2].Again {
			t.Errorf("repeat in the same batch: %+v", got[2])
		}
		if got := c.Place(t.Context(), []im.PlaceRequest{other}); im.KindOf(got[0].Err) != im.Conflict {
			t.Errorf("other later: %+v", got[0])
		}
		if got := place1(t, c, r); got.Place != c.Place(t.Context(), []im.PlaceRequest{r})[0].Place {
			t.Errorf("the conflict changed the place: %+v", got)
		}
	})
}

func TestP4TimesGrowInTheOrderAskedFor(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		c := open(t, url)
		var mu sync.Mutex
		seen := map[im.Conversation][]im.Time{}
		var wg sync.WaitGroup
		for p := range 4 {
			wg.Go(func() {
				for batch := range 10 {
					var reqs []im.PlaceRequest
					for i := range 20 {
						reqs = append(reqs, request(im.Conversation(fmt.Sprint("g:", i%3)), "ann", fmt.Sprint(p, "/", batch, "/", i)))
					}
					got := c.Place(t.Context(), reqs)
					mu.Lock()
					last := map[im.Conversation]im.Time{}
					for i, r := range got {
						conv := reqs[i].Conversation
						if r.Err != nil || r.Time <= last[conv] {
							t.Errorf("message %d of %s: %+v after %s", i, conv, r, last[conv])
						}
						last[conv] = r.Time
						seen[conv] = append(seen[conv], r.Time)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for conv, times := range seen {
			slices.Sort(times)
			if n := len(slices.Compact(times)); n != len(times) {
				t.Errorf("%d times of %s are different, of %d", n, conv, len(times))
			}
		}
	})
}

func TestP4AClockThatIsBehindDoesNotSendAConversationBackwards(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		right, behind := open(t, url), open(t, url)
		now := im.Now()
		right.now = func() im.Time { return now }
		behind.now = func() im.Time { return now - im.Time(time.Hour.Microseconds()) }
		question := place1(t, right, request("g:x", "ann", "question"))
		answer := place1(t, behind, request("g:x", "bob", "answer"))
		if question.Time != now || answer.Time != now+1 {
			t.Errorf("question at %d, answer at %d, now %d", question.Time, answer.Time, now)
		}
	})
}

func TestP4ALostMemoryDoesNotSendAConversationBackwards(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		c := open(t, url)
		before := place1(t, c, request("g:x", "ann", "1"))
		wipe(t, c)
		after := place1(t, c, request("g:x", "ann", "2"))
		if after.Time <= before.Time {
			t.Errorf("%s after %s", after.Time, before.Time)
		}
	})
}

func TestAPlaceIsKeptForTheWindowAndNotForEver(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		c := open(t, url, "PLACE_WINDOW", "1h")
		now := im.Now()
		c.now = func() im.Time { return now }
		pass := func(d time.Duration) { now += im.Time(d.Microseconds()) }

		early := place1(t, c, request("g:x", "ann", "early"))
		pass(40 * time.Minute)
		late := place1(t, c, request("g:x", "ann", "late"))
		pass(40 * time.Minute) // 80 min after early, 40 after late: the period is over
		place1(t, c, request("g:x", "ann", "in the next period"))
		if again := place1(t, c, request("g:x", "ann", "late")); again.Place != late.Place {
			t.Errorf("40 minutes later: %+v, first %+v", again, late)
		}
		if n := c.rdb.HLen(t.Context(), "placed:{g:x}").Val(); n != 2 {
			t.Errorf("the period has %d fields, want one place and its begin", n)
		}
		pass(70 * time.Minute) // the period after the next
		if again := place1(t, c, request("g:x", "ann", "early")); again.Place == early.Place || again.Time <= late.Time {
			t.Errorf("150 minutes later: %+v, first %+v", again, early)
		}
		for _, key := range []string{"last:{g:x}", "placed:{g:x}", "placed-before:{g:x}"} {
			ttl := c.rdb.PTTL(t.Context(), key).Val()
			if period := time.Hour + windowSlack; ttl < period-time.Minute || ttl > 2*period {
				t.Errorf("%s lives for %s", key, ttl)
			}
		}
	})
}

func TestAConversationThatCannotBePlacedFailsAloneAndWhole(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		c := open(t, url)
		c.rdb.HSet(t.Context(), "last:{g:x}", "not", "a number")
		got := c.Place(t.Context(), []im.PlaceRequest{
			request("g:x", "ann", "1"), request("g:y", "ann", "2"), request("g:x", "ann", "3"),
		})
		if im.KindOf(got[0].Err) != im.Unavailable || im.KindOf(got[2].Err) != im.Unavailable {
			t.Errorf("in the conversation: %+v, %+v", got[0], got[2])
		}
		if got[1].Err != nil {
			t.Errorf("in another: %+v", got[1])
		}
		if n := c.rdb.Exists(t.Context(), "placed:{g:x}").Val(); n != 0 {
			t.Error("something was placed all the same")
		}
	})
}

func BenchmarkPlace(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := open(b, imtest.Redis(b))
			i := 0
			for b.Loop() {
				reqs := make([]im.PlaceRequest, n)
				for j := range reqs {
					reqs[j] = request(im.Conversation(fmt.Sprint("g:", j%50)), "abcdefghijklmnop", fmt.Sprint(i))
					i++
				}
				for _, r := range c.Place(b.Context(), reqs) {
					if r.Err != nil {
						b.Fatal(r.Err)
					}
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
