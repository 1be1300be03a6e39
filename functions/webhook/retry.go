package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	keepFor    = 24 * time.Hour // that a delivery is tried
	retryBatch = 500
	mostErrors = 5 // that are told of in full
)

type retryStore interface {
	// DueWebhooks returns webhooks that are due, with their URLs.
	DueWebhooks(ctx context.Context, limit int) ([]im.WebhookRun, error)
	// OverdueWebhook returns for how long one has been due that nobody delivers
	// to, 0 if none is.
	OverdueWebhook(ctx context.Context) (time.Duration, error)
	// ExpireDeliveries drops deliveries older than age and returns how many.
	ExpireDeliveries(ctx context.Context, age time.Duration, limit int) (int, error)
	// UntoldWebhooks returns webhooks that were disabled, of which the owners do
	// not know.
	UntoldWebhooks(ctx context.Context, limit int) ([]string, error)
}

// teller is the transaction in which an owner is told.
type teller interface {
	// ToldWebhook notes that the owner of a webhook is told that it was
	// disabled. It returns false if they know.
	ToldWebhook(ctx context.Context, webhook string) (owner string, w im.Webhook, was bool, err error)
	// Notify has notices published if, and once, the transaction is committed.
	Notify(notices ...im.Notice)
}

type retrier struct {
	store   retryStore
	change  func(ctx context.Context, f func(context.Context, teller) error) error
	send    func(webhook, url string) // returns at once
	wait    func(context.Context)     // until all is sent, or that is done
	metrics *metrics
}

// retry may be done twice at once, and be cut off at any step. What it sends
// goes on when it has ended.
func (r *retrier) retry(ctx context.Context) error {
	err := errors.Join(r.expire(ctx), r.due(ctx), r.tell(ctx))
	return err
}

func (r *retrier) expire(ctx context.Context) error {
	for n := retryBatch; n == retryBatch && ctx.Err() == nil; {
		var err error
		if n, err = r.store.ExpireDeliveries(ctx, keepFor, retryBatch); err != nil {
			return fmt.Errorf("dropping old deliveries: %w", err)
		}
		r.metrics.dropped.Add(float64(n))
	}
	return nil
}

// due has what is due sent, for most of the time that there is.
func (r *retrier) due(ctx context.Context) error {
	due, err := r.store.DueWebhooks(ctx, retryBatch)
	if err != nil {
		return fmt.Errorf("looking for webhooks that are due: %w", err)
	}
	for _, w := range due {
		r.send(w.ID, w.URL)
	}
	waiting := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	r.wait(waiting)
	overdue, err := r.store.OverdueWebhook(ctx)
	if err == nil {
		r.metrics.overdue.Set(overdue.Seconds())
	}
	return err
}

// tell tells owners that webhooks were disabled.
func (r *retrier) tell(ctx context.Context) error {
	hooks, err := r.store.UntoldWebhooks(ctx, retryBatch)
	if err != nil {
		return fmt.Errorf("looking for webhooks that were disabled: %w", err)
	}
	var errs []error
	for _, id := range hooks {
		if ctx.Err() != nil {
			break
		}
		if err := r.tellOf(ctx, id); err != nil && len(errs) < mostErrors {
			errs = append(errs, fmt.Errorf("telling that webhook %s is disabled: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

func (r *retrier) tellOf(ctx context.Context, webhook string) error {
	told := false
	err := r.change(ctx, func(ctx context.Context, tx teller) error {
		owner, w, was, err := tx.ToldWebhook(ctx, webhook)
		if told = was; err != nil || !was {
			return err
		}
		// In the conversation of the bot with its owner, for eyes.
		n, err := im.NewNotice(im.WebhookDisabled, im.Direct(w.Bot, owner), w.Bot, struct {
			Webhook string  `json:"webhook"`
			Reason  string  `json:"reason"`
			Failing im.Time `json:"failing,omitempty"`
			Failure string  `json:"failure,omitempty"`
		}{w.ID, w.Reason, w.Failing, w.Failure})
		n.To = []string{owner}
		tx.Notify(n)
		return err
	})
	if err == nil && told {
		r.metrics.disabled.Inc()
	}
	return err
}
