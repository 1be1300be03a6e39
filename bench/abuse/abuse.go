// Package abuse is what hostile users try, and what others notice of it who
// have nothing to do with them. It does not know where the server runs, nor
// what it is made of.
package abuse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidings-im/tidings/shared/retry"
)

// An Attack is something that a hostile user does for as long as they are let.
type Attack struct {
	Name string // after "an uninvolved user while "
	plan func(context.Context, *Site, *Bystanders) (assault, error)
}

// An assault is an attack that is prepared.
type assault struct {
	run  func(context.Context)       // until the context ends
	held func(context.Context) error // says afterwards in what the attackers got what they wanted; nil: in nothing
	*tally
}

// All are the attacks.
var All = []Attack{
	{"answers are read slowly", slowAnswers},
	{"bodies are sent slowly", slowBodies},
	{"pages full of < are read", pages},
	{"pages are read by many devices", devices},
	{"searches find nothing", searches},
	{"a group of 1,000 is flooded", flood},
	{"signals are sent to a slow reader", signals},
	{"an open group is joined and left", comeAndGo},
	{"a whole site tries passwords", oneSite},
	{"forty accounts are registered", registrations},
	{"others guess their password", guesses},
	{"pings and pongs are sent", pings},
}

// A Result is what one attack has come to.
type Result struct {
	Before, During Waits  // of the bystanders
	Attackers      string // what became of what they tried, counted
	Held           error  // nil if the attackers got nothing by it
}

// Measure has new bystanders go about their business, and then once more while
// the attack is under way. An error means that it could not be measured.
func (a Attack) Measure(ctx context.Context, s *Site, before, during time.Duration) (r Result, err error) {
	b, err := s.bystanders(ctx)
	if err != nil {
		return r, fmt.Errorf("preparing the bystanders: %w", err)
	}
	defer b.close()
	as, err := a.plan(ctx, s, b)
	if err != nil {
		return r, fmt.Errorf("preparing the attack: %w", err)
	}
	r.Before = b.watch(ctx, before)
	attacking, stop := context.WithCancel(ctx)
	var attackers sync.WaitGroup
	attackers.Go(func() { as.run(attacking) })
	r.During = b.watch(ctx, during)
	stop()
	attackers.Wait()
	r.Held = as.held(ctx)
	r.Attackers = as.tally.String()
	return r, ctx.Err()
}

// work has n attackers do something again and again, with a pause in between.
func work(ctx context.Context, n int, pause time.Duration, f func(ctx context.Context, i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for ctx.Err() == nil {
				f(ctx, i)
				rest(ctx, pause)
			}
		})
	}
	all.Wait()
}

// rest pauses; whoever rests looks at ctx next.
func rest(ctx context.Context, d time.Duration) { _ = retry.Sleep(ctx, d) }

// A tally counts what became of what attackers tried.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func newTally() *tally { return &tally{n: make(map[string]int)} }

func (t *tally) add(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n[what]++
}

// status counts how a call was answered.
func (t *tally) status(status int, err error) {
	switch {
	case err == nil:
		t.add(fmt.Sprint(status))
	case !errors.Is(err, context.Canceled): // the end of the attack is nobody's answer
		t.add("cut off")
	}
}

func (t *tally) count(what string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[what]
}

// String lists what was counted.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for _, what := range slices.Sorted(maps.Keys(t.n)) {
		all = append(all, fmt.Sprintf("%s: %d", what, t.n[what]))
	}
	return strings.Join(all, ", ")
}

// some fails unless one of these was counted: what limits attackers.
func (t *tally) some(what ...string) error {
	for _, w := range what {
		if t.count(w) > 0 {
			return nil
		}
	}
	return fmt.Errorf("the attackers were limited by nothing: %s", t)
}

// most fails if more were counted.
func (t *tally) most(what string, most int) error {
	if n := t.count(what); n > most {
		return fmt.Errorf("%s: %d, and %d are the most that were to be", what, n, most)
	}
	return nil
}
