package webhook

import (
	"context"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/publicsuffix"

	"github.com/tidings-im/tidings/shared/proc"
)

const (
	perHost   = 8      // webhooks of a domain that are delivered to at a time
	mostKnown = 10_000 // webhooks that wait or run; webhook-retry finds the others

	// closeTime is how long a process that ends waits for what is under way.
	closeTime = 5 * time.Second
)

// pool runs the deliveries of webhooks: so many at a time, and so many of one
// domain, so that endpoints that hang leave room for others.
type pool struct {
	run     func(ctx context.Context, webhook string) error
	log     *slog.Logger
	most    int
	ctx     context.Context
	stop    context.CancelFunc
	metrics *metrics

	mu      sync.Mutex
	idle    sync.Cond // with mu: nothing waits or runs
	waiting []job     // in their order
	known   map[string]*job
	running map[string]int // by host
	total   int
	closed  bool
}

type job struct {
	webhook, host  string
	running, again bool
}

// newPool returns a pool that runs most at a time. ctx is the life of the
// process.
func newPool(ctx context.Context, most int, run func(context.Context, string) error, log *slog.Logger) *pool {
	p := &pool{run: run, log: log, most: most, known: make(map[string]*job), running: make(map[string]int)}
	p.idle.L = &p.mu
	p.ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	return p
}

// kick has a webhook run, once more if it is running already. It returns at
// once. What there is no room for is left to webhook-retry.
func (p *pool) kick(webhook, to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.known[webhook]; j != nil {
		j.again = j.running
		return
	}
	if p.closed || len(p.known) >= mostKnown {
		return
	}
	j := &job{webhook: webhook, host: hostOf(to)}
	p.known[webhook] = j
	p.waiting = append(p.waiting, *j)
	p.start()
}

// hostOf returns whose endpoint a URL names: the domain that was registered,
// for whoever has one has as many hosts below it as they like.
func hostOf(to string) string {
	u, err := url.Parse(to)
	if err != nil {
		return to
	}
	host := strings.ToLower(u.Hostname())
	if domain, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil && net.ParseIP(host) == nil {
		return domain
	}
	return host
}

// start starts what there is room for. p.mu is held.
func (p *pool) start() {
	rest := p.waiting[:0]
	for _, w := range p.waiting {
		j := p.known[w.webhook]
		if p.closed || p.total >= p.most || p.running[j.host] >= perHost {
			rest = append(rest, w)
			continue
		}
		j.running = true
		p.running[j.host]++
		p.total++
		go p.do(j)
	}
	clear(p.waiting[len(rest):])
	p.waiting = rest
}

func (p *pool) do(j *job) {
	if err := proc.Protect(func() error { return p.run(p.ctx, j.webhook) }); err != nil {
		p.log.WarnContext(p.ctx, "a webhook is left to webhook-retry", "webhook", j.webhook, "err", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total--
	if p.running[j.host]--; p.running[j.host] == 0 {
		delete(p.running, j.host)
	}
	if j.running = false; j.again && !p.closed {
		j.again = false
		p.waiting = append(p.waiting, *j)
	} else {
		delete(p.known, j.webhook)
	}
	p.start()
	if p.total == 0 {
		p.idle.Broadcast()
	}
}

// wait waits until nothing waits or runs, or ctx is done.
func (p *pool) wait(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.idle.Broadcast()
	})()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.total > 0 && ctx.Err() == nil {
		p.idle.Wait()
	}
}

// close starts nothing more, and cuts off what takes too long to end.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	p.wait(ctx)
	p.stop()
	ctx, cancel = context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	p.wait(ctx)
}

type metrics struct {
	attempts          *prometheus.CounterVec
	dropped, disabled prometheus.Counter
	overdue           prometheus.Gauge
}

func newMetrics() *metrics {
	return &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_webhook_attempts_total", Help: "Attempts to deliver to webhooks, by what came of them: delivered, failed.",
		}, []string{"outcome"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_webhook_dropped_total", Help: "Deliveries to webhooks that were given up: too many waited, or for too long.",
		}),
		disabled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_webhook_disabled_total", Help: "Webhooks that were disabled after long failure, or because the endpoint is gone.",
		}),
		overdue: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidings_webhook_overdue_seconds", Help: "For how long the webhook had been due that was for longest when webhook-retry had sent what it could.",
		}),
	}
}
