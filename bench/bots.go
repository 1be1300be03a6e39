package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/retry"
)

const (
	hookBots    = 8 // with a webhook each: as many as are delivered to at a time on one host
	hookSenders = 48
	hookRate    = 50 // messages per second, paced
)

// A bot is one with a webhook.
type bot struct {
	owner          *user
	id, token      string
	webhook        string
	secret, access string
}

// bots measures what bots do, and how soon they are told.
func (b *bench) bots(ctx context.Context) error {
	users, err := b.crew.muster(ctx, 2*hookSenders)
	if err != nil {
		return err
	}
	heard := &hookRun{found: &b.found}
	url, stop, err := serveHooks("127.0.0.1:0", heard)
	if err != nil {
		return err
	}
	defer stop()
	var bots []*bot
	defer func() {
		for _, m := range bots {
			b.api.Call(context.WithoutCancel(ctx), http.MethodDelete, "/v1/bots/"+m.id, m.owner.AccessToken, nil, nil)
		}
	}()
	hooked := true
	for i := range hookBots {
		m, err := b.makeBot(ctx, users[i])
		if err != nil {
			return fmt.Errorf("making a bot: %w", err)
		}
		bots = append(bots, m)
		if err := m.hook(ctx, b.api, fmt.Sprintf("%s/%d", url, i)); errors.Is(err, im.Invalid) || errors.Is(err, im.Denied) {
			hooked = false
		} else if err != nil {
			return fmt.Errorf("making a webhook: %w", err)
		}
	}
	if err := b.askAll(ctx, botCalls(bots[0], users[2*hookSenders-1])); err != nil {
		return err
	}
	if !hooked {
		b.report.add("webhooks of bots", "not measured: set WEBHOOK_PRIVATE=true, for they are on this machine")
		return nil
	}
	senders := users[hookSenders:]
	for _, r := range []*hookRun{
		{name: fmt.Sprintf("a webhook, %d senders, paced at %d messages/s", hookSenders, hookRate), bots: bots[:1], rate: hookRate},
		{name: fmt.Sprintf("a webhook, %d senders, the next message when the last was told", hookSenders), bots: bots[:1]},
		{name: fmt.Sprintf("%d webhooks, likewise", hookBots), bots: bots},
	} {
		r.senders = senders
		heard.become(r)
		if err := b.tell(ctx, heard); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

func (b *bench) makeBot(ctx context.Context, owner *user) (*bot, error) {
	var made struct {
		Bot   im.Bot `json:"bot"`
		Token string `json:"token"`
	}
	in := map[string]any{"account": "bench-" + im.NewID(), "name": "Bench", "scopes": []im.Scope{"messages:read", "messages:write"}}
	if err := b.api.Call(ctx, http.MethodPost, "/v1/bots", owner.AccessToken, in, &made); err != nil {
		return nil, err
	}
	m := &bot{owner: owner, id: made.Bot.ID, token: made.Token}
	var t client.Tokens
	err := b.api.Call(ctx, http.MethodPost, "/v1/sessions/bot", "", map[string]string{"token": m.token}, &t)
	m.access = t.AccessToken
	return m, err
}

func (m *bot) hook(ctx context.Context, api *client.API, url string) error {
	var made struct {
		Webhook im.Webhook `json:"webhook"`
		Secret  string     `json:"secret"`
	}
	in := map[string]any{"bot": m.id, "url": url, "events": im.WebhookEvents}
	err := api.Call(ctx, http.MethodPost, "/v1/webhooks", m.owner.AccessToken, in, &made)
	m.webhook, m.secret = made.Webhook.ID, made.Secret
	return err
}

func botCalls(m *bot, to *user) []call {
	as := &user{AccessToken: m.access}
	return []call{
		{"bot-login", "no password is hashed", func(ctx context.Context, ask asker) error {
			a, err := ask(ctx, nil, http.MethodPost, "/v1/sessions/bot", map[string]string{"token": m.token})
			return has(a, err, "access_token", -1)
		}},
		{"message-send, by a bot", "until it is accepted", func(ctx context.Context, ask asker) error {
			a, err := ask(ctx, as, http.MethodPost, "/v1/messages", map[string]string{"to": "u:" + to.ID, "text": "tidings from a bot"})
			return has(a, err, "conversation", -1)
		}},
	}
}

// A hookRun is users who write to bots, and what the bots' webhooks are told. It
// is also what answers these. It checks that of each sender everything is told,
// in its order: what is told again is counted.
type hookRun struct {
	name    string
	bots    []*bot
	senders []*user
	rate    float64 // messages per second of all; 0 is that each waits until the last was told

	mu        sync.Mutex
	run       string // prefix of all ids
	began     time.Time
	from, to  time.Duration // what is measured, since began; to is 0 while it goes on
	told      []int64       // by sender: how many
	waiting   []chan struct{}
	accepted  int64
	delivered int64
	repeated  int64
	ack, took histogram
	found     *findings
	broken    error
}

// become starts another run.
func (h *hookRun) become(r *hookRun) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.name, h.bots, h.senders, h.rate = r.name, r.bots, r.senders, r.rate
	h.run, h.began, h.from, h.to = im.NewID()[:8], time.Now(), 0, 0
	h.told, h.waiting = make([]int64, len(r.senders)), make([]chan struct{}, len(r.senders))
	for i := range h.waiting {
		h.waiting[i] = make(chan struct{}, 1)
	}
	h.accepted, h.delivered, h.repeated, h.ack, h.took, h.broken = 0, 0, 0, histogram{}, histogram{}, nil
}

func (h *hookRun) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var i int
	if _, err := fmt.Sscanf(r.URL.Path, "/%d", &i); err != nil {
		http.NotFound(w, r)
		return
	}
	h.mu.Lock()
	secret := ""
	if i < len(h.bots) {
		secret = h.bots[i].secret
	}
	h.mu.Unlock()
	var told struct {
		Data struct {
			Message im.Message `json:"message"`
			Dropped int64      `json:"dropped"`
		} `json:"data"`
	}
	now, err := readHook(r, secret, &told)
	w.WriteHeader(http.StatusNoContent)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil:
		h.broken = errors.Join(h.broken, err)
	case told.Data.Dropped > 0:
		h.found.add("lost: %d messages were dropped before webhook %d was told of them", told.Data.Dropped, i)
	}
	if s, ok := parseID([]byte(told.Data.Message.ClientID), h.run); ok && s.sender < len(h.told) {
		h.hear(s, now.Sub(h.began))
	}
}

// hear notes that a message was told. h.mu is held.
func (h *hookRun) hear(s stamp, now time.Duration) {
	switch next := h.told[s.sender]; {
	case s.n < next:
		h.repeated++
		return
	case s.n > next:
		h.found.add("out of order or lost: a webhook was told message %d of sender %d after %d", s.n, s.sender, next-1)
	}
	h.told[s.sender] = s.n + 1
	if h.from > 0 && now >= h.from && h.to == 0 {
		h.delivered++
	}
	if h.measured(s.due) {
		h.took.add(now - s.due)
	}
	select {
	case h.waiting[s.sender] <- struct{}{}:
	default:
	}
}

// measured reports whether what was due then counts. h.mu is held.
func (h *hookRun) measured(due time.Duration) bool {
	return h.from > 0 && due >= h.from && (h.to == 0 || due < h.to)
}

// tell does a run, checks that all was told, and adds what it measured.
func (b *bench) tell(ctx context.Context, h *hookRun) error {
	hc := callersClient(len(h.senders))
	defer hc.CloseIdleConnections()
	api := &client.API{URL: b.url, HTTP: hc}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	sent := make([]int64, len(h.senders))
	errs := make(chan error, len(h.senders))
	var all sync.WaitGroup
	for i := range h.senders {
		all.Go(func() { errs <- h.send(sending, api, i, &sent[i], b.patience) })
	}
	err := pause(ctx, b.warmUp, errs)
	before := b.use.read()
	h.mark(&h.from)
	if err == nil {
		err = pause(ctx, b.duration/3, errs)
	}
	h.mark(&h.to)
	cpu := b.use.since(before)
	stop()
	all.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	if err != nil {
		return err
	}
	if _, err := wait(ctx, b.patience, func() bool { return h.lacking(sent) == 0 }); err != nil {
		return err
	}
	if n := h.lacking(sent); n > 0 {
		b.found.add("lost: %d messages that were accepted were not told to a webhook", n)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	b.report.load(&result{
		load: &load{name: h.name}, seconds: (h.to - h.from).Seconds(), fanOut: 1,
		accepted: h.accepted, delivered: h.delivered, repeated: h.repeated, ack: h.ack, deliver: h.took, cpu: cpu,
	})
	return h.broken
}

func (h *hookRun) mark(at *time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*at = time.Since(h.began)
}

// lacking returns how many messages were accepted and not told.
func (h *hookRun) lacking(sent []int64) (n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range sent {
		n += max(0, s-h.told[i])
	}
	return n
}

// send has a sender write to a bot until ctx is done, and counts in sent what
// was accepted.
func (h *hookRun) send(ctx context.Context, api *client.API, i int, sent *int64, patience time.Duration) error {
	to := "u:" + h.bots[i%len(h.bots)].id
	every := time.Duration(0)
	if h.rate > 0 {
		every = time.Duration(float64(len(h.senders)) / h.rate * float64(time.Second))
	}
	first := every * time.Duration(i) / time.Duration(len(h.senders))
	for n := int64(0); ; n++ {
		due := time.Since(h.began)
		if every > 0 {
			due = first + time.Duration(n)*every
			if retry.Sleep(ctx, due-time.Since(h.began)) != nil {
				return nil
			}
		}
		id := string(stamp{i, n, due}.appendID(nil, h.run))
		err := api.Call(context.WithoutCancel(ctx), http.MethodPost, "/v1/messages", h.senders[i].AccessToken, map[string]string{"id": id, "to": to, "text": "tidings for a bot"}, nil)
		if err != nil {
			return fmt.Errorf("message-send: %w", err)
		}
		*sent = n + 1
		h.mu.Lock()
		now := time.Since(h.began)
		if h.measured(due) {
			h.ack.add(now - due)
		}
		if h.from > 0 && h.to == 0 {
			h.accepted++
		}
		h.mu.Unlock()
		if every > 0 {
			continue
		}
		select {
		case <-h.waiting[i]:
		case <-ctx.Done():
			return nil
		case <-time.After(patience):
			return fmt.Errorf("message %d of sender %d was accepted and, in %s, not told to the webhook", n, i, patience)
		}
	}
}
