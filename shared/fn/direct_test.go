package fn_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// site mounts functions and returns a poster beside them, one elsewhere, and the
// URL at which both look for them.
func site(t *testing.T, vars map[string]string, handlers map[string]fn.Handler) (beside, elsewhere *fn.Poster, url string) {
	t.Helper()
	env, other := newEnv(t, vars), newEnv(t, vars)
	var funcs []fn.Func
	for name, h := range handlers {
		funcs = append(funcs, fn.Func{Name: name, Accepts: "t", New: handler(h)})
	}
	mux, err := fn.Mount(t.Context(), env, funcs...)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	if beside, err = fn.OpenPoster(env, imtest.Patience(t)); err != nil {
		t.Fatal(err)
	}
	if elsewhere, err = fn.OpenPoster(other, imtest.Patience(t)); err != nil {
		t.Fatal(err)
	}
	return beside, elsewhere, srv.URL
}

// A function answers who is in its process as it answers over HTTP.
func TestAFunctionOfTheSameProcessAnswersAsOverHTTP(t *testing.T) {
	handlers := map[string]fn.Handler{
		"done": fn.On(func(context.Context, []ask) error { return nil }),
		"each": fn.On(func(_ context.Context, asks []ask) error {
			failed := make(fn.Each, len(asks))
			for i := range asks {
				if i%2 == 1 {
					failed[i] = &im.Error{Kind: im.Overloaded, Msg: "later", RetryAfter: 3 * time.Second}
				}
			}
			return failed.Or()
		}),
		"answers": fn.Answer(func(_ context.Context, asks []ask) []fn.Reply[ask] {
			out := make([]fn.Reply[ask], len(asks))
			for i := range asks {
				out[i].Value = asks[i]
			}
			return out
		}),
		"panics": fn.On(func(context.Context, []ask) error { panic("at the handler") }),
		"lazy": fn.On(func(ctx context.Context, _ []ask) error {
			<-ctx.Done()
			return ctx.Err()
		}),
	}
	for _, k := range []im.Kind{im.Invalid, im.Denied, im.NotFound, im.Unavailable, im.Overloaded, im.Internal} {
		handlers["fails-"+string(k)] = fails(k)
	}
	beside, elsewhere, url := site(t, map[string]string{"FUNCTION_TIMEOUT": "100ms"}, handlers)
	good, unsealed, other := sealed(t, "1", ask{"a"}), sealed(t, "2", ask{"b"}), sealed(t, "3", ask{"c"})
	unsealed.Seal = ""
	other.Type = "test.other.v1"
	for name := range handlers {
		for what, events := range map[string][]event.Event{
			"one": {good}, "several": {good, sealed(t, "4", ask{"d"}), sealed(t, "5", ask{"e"})},
			"one that is not sealed": {unsealed}, "one of another type": {other}, "good and bad": {good, unsealed, other},
		} {
			call := func(p *fn.Poster) ([]fn.Result, error) {
				if name == "answers" {
					return p.Ask(t.Context(), name, url+"/"+name, events)
				}
				return p.Deliver(t.Context(), name, url+"/"+name, events)
			}
			want, wantErr := call(elsewhere)
			got, err := call(beside)
			for i := range want { // the answer to one event ends with a line, and names its status twice
				want[i].Data = []byte(strings.TrimSpace(string(want[i].Data)))
				if got[i].Data == nil {
					got[i].Data = []byte{}
				}
				if want[i].Error != nil {
					want[i].Error.Status = 0
				}
			}
			if !reflect.DeepEqual(got, want) || (err == nil) != (wantErr == nil) {
				t.Errorf("%s, %s: %+v, %v\nover HTTP %+v, %v", name, what, got, err, want, wantErr)
			}
		}
	}
}

// Who is in the process gets none of the slots that there are not.
func TestAFunctionOfTheSameProcessHasNoMoreSlots(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	beside, _, url := site(t, map[string]string{"FUNCTION_MAX_IN_FLIGHT": "1"}, map[string]fn.Handler{
		"slow": fn.On(func(context.Context, []ask) error { entered <- struct{}{}; <-leave; return nil }),
	})
	first := make(chan error, 1)
	go func() {
		_, err := beside.Deliver(t.Context(), "slow", url+"/slow", []event.Event{sealed(t, "1", ask{})})
		first <- err
	}()
	<-entered
	results, err := beside.Deliver(t.Context(), "slow", url+"/slow", []event.Event{sealed(t, "2", ask{})})
	if err != nil || results[0].Status != 429 || results[0].RetryAfter == 0 {
		t.Errorf("%+v, %v", results, err)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// Who has given up waiting is told so, and what was posted may be posted again as
// it was.
func TestWhoWaitsInTheSameProcessWaitsAsLongAsOverHTTP(t *testing.T) {
	env := newEnv(t, nil)
	h := fn.On(func(ctx context.Context, _ []ask) error { <-ctx.Done(); return ctx.Err() })
	if _, err := fn.Mount(t.Context(), env, fn.Func{Name: "lazy", Accepts: "t", New: handler(h)}); err != nil {
		t.Fatal(err)
	}
	p, err := fn.OpenPoster(env, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	e := sealed(t, "1", ask{"a"})
	before := e
	if _, err := p.Deliver(t.Context(), "lazy", "http://127.0.0.1:1/lazy", []event.Event{e}); !errors.Is(err, im.Unavailable) {
		t.Errorf("waiting for longer than it may: %v", err)
	}
	if !reflect.DeepEqual(e, before) {
		t.Errorf("the event became %+v", e)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Deliver(ended, "lazy", "http://127.0.0.1:1/lazy", []event.Event{e}); !errors.Is(err, im.Unavailable) {
		t.Errorf("after the end: %v", err)
	}
}

// What is called as a user calls it is called over HTTP: it asks for a token.
func TestWhatAsksForATokenIsCalledOverHTTP(t *testing.T) {
	_, pub := keys(t)
	env := newEnv(t, map[string]string{"TOKEN_PUBLIC_KEYS": pub})
	f := fn.CallAs(&memory{}, func(context.Context, im.Caller, ask) (ask, error) {
		t.Error("somebody without a token called")
		return ask{}, nil
	})
	if _, err := fn.Mount(t.Context(), env, fn.Func{Name: "f", Accepts: "t", New: handler(f)}); err != nil {
		t.Fatal(err)
	}
	p, err := fn.OpenPoster(env, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Ask(t.Context(), "f", "http://127.0.0.1:1/f", []event.Event{sealed(t, "1", ask{})}); !errors.Is(err, im.Unavailable) {
		t.Errorf("where nobody listens: %v", err)
	}
}
