package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func testPool(most int, run func(context.Context, string) error) *pool {
	return newPool(context.Background(), most, run, slog.New(slog.DiscardHandler))
}

func TestADomainThatHangsTakesSoManyPlacesAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := make(chan string, 100)
		release := make(chan struct{})
		p := testPool(10, func(_ context.Context, w string) error {
			ran <- w
			if w[0] == 'h' {
				<-release
			}
			return nil
		})
		for i := range 20 {
			p.kick(fmt.Sprint("h", i), fmt.Sprintf("https://h%d.hangs.example/%d", i, i))
		}
		synctest.Wait()
		if len(ran) != perHost {
			t.Errorf("%d of one host run", len(ran))
		}
		p.kick("other", "https://other.example/")
		synctest.Wait()
		if len(ran) != perHost+1 {
			t.Errorf("another waits: %d run", len(ran))
		}
		close(release)
		p.wait(context.Background())
		if len(ran) != 21 || len(p.known) != 0 || len(p.waiting) != 0 || len(p.running) != 0 {
			t.Errorf("%d have run; left are %v %v %v", len(ran), p.known, p.waiting, p.running)
		}
	})
}

func TestHostsAreToldApartByWhoHasThem(t *testing.T) {
	for to, want := range map[string]string{
		"https://a.b.hooks.example/x":        "hooks.example",
		"https://HOOKS.example:8443/":        "hooks.example",
		"https://x.hooks.co.uk/":             "hooks.co.uk",
		"https://ann.github.io/":             "ann.github.io", // not everybody's there
		"http://192.0.2.7/":                  "192.0.2.7",
		"http://[2001:db8::1]:80/":           "2001:db8::1",
		"http://localhost:1234/":             "localhost",
		"http://" + string(rune(0x7f)) + "/": "http://" + string(rune(0x7f)) + "/",
	} {
		if got := hostOf(to); got != want {
			t.Errorf("%s is of %q, want %q", to, got, want)
		}
	}
}

func TestWhatComesWhileAWebhookRunsIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		p := testPool(1, func(context.Context, string) error {
			runs++
			time.Sleep(time.Second)
			return context.DeadlineExceeded
		})
		p.kick("w", "https://x.example/")
		synctest.Wait()
		for range 5 {
			p.kick("w", "https://x.example/")
		}
		p.wait(context.Background())
		if runs != 2 {
			t.Errorf("it ran %d times", runs)
		}
	})
}

func TestAPoolThatIsFullOrClosedTakesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cut := 0
		p := testPool(1, func(ctx context.Context, _ string) error {
			<-ctx.Done()
			cut++
			return ctx.Err()
		})
		for i := range mostKnown + 10 {
			p.kick(fmt.Sprint(i), "https://x.example/")
		}
		if len(p.known) != mostKnown {
			t.Errorf("%d are known", len(p.known))
		}
		start := time.Now()
		p.close()
		if took := time.Since(start); took != closeTime || cut != 1 {
			t.Errorf("closing took %s and cut off %d", took, cut)
		}
		p.kick("late", "https://x.example/")
		if p.known["late"] != nil || p.total != 0 {
			t.Error("it runs on")
		}
	})
}
