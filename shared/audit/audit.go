// Package audit is the security log: one stream of records of who signs in and
// fails to, of changes of what they sign in by, of sessions that end, of rights
// that change and are refused, of limits that are hit. A record is a line of the
// log of the process and, with AUDIT_TOPIC, an event on a topic of Kafka.
//
// A record says who, from where, by which device, what and how it ended. It never
// holds passwords, codes, tokens, addresses of mail or anything that users write.
package audit

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/proc"
)

// An Event is what a record is of: a word of the OWASP Application Logging
// Vocabulary Cheat Sheet, or one made as those are, where it has none.
type Event string

// The events.
const (
	LoginSuccess       Event = "authn_login_success"
	LoginFail          Event = "authn_login_fail"
	LoginFailMax       Event = "authn_login_fail_max" // too often: not tried
	PasswordChange     Event = "authn_password_change"
	PasswordChangeFail Event = "authn_password_change_fail"
	TokenCreated       Event = "authn_token_created" // of a bot
	TokenRevoked       Event = "authn_token_revoked" // a session has ended
	TokenReuse         Event = "authn_token_reuse"   // a refresh token came twice
	SessionRenewed     Event = "session_renewed"     // who is signed in has proved again who they are
	SessionUse         Event = "session_use_after_expire"
	AuthzFail          Event = "authz_fail"
	PermissionsChanged Event = "privilege_permissions_changed"
	RateLimit          Event = "excess_rate_limit_exceeded"
	UserCreated        Event = "user_created"
	UserDeleted        Event = "user_deleted"

	// Not of the cheat sheet.
	EmailChange    Event = "authn_email_change"
	FactorChange   Event = "authn_factor_change"
	IdentityChange Event = "authn_identity_change"
	WebhookChange  Event = "authn_webhook_change"
	PushChange     Event = "authn_push_change"
)

// Events are all of them.
var Events = []Event{
	LoginSuccess, LoginFail, LoginFailMax, PasswordChange, PasswordChangeFail, TokenCreated, TokenRevoked, TokenReuse, SessionRenewed, SessionUse,
	AuthzFail, PermissionsChanged, RateLimit, UserCreated, UserDeleted, EmailChange, FactorChange, IdentityChange, WebhookChange, PushChange,
}

// refusals are the events that somebody can cause as often as they like.
var refusals = []Event{LoginFail, LoginFailMax, PasswordChangeFail, SessionUse, AuthzFail, RateLimit}

// A Record is one of the security log. What is not known is empty.
type Record struct {
	Event    Event             `json:"event"`
	Function string            `json:"function,omitempty"` // that was called
	Reason   string            `json:"reason,omitempty"`   // why it failed, as the kind of error; or why a session ended
	User     string            `json:"user,omitempty"`     // who did it, or tried to; of a sign-in that failed: as whom
	Session  string            `json:"session,omitempty"`
	Device   string            `json:"device,omitempty"` // as the client calls it
	Platform string            `json:"platform,omitempty"`
	Address  string            `json:"address,omitempty"` // of the network, as a gateway vouches for it
	Target   map[string]string `json:"target,omitempty"`  // ids of what it is about, by what each is of

	// Suppressed is how many records like it were left out before it, for there
	// were too many.
	Suppressed int `json:"suppressed,omitempty"`
}

const (
	queueLen       = 1024 // records that wait for Kafka
	batchLen       = 100
	publishTimeout = 10 * time.Second
	closeTimeout   = 5 * time.Second
)

type publisher interface {
	Publish(ctx context.Context, topic string, events []event.Event) error
}

// A Recorder writes records. It never fails and never waits: the line of the log
// is written at once, the topic beside that, from a queue of bounded length of
// which what does not fit is counted. A nil Recorder writes nothing.
type Recorder struct {
	log     *slog.Logger
	sample  *sampler
	to      publisher // nil: there is no topic
	metrics *metrics

	queue  chan event.Event
	cancel context.CancelFunc
	done   chan struct{}
	close  sync.Once
}

type metrics struct {
	records *prometheus.CounterVec
	dropped *prometheus.CounterVec
}

func newMetrics() *metrics {
	return &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_audit_records_total", Help: "Records of the security log, by event.",
		}, []string{"event"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_audit_dropped_total", Help: "Records of the security log that are missing: sampled (there were too many like it; in neither log nor topic), queue and kafka (in the log alone).",
		}, []string{"why"}),
	}
}

// Open returns the process's recorder, which writes to the topic too if topic
// and AUDIT_TOPIC say so.
func Open(ctx context.Context, env *proc.Env, topic bool) (*Recorder, error) {
	m, err := proc.Share(env, "audit.metrics", func() (*metrics, func() error, error) {
		m := newMetrics()
		return m, nil, errors.Join(env.Metrics.Register(m.records), env.Metrics.Register(m.dropped))
	})
	if err != nil {
		return nil, err
	}
	sample, err := proc.Share(env, "audit.sampler", func() (*sampler, func() error, error) { return newSampler(), nil, nil })
	if err != nil {
		return nil, err
	}
	if topic {
		if topic, err = kafka.AuditOn(env); err != nil {
			return nil, err
		}
	}
	if !topic {
		return &Recorder{log: env.Log, sample: sample, metrics: m}, nil
	}
	to, err := kafka.Open(ctx, env)
	if err != nil {
		return nil, err
	}
	return proc.Share(env, "audit.Recorder", func() (*Recorder, func() error, error) {
		r := &Recorder{log: env.Log, sample: sample, metrics: m}
		r.publish(to)
		return r, r.Close, nil
	})
}

// publish has records written to a topic, too.
func (r *Recorder) publish(to publisher) {
	ctx, cancel := context.WithCancel(context.Background())
	r.to, r.queue, r.cancel, r.done = to, make(chan event.Event, queueLen), cancel, make(chan struct{})
	go r.run(ctx)
}

// Record writes a record, unless there were too many like it.
func (r *Recorder) Record(ctx context.Context, rec Record) {
	if r == nil {
		return
	}
	failed := slices.Contains(refusals, rec.Event)
	var ok bool
	if ok, rec.Suppressed = r.sample.allow(rec, failed, time.Now()); !ok {
		r.metrics.dropped.WithLabelValues("sampled").Inc()
		return
	}
	r.metrics.records.WithLabelValues(string(rec.Event)).Inc()
	level := slog.LevelInfo
	if failed || rec.Event == TokenReuse {
		level = slog.LevelWarn
	}
	r.log.LogAttrs(ctx, level, "security", rec.attrs()...)
	if r.to != nil {
		r.enqueue(rec)
	}
}

func (rec Record) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("security", string(rec.Event))}
	for _, f := range []struct{ name, value string }{
		{"function", rec.Function}, {"reason", rec.Reason}, {"user", rec.User}, {"session", rec.Session},
		{"device", rec.Device}, {"platform", rec.Platform}, {"address", rec.Address},
	} {
		if f.value != "" {
			attrs = append(attrs, slog.String(f.name, f.value))
		}
	}
	if len(rec.Target) > 0 {
		var target []any
		for _, name := range slices.Sorted(maps.Keys(rec.Target)) {
			target = append(target, slog.String(name, rec.Target[name]))
		}
		attrs = append(attrs, slog.Group("target", target...))
	}
	if rec.Suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed", rec.Suppressed))
	}
	return attrs
}

func (r *Recorder) enqueue(rec Record) {
	key := cmp.Or(rec.User, rec.Address, rec.Function, string(rec.Event))
	e, err := event.New(event.SecurityRecorded, "/audit", key, rec)
	if err != nil {
		r.metrics.dropped.WithLabelValues("queue").Inc()
		return
	}
	select {
	case r.queue <- e:
	default:
		r.metrics.dropped.WithLabelValues("queue").Inc()
	}
}

// run writes what is queued, until ctx is done and nothing is left.
func (r *Recorder) run(ctx context.Context) {
	defer close(r.done)
	for {
		var batch []event.Event
		select {
		case e := <-r.queue:
			batch = append(batch, e)
		case <-ctx.Done():
			if len(r.queue) == 0 {
				return
			}
		}
		for len(batch) < batchLen && len(r.queue) > 0 {
			batch = append(batch, <-r.queue)
		}
		r.write(batch)
	}
}

func (r *Recorder) write(batch []event.Event) {
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	if err := r.to.Publish(ctx, event.TopicAudit, batch); err != nil {
		r.metrics.dropped.WithLabelValues("kafka").Add(float64(len(batch)))
		r.log.WarnContext(ctx, "records of the security log are in this log alone", "records", len(batch), "err", err)
	}
}

// Close writes what is queued, for a while at most.
func (r *Recorder) Close() error {
	if r == nil || r.to == nil {
		return nil
	}
	r.close.Do(r.cancel)
	select {
	case <-r.done:
	case <-time.After(closeTimeout):
	}
	return nil
}

// about is an error that says whose it is.
type about struct {
	error
	who im.Caller
}

func (a *about) Unwrap() error { return a.error }

// About says of an error whose it is, for the record alone: a caller is told
// nothing of it. A nil err stays nil.
func About(who im.Caller, err error) error {
	if err == nil {
		return nil
	}
	return &about{err, who}
}

// Of returns whom About has said that an error is of.
func Of(err error) (who im.Caller, ok bool) {
	var a *about
	if errors.As(err, &a) {
		return a.who, true
	}
	return im.Caller{}, false
}

// A Named answer says for the record who it is about.
type Named interface{ AuditedAs() im.Caller }

// An Eventful answer says for the record what has happened, of several things
// that a function may do.
type Eventful interface{ AuditEvent() Event }

// ErrTokenReused is in the chain of an error that says that a refresh token came
// twice.
var ErrTokenReused = errors.New("a token came twice")
