package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	jsonv2 "github.com/go-json-experiment/json"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

type queue interface {
	// Among returns those of users that are bots.
	Among(ctx context.Context, users []string) ([]string, error)
	// WebhooksOf returns the webhooks that are enabled of those of users that
	// are bots.
	WebhooksOf(ctx context.Context, users []string) ([]im.WebhookTarget, error)
	// Enqueue adds deliveries, each once, and drops the oldest of a webhook that
	// has too many. It returns the URLs, by id, of those that can be delivered
	// to at once.
	Enqueue(ctx context.Context, deliveries []im.WebhookDelivery, most, bytes int) (ready map[string]string, dropped int, err error)
	// Withdraw takes messages out again.
	Withdraw(ctx context.Context, webhooks, messages []string) error
}

// maxAsked is how many users are asked about at a time.
const maxAsked = 5000

// people is how many users are remembered of whom it is known that they are no
// bots, which they never become.
const people = 100_000

type deliverer struct {
	queue   queue
	people  *lru.Cache[string, struct{}]
	send    func(webhook, url string) // returns at once
	dropped func(float64)
	most    int // deliveries that wait for a webhook
}

func newDeliverer(q queue, most int) *deliverer {
	known, err := lru.New[string, struct{}](people)
	if err != nil {
		panic(err) // of a size below 1
	}
	return &deliverer{queue: q, people: known, most: most}
}

// deliver writes down what webhooks are to be told of, and has it sent. Each
// event that fails comes again, and is written down once all the same, unless
// it has been delivered meanwhile.
func (d *deliverer) deliver(ctx context.Context, events []event.Appended) error {
	hooks, err := d.hooks(ctx, events)
	if err != nil || len(hooks) == 0 {
		return err
	}
	failed := make(fn.Each, len(events))
	var deliveries []im.WebhookDelivery
	var recalled []string
	var of []string // webhooks that may have them
	for i, e := range events {
		to := targets(e, hooks)
		if len(to) == 0 {
			continue
		}
		m, err := read(e.Message)
		if err != nil {
			failed[i] = err
			continue
		}
		if id := m.recalls(); id != "" {
			recalled = append(recalled, id)
			for _, t := range to {
				of = append(of, t.ID)
			}
			continue
		}
		deliveries = append(deliveries, m.deliveries(e.Message, to)...)
	}
	// What is recalled right behind it, or comes again with that, is not told of.
	deliveries = slices.DeleteFunc(deliveries, func(d im.WebhookDelivery) bool { return slices.Contains(recalled, d.Place.ID) })
	if len(deliveries) > 0 {
		ready, dropped, err := d.queue.Enqueue(ctx, deliveries, d.most, queueBytes)
		if err != nil {
			return fmt.Errorf("queueing %d deliveries: %w", len(deliveries), err)
		}
		d.dropped(float64(dropped))
		for id, url := range ready {
			d.send(id, url)
		}
	}
	if len(recalled) > 0 {
		if err := d.queue.Withdraw(ctx, of, recalled); err != nil {
			return fmt.Errorf("withdrawing messages that were recalled: %w", err)
		}
	}
	return failed.Or()
}

// hooks returns the webhooks of whom messages have come to, by bot. There are
// none of most messages, which are not looked into then, and of whose recipients
// nobody is asked.
func (d *deliverer) hooks(ctx context.Context, events []event.Appended) (map[string][]im.WebhookTarget, error) {
	users := make(map[string]bool)
	for _, e := range events {
		for _, r := range e.Entries {
			if !d.people.Contains(r.User) {
				users[r.User] = true
			}
		}
	}
	hooks := make(map[string][]im.WebhookTarget)
	for some := range slices.Chunk(slices.Collect(maps.Keys(users)), maxAsked) {
		bots, err := d.queue.Among(ctx, some)
		if err != nil {
			return nil, fmt.Errorf("looking for bots: %w", err)
		}
		for _, bot := range bots {
			delete(users, bot)
		}
		for _, u := range some {
			if users[u] {
				d.people.Add(u, struct{}{})
			}
		}
		if len(bots) == 0 {
			continue
		}
		found, err := d.queue.WebhooksOf(ctx, bots)
		if err != nil {
			return nil, fmt.Errorf("looking for webhooks: %w", err)
		}
		for _, t := range found {
			hooks[t.Bot] = append(hooks[t.Bot], t)
		}
	}
	return hooks, nil
}

func targets(e event.Appended, hooks map[string][]im.WebhookTarget) (to []im.WebhookTarget) {
	for _, r := range e.Entries {
		to = append(to, hooks[r.User]...)
	}
	return to
}

// message is what is to be known of a message.
type message struct {
	ID           string          `json:"id"`
	Conversation im.Conversation `json:"conversation"`
	Time         im.Time         `json:"time"`
	From         string          `json:"from"`
	Kind         string          `json:"kind"`
	Recalled     bool            `json:"recalled"`
	Data         json.RawMessage `json:"data"`
}

func read(b []byte) (m message, err error) {
	if err := jsonv2.Unmarshal(b, &m); err != nil {
		return m, im.Wrap(im.Invalid, err, "the event holds no message")
	}
	if !im.IsMessageID(m.ID) || m.Conversation == "" {
		return m, im.Errorf(im.Invalid, "the event holds a message without an id or a conversation")
	}
	return m, nil
}

// recalls returns the id of the message that m says was recalled, or "".
func (m *message) recalls() string {
	var data struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	if m.Kind != im.KindNotice || jsonv2.Unmarshal(m.Data, &data) != nil || data.Type != im.MessageRecalled || !im.IsMessageID(data.Message) {
		return ""
	}
	return data.Message
}

// deliveries returns what of to is to be told of m: not the sender, and none of
// what is no message to anybody's eyes.
func (m *message) deliveries(raw json.RawMessage, to []im.WebhookTarget) (out []im.WebhookDelivery) {
	if m.Kind == im.KindNotice || m.Kind == im.KindDeleted || m.Recalled {
		return nil
	}
	for _, t := range to {
		if t.Bot == m.From || t.Conversation != "" && t.Conversation != m.Conversation {
			continue
		}
		out = append(out, im.WebhookDelivery{Webhook: t.ID, Conversation: m.Conversation, Place: im.Place{Time: m.Time, ID: m.ID}, Message: raw})
	}
	return out
}
