package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/webhook"
)

// an endpoint fails with messages by their conversation and number.
type endpoint struct {
	mu    sync.Mutex
	fails map[string]*webhook.Failure // by id of the delivery
	got   []string
}

func (e *endpoint) send(_ context.Context, _, _, id string, _ time.Time, _ []byte, _ ...string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.got = append(e.got, id)
	if f := e.fails[id]; f != nil {
		return f
	}
	return nil
}

func testRunner(e *endpoint) *runner {
	return &runner{
		send: e.send, open: func(_, sealed string) (string, error) { return sealed, nil }, now: time.Now,
		pause: pauses.Bound, disable: time.Hour, metrics: newMetrics(),
	}
}

// waiting are deliveries named by their conversation and number: "a1".
func waiting(names ...string) (run im.WebhookRun) {
	run.ID, run.Secret = "w", "s"
	for i, n := range names {
		run.Deliveries = append(run.Deliveries, im.WebhookDelivery{
			Conversation: im.Conversation(n[:1]), Place: im.Place{Time: im.Time(i), ID: n}, Message: []byte(`{}`),
		})
	}
	return run
}

func TestRuns(t *testing.T) {
	refuses, fails := &webhook.Failure{Status: 400, Reason: "it answered 400"}, &webhook.Failure{Reason: "it could not be reached"}
	for _, tt := range []struct {
		name     string
		waits    []string
		fails    map[string]*webhook.Failure
		before   int // failures in a row
		done     []string
		retry    []string
		failures int
		after    time.Duration // at least, and no more than an hour
		gone     bool
	}{
		{"all arrive", []string{"a1", "b1", "a2"}, nil, 3, []string{"a1", "a2", "b1"}, nil, 0, 0, false},
		{"a message that is refused holds up its conversation", []string{"a1", "b1", "a2", "b2"}, map[string]*webhook.Failure{"a1": refuses}, 0,
			[]string{"b1", "b2"}, []string{"a1"}, 0, 0, false},
		{"one conversation is all there is", []string{"a1", "a2"}, map[string]*webhook.Failure{"a1": refuses}, 4, nil, []string{"a1"}, 5, 0, false},
		{"an endpoint that is not there is left alone", []string{"a1", "a2"}, map[string]*webhook.Failure{"a1": fails}, 0, nil, []string{"a1"}, 1, firstPause, false},
		{"for longer each time", []string{"a1"}, map[string]*webhook.Failure{"a1": fails}, 3, nil, []string{"a1"}, 4, 8 * firstPause, false},
		{"and never for more than an hour", []string{"a1"}, map[string]*webhook.Failure{"a1": fails}, 99, nil, []string{"a1"}, 100, time.Hour, false},
		{"it fails after something arrived", []string{"a1", "a2"}, map[string]*webhook.Failure{"a2": fails}, 7, []string{"a1"}, []string{"a2"}, 1, firstPause, false},
		{"it says for how long", []string{"a1"}, map[string]*webhook.Failure{"a1": {Status: 503, RetryAfter: 10 * time.Minute}}, 0, nil, []string{"a1"}, 1, 10 * time.Minute, false},
		{"it asks for too long", []string{"a1"}, map[string]*webhook.Failure{"a1": {Status: 429, RetryAfter: 24 * time.Hour}}, 0, nil, []string{"a1"}, 1, time.Hour, false},
		{"it is gone", []string{"a1"}, map[string]*webhook.Failure{"a1": {Status: 410}}, 0, nil, []string{"a1"}, 1, firstPause, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := &endpoint{fails: map[string]*webhook.Failure{}}
			for name, f := range tt.fails {
				e.fails["w_"+name] = f
			}
			run := waiting(tt.waits...)
			run.Failures = tt.before
			out, err := testRunner(e).deliver(t.Context(), run, time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			var done, retry []string
			for _, p := range out.Done {
				done = append(done, p.ID)
			}
			for _, r := range out.Retry {
				retry = append(retry, r.Place.ID)
				if r.After < firstPause/2 || r.After > time.Hour {
					t.Errorf("%s is tried again after %s", r.Place.ID, r.After)
				}
			}
			slices.Sort(done)
			slices.Sort(retry)
			if !slices.Equal(done, tt.done) || !slices.Equal(retry, tt.retry) || out.Failures != tt.failures || out.Gone != tt.gone ||
				out.After < tt.after || out.After > time.Hour || tt.after == 0 && out.After != 0 {
				t.Errorf("done %v, again %v: %+v", done, retry, out)
			}
			for c := range map[byte]bool{'a': true, 'b': true} {
				var order []string
				for _, id := range e.got {
					if id[2] == c {
						order = append(order, id)
					}
				}
				if !slices.IsSorted(order) {
					t.Errorf("sent in the order %v", order)
				}
			}
		})
	}
}

func TestAnEndpointThatRefusesThreeConversationsIsLeftAlone(t *testing.T) {
	e := &endpoint{fails: map[string]*webhook.Failure{}}
	var names []string
	for i := range 26 {
		name := fmt.Sprintf("%c1", 'a'+i)
		names = append(names, name)
		e.fails["w_"+name] = &webhook.Failure{Status: 500}
	}
	out, err := testRunner(e).deliver(t.Context(), waiting(names...), time.Now().Add(time.Hour))
	if err != nil || len(e.got) < mostRefused || len(e.got) >= mostRefused+lanes || out.After == 0 {
		t.Errorf("%d attempts, %+v, %v", len(e.got), out, err)
	}
}

func TestWhatIsCutOffCountsAsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := testRunner(&endpoint{})
	r.send = func(ctx context.Context, _, _, _ string, _ time.Time, _ []byte, _ ...string) error {
		cancel()
		return &webhook.Failure{Reason: "the attempt was cut off"}
	}
	run := waiting("a1", "a2")
	run.Failures = 2
	out, err := r.deliver(ctx, run, time.Now().Add(time.Hour))
	if err != nil || len(out.Retry) != 0 || len(out.Done) != 0 || out.Failures != 2 || out.Failure != "" {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestASecretThatCannotBeReadIsAnErrorAndNothingIsSent(t *testing.T) {
	e := &endpoint{}
	r := testRunner(e)
	r.open = func(string, string) (string, error) { return "", errors.New("no such key") }
	if _, err := r.deliver(t.Context(), waiting("a1"), time.Now().Add(time.Hour)); err == nil || len(e.got) != 0 {
		t.Errorf("%v, %v", err, e.got)
	}
}
