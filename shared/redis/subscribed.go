package redis

import (
	"context"
	"hash/fnv"
	"strconv"

	"github.com/tidings-im/tidings/shared/im"
)

// Subscriptions to notifications are marked, so that who remembers that a user had
// none learns when that may have changed. Users share marks, of which there is a
// bounded number.
const (
	subscribedKey = "subscribed"
	subscribed    = 4096 // marks
)

func markOf(user string) string {
	h := fnv.New32a()
	h.Write([]byte(user)) // never fails
	return strconv.Itoa(int(h.Sum32() % subscribed))
}

// MarkSubscribed changes the mark of a user. It is to be called when the user has
// subscribed, before anybody is told so.
func (c *Client) MarkSubscribed(ctx context.Context, user string) error {
	return unavailable("marking a subscription", c.rdb.HSet(ctx, subscribedKey, markOf(user), im.NewID()).Err())
}

// SubscribedMarks returns the mark of each user, in their order; "" if nobody who
// shares it has subscribed since Redis has been there.
func (c *Client) SubscribedMarks(ctx context.Context, users []string) ([]string, error) {
	at := make(map[string]int) // where in fields
	var fields []string
	for _, u := range users {
		m := markOf(u)
		if _, ok := at[m]; !ok {
			at[m] = len(fields)
			fields = append(fields, m)
		}
	}
	if len(fields) == 0 {
		return nil, nil
	}
	got, err := c.rdb.HMGet(ctx, subscribedKey, fields...).Result()
	if err != nil {
		return nil, unavailable("reading marks of subscriptions", err)
	}
	marks := make([]string, len(users))
	for i, u := range users {
		marks[i], _ = got[at[markOf(u)]].(string)
	}
	return marks, nil
}
