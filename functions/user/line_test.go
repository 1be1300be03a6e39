package user

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tidings-im/tidings/shared/im"
)

// A crowd waits in a line of which the only place is taken.
type crowd struct {
	*line
	t    *testing.T
	mu   sync.Mutex
	went []string // in this order
	busy []string // who was sent away
}

func newCrowd(t *testing.T, waiting int) *crowd {
	c := &crowd{line: newLine(1, waiting), t: t}
	if err := c.enter(t.Context(), "the first"); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *crowd) come(ctx context.Context, networks ...string) {
	for _, n := range networks {
		go func() {
			err := c.enter(ctx, n)
			c.mu.Lock()
			switch {
			case err == nil:
				c.went = append(c.went, n)
			case errors.Is(err, im.Overloaded):
				c.busy = append(c.busy, n)
			default:
				c.t.Errorf("%s: %v", n, err)
			}
			c.mu.Unlock()
			if err == nil {
				c.leave()
			}
		}()
		synctest.Wait()
	}
}

// go on lets all go on that wait.
func (c *crowd) goOn() {
	c.leave()
	synctest.Wait()
}

func TestP7NetworksTakeTurnsToHaveTheirPasswordsHashed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 10)
		c.come(t.Context(), "a", "a", "a", "b", "c", "b")
		c.goOn()
		if want := []string{"a", "b", "c", "a", "b", "a"}; !slices.Equal(c.went, want) || c.free != 1 {
			t.Errorf("they went %q, want %q; %d are free", c.went, want, c.free)
		}
	})
}

func TestP7AFloodFromOneNetworkKeepsNobodyElseFromSigningIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 8)
		for range 100 {
			c.come(t.Context(), "flood")
		}
		if n := len(c.of["flood"]); n != 4 {
			t.Errorf("%d of 8 places are the flood's", n)
		}
		c.come(t.Context(), "other flood", "other flood", "other flood", "other flood") // it is full
		c.come(t.Context(), "owner")
		if c.waiting != 8 || len(c.of["owner"]) != 1 {
			t.Errorf("%d wait, of the owner %d", c.waiting, len(c.of["owner"]))
		}
		c.goOn()
		if i := slices.Index(c.went, "owner"); i < 0 || i > 2 {
			t.Errorf("they went %q", c.went)
		}
		if len(c.went) != 8 || len(c.busy) != 97 || slices.Contains(c.busy, "owner") {
			t.Errorf("%d went, sent away were %q", len(c.went), c.busy)
		}
	})
}

func TestP7StrangersOfManyNetworksHoldUpNobodyWhoIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 8)
		for i := range 100 {
			c.come(t.Context(), fmt.Sprint("network ", i))
		}
		c.come(t.Context(), knownPrefix+"owner", knownPrefix+"other", knownPrefix+"other", knownPrefix+"third", knownPrefix+"fourth") // it is full
		c.goOn()
		if i, j := slices.Index(c.went, knownPrefix+"owner"), slices.Index(c.went, knownPrefix+"other"); i > 1 || j > 3 || i < 0 || j < 0 {
			t.Errorf("they went %q", c.went)
		}
		strange := slices.DeleteFunc(slices.Clone(c.went), func(n string) bool { return classOf(n) == devices })
		if len(c.went) != 8 || len(strange) != 4 {
			t.Errorf("they went %q: strangers keep half of the line, and no more", c.went)
		}
	})
}

// Whoever is signed in proves again who they are, and has as many accounts for it
// as they like.
func TestP7CallersOfManyAccountsKeepNobodyFromSigningIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 9)
		for i := range 100 {
			c.come(t.Context(), fmt.Sprint(callerPrefix, i))
		}
		c.come(t.Context(), "stranger", knownPrefix+"owner", "other stranger", knownPrefix+"other") // it is full
		c.goOn()
		for _, who := range []string{"stranger", "other stranger", knownPrefix + "owner", knownPrefix + "other"} {
			if i := slices.Index(c.went, who); i < 0 || i > 5 {
				t.Errorf("%s: they went %q", who, c.went)
			}
		}
		if len(c.went) != 9 {
			t.Errorf("they went %q", c.went)
		}
	})
}

func TestP7WhoGivesUpHoldsNoPlaceInTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 8)
		ctx, cancel := context.WithCancel(t.Context())
		c.come(ctx, "a", "b")
		c.come(t.Context(), "b", "c")
		cancel()
		synctest.Wait()
		if c.waiting != 2 {
			t.Errorf("%d wait", c.waiting)
		}
		c.goOn()
		if !slices.Equal(c.went, []string{"b", "c"}) || c.waiting != 0 || len(c.of)+len(c.turns[strangers]) > 0 || c.free != 1 {
			t.Errorf("they went %q; left is %+v", c.went, c.line)
		}
	})
}

// Whoever has the turn when they give up hands it on.
func TestP7NoTurnIsLost(t *testing.T) {
	l := newLine(2, 64)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				go cancel()
				if l.enter(ctx, [classes]string{"", knownPrefix, callerPrefix}[i%classes]+fmt.Sprint(i%7)) == nil {
					l.leave()
				}
			}
		})
	}
	all.Wait()
	if l.free != 2 || l.waiting != 0 || len(l.of)+len(l.turns[strangers])+len(l.turns[devices])+len(l.turns[callers]) > 0 {
		t.Errorf("%+v", l)
	}
}
