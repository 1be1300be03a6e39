package relay

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/proc"
)

const accepted = "t"

// site is a Kafka with topics of the test's own, and a function that events of
// one of them are for.
type site struct {
	t       testing.TB
	brokers []string
	env     *proc.Env
	ring    *event.Keyring
	topic   string
	dead    string // topic
	fn      *function1
}

// function1 is a function behind HTTP, and what it has been sent.
type function1 struct {
	name string
	srv  *httptest.Server

	mu       sync.Mutex
	handle   func([]event.Event) error                     // of the function; nil does all
	front    func(http.ResponseWriter, *http.Request) bool // before the function; true has answered
	requests [][]string                                    // ids of those that came to handle
	done     []event.Event
	now, top int // requests under way: now, and at most
}

func newSite(t testing.TB, partitions int) *site {
	t.Helper()
	return siteOn(t, partitions, imtest.Kafka(t)...)
}

func siteOn(t testing.TB, partitions int, brokers ...string) *site {
	t.Helper()
	s := &site{t: t, brokers: brokers}
	s.fn = newFunction(t, s.vars())
	s.env = imtest.Env(t, s.vars())
	var err error
	if s.ring, err = fn.Keyring(s.env); err != nil {
		t.Fatal(err)
	}
	s.topic, s.dead = s.newTopic(partitions), s.newTopic(1)
	return s
}

// vars are the settings of a connector, with more at the end.
func (s *site) vars(more ...string) map[string]string {
	vars := map[string]string{
		"KAFKA_BROKERS": strings.Join(s.brokers, ","),
		"SEAL_KEYS":     "k:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)),
	}
	if s.fn != nil {
		vars["FUNCTION_URL"] = s.fn.srv.URL + "/{function}"
		vars["CONNECTOR_ROUTES"] = s.topic + ">" + s.fn.name
	}
	for i := 0; i < len(more); i += 2 {
		vars[more[i]] = more[i+1]
	}
	return vars
}

func (s *site) newTopic(partitions int) string {
	s.t.Helper()
	name := imtest.Name()
	res, err := s.admin().CreateTopics(s.t.Context(), &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{
		Topic: name, NumPartitions: partitions, ReplicationFactor: 1,
	}}})
	if err != nil || res.Errors[name] != nil {
		s.t.Fatal(err, res)
	}
	return name
}

func (s *site) configure(topic, name, value string) {
	s.t.Helper()
	res, err := s.admin().IncrementalAlterConfigs(s.t.Context(), &kafkago.IncrementalAlterConfigsRequest{
		Resources: []kafkago.IncrementalAlterConfigsRequestResource{{ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafkago.IncrementalAlterConfigsRequestConfig{{Name: name, Value: value}}}},
	})
	if err != nil || res.Resources[0].Error != nil {
		s.t.Fatal(err, res)
	}
}

func (s *site) admin() *kafkago.Client {
	return &kafkago.Client{Addr: kafkago.TCP(s.brokers...), Timeout: time.Minute}
}

func newFunction(t testing.TB, vars map[string]string) *function1 {
	t.Helper()
	f := &function1{name: imtest.Name()}
	h, err := fn.Mount(t.Context(), imtest.Env(t, vars), fn.Func{Name: f.name, Accepts: accepted,
		New: func(context.Context, *proc.Env) (fn.Handler, error) { return fn.On(f.on), nil }})
	if err != nil {
		t.Fatal(err)
	}
	f.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		front := f.front
		f.now++
		f.top = max(f.top, f.now)
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.now--
		}()
		if front == nil || !front(w, r) {
			h.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(f.srv.Close)
	return f
}

func (f *function1) on(_ context.Context, events []event.Event) error {
	ids := make([]string, len(events))
	for i := range events {
		ids[i] = events[i].ID
	}
	f.mu.Lock()
	f.requests = append(f.requests, ids)
	handle := f.handle
	f.mu.Unlock()
	var err error
	if handle != nil {
		err = handle(events)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	each, ok := err.(fn.Each)
	for i := range events {
		if err == nil || ok && each[i] == nil {
			f.done = append(f.done, events[i])
		}
	}
	return err
}

// behave sets what the function does from now on.
func (f *function1) behave(handle func([]event.Event) error, front func(http.ResponseWriter, *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handle, f.front = handle, front
}

// ids returns the ids of the events that are done, in the order in which they
// were done first, and how many were done in all.
func (f *function1) ids() (different []string, total int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := make(map[string]bool)
	for i := range f.done {
		if !seen[f.done[i].ID] {
			seen[f.done[i].ID] = true
			different = append(different, f.done[i].ID)
		}
	}
	return different, len(f.done)
}

func (f *function1) count() int {
	ids, _ := f.ids()
	return len(ids)
}

// asked returns how many requests came to the function itself.
func (f *function1) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}

func (f *function1) inOrder(t testing.TB) {
	t.Helper()
	last := make(map[string]int)
	ids, _ := f.ids()
	for _, id := range ids {
		key, n, _ := strings.Cut(id, "/")
		i, err := strconv.Atoi(n)
		if err != nil {
			t.Fatal(err)
		}
		if prev, ok := last[key]; ok && i < prev {
			t.Fatalf("%s was done after %d", id, prev)
		}
		last[key] = i
	}
}

// event returns a sealed event.
func (s *site) event(key string, n int) event.Event {
	e := event.Event{ID: fmt.Sprintf("%s/%d", key, n), Type: accepted, Source: "test", Subject: key, PartitionKey: key,
		Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))}
	s.ring.Sign(&e)
	return e
}

// publish writes events of a key, from to to.
func (s *site) publish(key string, from, to int) {
	s.t.Helper()
	var events []event.Event
	for n := from; n < to; n++ {
		events = append(events, s.event(key, n))
	}
	s.publishAll(events...)
}

func (s *site) publishAll(events ...event.Event) {
	s.t.Helper()
	p, err := kafka.Open(s.t.Context(), s.env)
	if err == nil {
		err = p.Publish(s.t.Context(), s.topic, events)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) write(topic string, records ...kafka.Record) {
	s.t.Helper()
	p, err := kafka.Open(s.t.Context(), s.env)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, err := range p.Write(s.t.Context(), topic, records) {
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// relay starts a connector in an environment of its own. stop waits for its end.
func (s *site) relay(more ...string) (r *Relay, stop func()) {
	s.t.Helper()
	env := imtest.Env(s.t, s.vars(more...))
	r, err := open(s.t.Context(), env)
	if err != nil {
		s.t.Fatal(err)
	}
	r.deadLetters = s.dead
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				s.t.Errorf("the connector ended: %v", err)
			}
		case <-time.After(proc.Grace):
			s.t.Error("the connector has not ended within its grace")
		}
	})
	s.t.Cleanup(stop)
	return r, stop
}

// letters returns the dead letters.
func (s *site) letters() []kafka.Record {
	s.t.Helper()
	var all []kafka.Record
	err := kafka.Scan(s.t.Context(), s.env, s.dead, nil, func(r kafka.Record) error {
		all = append(all, r)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// committed returns the sum of the offsets that the function's group has
// committed: how many records are done.
func (s *site) committed() int64 {
	s.t.Helper()
	offsets, err := kafka.Committed(s.t.Context(), s.env, groupPrefix+s.fn.name, s.topic)
	if err != nil {
		s.t.Fatal(err)
	}
	var sum int64
	for _, o := range offsets {
		sum += o
	}
	return sum
}
