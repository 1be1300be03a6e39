// Package relay hands the events of Kafka topics to functions over HTTP, in the
// dialect of Knative's KafkaSource, plus batches.
//
// Each function is a consumer group of its own, tidings.<function>. Each
// partition is worked on by itself, and in it the keys of its records by turns:
// a request has the next of each key, then those after them, as many as fit.
// What the function has not done is posted again until it is done or can never
// be. Committed is what is done without a gap. What follows from an answer is:
//
//	204, or not listed in the answer to a batch   done
//	422 or 415, as a problem of ours              to the dead letters
//	anything else, or no answer                   posted again, later
//
// An answer that a function of ours cannot have given, such as the page of a
// proxy, is no answer, whatever its status (package answer). KafkaSource, which
// takes each 2xx for done and buries what is answered by 400 or 403, is less
// careful.
//
// Posting again goes on for ever, with growing pauses, unless a budget is set
// (CONNECTOR_RETRY_FOR): as long as a dependency of a function is down its
// partitions stand still, what is held in memory is bounded, and no message that
// could be delivered ends among the dead letters.
//
// What holds for order: an event is not posted before all earlier ones of its
// key are done or dead, or are in the same request, before it. Within a request
// a function may do a later event and fail an earlier one, which then comes
// again after the later; a function to which the order of a key matters fails
// the later one too.
//
// A key with many records, or with costly ones, does not hold up the others: it
// gets its turn as they do. A function that has done enough for one request
// fails the rest as overloaded; the next request has no more of that key than
// was done, and begins with what it did not come to. An event on which a
// function always fails holds up its own key, until the partition is as far
// ahead of it as it may be.
//
// The package does not know which functions there are, nor what events say.
package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/retry"
)

var (
	settingRoutes   = proc.Setting{Name: "CONNECTOR_ROUTES", Default: "tidings.messages>persist-history,tidings.messages>persist-inbox,tidings.deliveries>push-fanout,tidings.deliveries>notify-away,tidings.deliveries>webhook-deliver", Doc: "which topics go to which functions, <topic>><function>, separated by commas"}
	settingEvents   = proc.Setting{Name: "CONNECTOR_BATCH_EVENTS", Default: "500", Doc: "most events in one request to a function"}
	settingBytes    = proc.Setting{Name: "CONNECTOR_BATCH_BYTES", Default: "1048576", Doc: "most bytes of data in one request to a function, unless a single event has more; below half of FUNCTION_MAX_BODY"}
	settingWindow   = proc.Setting{Name: "CONNECTOR_WINDOW_BYTES", Default: "67108864", Doc: "most bytes of records that wait in the connector, beyond the last fetch of each partition: with more, a flood holds up its partition's neighbours for less time"}
	settingTimeout  = proc.Setting{Name: "CONNECTOR_TIMEOUT", Default: "15s", Doc: "how long a function may take over a request before it is posted again; more than FUNCTION_TIMEOUT"}
	settingRetryFor = proc.Setting{Name: "CONNECTOR_RETRY_FOR", Doc: "how long an event is posted again while the function is overloaded or down, before it goes to the dead letters; unset, for ever: accepted messages wait for an outage to end"}
)

// groupPrefix and a function's name make the name of its consumer group.
const groupPrefix = "tidings."

// Relay is what a connector does.
type Relay struct {
	env         *proc.Env
	producer    *kafka.Producer
	poster      *fn.Poster
	urls        fn.URLs
	routes      []route
	timers      []timer
	deadLetters string // topic
	events      int    // most in a request
	bytes       int    // likewise
	window      int    // most bytes that wait
	held        atomic.Int64
	retryFor    time.Duration
	metrics     *metrics

	mu     sync.Mutex
	joined map[string]bool // by function
}

// route is what goes to a function.
type route struct {
	function string
	topics   []string
}

// Run relays until ctx is done. What goes wrong with Kafka and functions is
// tried again; the error tells of settings.
func Run(ctx context.Context, env *proc.Env) error {
	r, err := open(ctx, env)
	if err != nil {
		return err
	}
	return r.run(ctx)
}

func open(ctx context.Context, env *proc.Env) (*Relay, error) {
	set := env.Settings()
	r := &Relay{
		env:         env,
		deadLetters: event.TopicDeadLetters,
		events:      set.Int(settingEvents, 1),
		bytes:       set.Int(settingBytes, 1),
		window:      set.Int(settingWindow, 1),
		retryFor:    set.Duration(settingRetryFor),
		joined:      make(map[string]bool),
	}
	timeout := set.Duration(settingTimeout)
	list, timers := set.List(settingRoutes), set.List(settingTimers)
	urls, urlErr := fn.OpenURLs(env)
	if err := errors.Join(set.Err(), urlErr); err != nil {
		return nil, err
	}
	r.urls = urls
	var err error
	if r.poster, err = fn.OpenPoster(env, timeout); err != nil {
		return nil, err
	}
	if r.routes, err = parseRoutes(list); err != nil {
		return nil, err
	}
	if r.timers, err = parseTimers(timers); err != nil {
		return nil, err
	}
	if r.producer, err = kafka.Open(ctx, env); err != nil {
		return nil, err
	}
	r.metrics, err = proc.Share(env, "relay.metrics", func() (*metrics, func() error, error) { return newMetrics(env), nil, nil })
	return r, err
}

// parseRoutes reads <topic>><function>, which may name a function several times.
func parseRoutes(list []string) ([]route, error) {
	var routes []route
	for _, s := range list {
		topic, function, ok := strings.Cut(s, ">")
		topic, function = strings.TrimSpace(topic), strings.TrimSpace(function)
		if !ok || topic == "" || function == "" || strings.ContainsAny(function, "/>?# ") {
			return nil, fmt.Errorf("setting %s: %q is not <topic>><function>", settingRoutes.Name, s)
		}
		i := slices.IndexFunc(routes, func(r route) bool { return r.function == function })
		if i < 0 {
			i = len(routes)
			routes = append(routes, route{function: function})
		}
		if slices.Contains(routes[i].topics, topic) {
			return nil, fmt.Errorf("setting %s: %q is there twice", settingRoutes.Name, s)
		}
		routes[i].topics = append(routes[i].topics, topic)
	}
	if len(routes) == 0 {
		return nil, fmt.Errorf("setting %s names no route", settingRoutes.Name)
	}
	return routes, nil
}

func (r *Relay) run(ctx context.Context) error {
	if !r.ensureTopics(ctx) {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { r.runTimers(ctx); return nil })
	for _, route := range r.routes {
		f := &function{Relay: r, name: route.function, url: r.urls.Of(route.function)}
		g.Go(func() error {
			return kafka.Consumer{
				Group: groupPrefix + f.name, Topics: route.topics,
				Work: f.work, Joined: f.isJoined,
			}.Run(ctx, r.env)
		})
	}
	return g.Wait()
}

// ensureTopics creates the topics of Tidings as soon as Kafka lets it. It
// reports false if ctx is done before.
func (r *Relay) ensureTopics(ctx context.Context) bool {
	for failures := 1; ; failures++ {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := kafka.EnsureTopics(try, r.env)
		cancel()
		if err == nil {
			return true
		}
		if failures == 1 {
			r.env.Log.Warn("waiting for Kafka", "err", err)
		}
		if retry.Sleep(ctx, pauses.Full(failures)) != nil {
			return false
		}
	}
}

// ready returns why the connector is not at work, or nil.
func (r *Relay) ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, route := range r.routes {
		if !r.joined[route.function] {
			return errors.New("not in the consumer group of " + route.function)
		}
	}
	return nil
}
