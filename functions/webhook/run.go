package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/retry"
	"github.com/tidings-im/tidings/shared/vault"
	"github.com/tidings-im/tidings/shared/webhook"
)

const (
	runTime    = 30 * time.Second // after which a run begins no further attempt
	lease      = 2 * time.Minute  // longer than a run and its last attempts
	settleTime = 5 * time.Second
	runBatch   = 50 // deliveries that are taken at a time
	lanes      = 4  // conversations of a webhook that are delivered at a time

	firstPause = 5 * time.Second // after one failure
	maxPause   = time.Hour

	mostRefused    = 3  // conversations of which an endpoint refuses the next message, before it is left alone
	disableBeyond  = 10 // failures in a row
	maxFailureText = 200
)

var pauses = retry.Backoff{First: firstPause, Limit: maxPause}

type runStore interface {
	// TakeWebhook takes a webhook that is due, for as long as lease, with some of
	// what waits. It returns false if there is nothing to take.
	TakeWebhook(ctx context.Context, webhook string, lease time.Duration, limit int) (im.WebhookRun, bool, error)
	// SettleWebhook notes what came of it, and returns whether there is more to
	// deliver at once.
	SettleWebhook(ctx context.Context, o im.WebhookOutcome) (more bool, err error)
}

// runner delivers to webhooks.
type runner struct {
	store   runStore
	send    func(ctx context.Context, url, secret, id string, at time.Time, body []byte, others ...string) error
	open    func(webhook, sealed string) (secret string, err error)
	now     func() time.Time
	pause   func(failures int) time.Duration // in a row
	disable time.Duration
	metrics *metrics
}

// opener opens secrets of webhooks.
func opener(v *vault.Vault) func(webhook, sealed string) (string, error) {
	return func(webhook, sealed string) (string, error) {
		secret, _, err := v.Open(sealed, ofWebhook(webhook)...)
		return string(secret), err
	}
}

// run delivers what waits for a webhook, until nothing does, or it fails, or
// it has taken long enough. Only one run of a webhook is under way at a time.
func (r *runner) run(ctx context.Context, webhook string) error {
	until := r.now().Add(runTime)
	for {
		got, ok, err := r.store.TakeWebhook(ctx, webhook, lease, runBatch)
		if err != nil || !ok {
			return err
		}
		out, err := r.deliver(ctx, got, until)
		if err != nil {
			return err
		}
		settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
		more, err := r.store.SettleWebhook(settle, out)
		cancel()
		if err != nil || !more || ctx.Err() != nil || !r.now().Before(until) {
			return err
		}
	}
}

// attempts is a run while it is under way.
type attempts struct {
	*runner
	run     im.WebhookRun
	secrets []string
	until   time.Time

	mu      sync.Mutex
	out     im.WebhookOutcome
	refused int
	left    bool // alone: the endpoint fails altogether
	told    bool // somebody tells of what was dropped
}

// deliver sends the deliveries of a run, those of a conversation one after
// another. When one fails, the later ones of its conversation wait for it; when
// the endpoint does, all do.
func (r *runner) deliver(ctx context.Context, run im.WebhookRun, until time.Time) (im.WebhookOutcome, error) {
	a := &attempts{runner: r, run: run, until: until, out: im.WebhookOutcome{
		Webhook: run.ID, Run: run.Run, DisableAfter: r.disable, DisableBeyond: disableBeyond,
	}}
	for _, sealed := range []string{run.Secret, run.OldSecret} {
		if sealed == "" {
			continue
		}
		secret, err := r.open(run.ID, sealed)
		if err != nil {
			return im.WebhookOutcome{}, fmt.Errorf("opening a secret of webhook %s: %w", run.ID, err)
		}
		a.secrets = append(a.secrets, secret)
	}
	var order []im.Conversation
	of := make(map[im.Conversation][]im.WebhookDelivery)
	for _, d := range run.Deliveries {
		if len(of[d.Conversation]) == 0 {
			order = append(order, d.Conversation)
		}
		of[d.Conversation] = append(of[d.Conversation], d)
	}
	next := make(chan []im.WebhookDelivery)
	var sending sync.WaitGroup
	for range min(lanes, len(order)) {
		sending.Go(func() {
			for ds := range next {
				a.inOrder(ctx, ds)
			}
		})
	}
	for _, c := range order {
		next <- of[c]
	}
	close(next)
	sending.Wait()
	a.sum()
	return a.out, nil
}

// inOrder sends deliveries of a conversation until one fails.
func (a *attempts) inOrder(ctx context.Context, ds []im.WebhookDelivery) {
	for _, d := range ds {
		tell, ok := a.begin(ctx)
		if !ok {
			return
		}
		err := proc.Protect(func() error { return a.attempt(ctx, d, tell) })
		if ctx.Err() != nil && err != nil {
			return // it was not the endpoint
		}
		if !a.end(d, tell, err) {
			return
		}
	}
}

// begin reports whether an attempt is to be made, and of how many dropped
// deliveries it tells.
func (a *attempts) begin(ctx context.Context) (tell int64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left || ctx.Err() != nil || !a.now().Before(a.until) {
		return 0, false
	}
	if !a.told {
		a.told, tell = true, a.run.Dropped
	}
	return tell, true
}

func (a *attempts) attempt(ctx context.Context, d im.WebhookDelivery, dropped int64) error {
	b, err := im.JSON(body(a.run, d, dropped))
	if err != nil {
		return fmt.Errorf("writing a delivery: %w", err)
	}
	// A retry has the id of the first attempt, and another time.
	return a.send(ctx, a.run.URL, a.secrets[0], a.run.ID+"_"+d.Place.ID, a.now(), b, a.secrets[1:]...)
}

// end notes what came of an attempt, and returns whether the conversation goes on.
func (a *attempts) end(d im.WebhookDelivery, tell int64, err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.out.Done = append(a.out.Done, d.Place)
		a.out.Told += tell
		a.metrics.attempts.WithLabelValues("delivered").Inc()
		return true
	}
	a.metrics.attempts.WithLabelValues("failed").Inc()
	var f *webhook.Failure
	if !errors.As(err, &f) {
		f = &webhook.Failure{Reason: "it could not be sent"}
	}
	a.out.Failure = strings.ToValidUTF8(f.Reason[:min(len(f.Reason), maxFailureText)], "")
	a.out.Gone = a.out.Gone || f.Gone()
	a.out.Retry = append(a.out.Retry, im.WebhookRetry{Place: d.Place, After: max(a.pause(d.Attempts+1), min(f.RetryAfter, maxPause))})
	a.out.After = max(a.out.After, min(f.RetryAfter, maxPause))
	if a.refused++; altogether(f) || a.refused >= mostRefused {
		a.left = true
	}
	return false
}

// altogether reports whether an endpoint that failed so would fail with
// whatever it is sent.
func altogether(f *webhook.Failure) bool {
	switch f.Status {
	case 0, http.StatusGone, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return f.Status >= 300 && f.Status < 400
}

// sum says of the whole endpoint what its deliveries have shown.
func (a *attempts) sum() {
	switch {
	case len(a.out.Retry) == 0 && len(a.out.Done) == 0: // cut off before anything was tried
		a.out.Failures = a.run.Failures
	case len(a.out.Done) > 0 && !a.left: // a single message may be what fails
		a.out.Failures, a.out.Failure = 0, ""
	case len(a.out.Retry) == 0:
	case len(a.out.Done) > 0:
		a.out.Failures = 1
	default:
		a.out.Failures = a.run.Failures + 1
	}
	if a.left {
		a.out.After = max(a.out.After, a.pause(a.out.Failures))
	}
}

// delivery is what an endpoint is sent, as Standard Webhooks shapes it.
type delivery struct {
	Type      string  `json:"type"`
	Timestamp im.Time `json:"timestamp"` // of the message
	Data      struct {
		Webhook string          `json:"webhook"`
		Bot     string          `json:"bot"`
		Message json.RawMessage `json:"message"`
		Dropped int64           `json:"dropped,omitempty"` // messages before this one that nobody will deliver
	} `json:"data"`
}

func body(run im.WebhookRun, of im.WebhookDelivery, dropped int64) delivery {
	d := delivery{Type: im.WebhookMessage, Timestamp: of.Place.Time}
	d.Data.Webhook, d.Data.Bot, d.Data.Message, d.Data.Dropped = run.ID, run.Bot, of.Message, dropped
	return d
}
