package away

import (
	"context"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
)

// What is remembered of who has not subscribed, and for how long at most: marks
// end it as soon as somebody subscribes, unless Redis loses them.
const (
	remembered    = 100_000 // users
	rememberedFor = 10 * time.Minute
)

type subscriptionsOf interface {
	// Subscribers returns those of users that have a subscription.
	Subscribers(ctx context.Context, users []string) ([]string, error)
}

type marks interface {
	// SubscribedMarks returns a mark for each user, which is another one whenever
	// that user has subscribed.
	SubscribedMarks(ctx context.Context, users []string) ([]string, error)
}

// subscribers tells who has subscribed, and asks the database only about those of
// whom it does not know that they have not: most messages go to people who have
// not, or come a moment after others.
type subscribers struct {
	store subscriptionsOf
	marks marks
	none  *expirable.LRU[string, string] // the mark under which a user had no subscription
}

func newSubscribers(store subscriptionsOf, m marks) *subscribers {
	return &subscribers{store: store, marks: m, none: expirable.NewLRU[string, string](remembered, nil, rememberedFor)}
}

// among returns those of users that have a subscription.
func (s *subscribers) among(ctx context.Context, users []string) (map[string]bool, error) {
	// Before the database is asked: a subscription that it does not have then
	// changes the mark later.
	now, err := s.marks.SubscribedMarks(ctx, users)
	if err != nil {
		return nil, err
	}
	var unknown []string
	of := make(map[string]string)
	for i, u := range users {
		if mark, ok := s.none.Get(u); !ok || mark != now[i] {
			unknown = append(unknown, u)
			of[u] = now[i]
		}
	}
	if len(unknown) == 0 {
		return nil, nil
	}
	found, err := s.store.Subscribers(ctx, unknown)
	if err != nil {
		return nil, err
	}
	have := make(map[string]bool, len(found))
	for _, u := range found {
		have[u] = true
	}
	for u, mark := range of {
		if !have[u] {
			s.none.Add(u, mark)
		}
	}
	return have, nil
}
