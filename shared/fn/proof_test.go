package fn_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// A stolen access token, or one of a session that began long ago, does not do
// what would outlive it. What is asked for is told as RFC 9470 has it.
func TestP6WhatAsksForAProofIsNotDoneByAnOldSignIn(t *testing.T) {
	issuer, pub := keys(t)
	done := 0
	f := func(proof fn.Proof) fn.Func {
		return fn.Func{Name: "f", Accepts: "t", Proof: proof,
			New: handler(fn.CallAs(open{}, func(context.Context, im.Caller, struct {
				Name string `json:"name"`
				On   any    `json:"on"`
			}) (ask, error) {
				done++
				return ask{}, nil
			}))}
	}
	for _, tt := range []struct {
		name  string
		proof fn.Proof
		body  string
		asked bool
	}{
		{"no proof is asked for", fn.Proof{}, `{"name":"x"}`, false},
		{"it is asked for inside", fn.AskedInside(), `{"name":"x"}`, false},
		{"always", fn.Fresh(), `{"name":"x"}`, true},
		{"with a field that is set", fn.FreshWith("on"), `{"on":true}`, true},
		{"with a field that is empty", fn.FreshWith("name", "on"), `{"on":""}`, true},
		{"with one of several fields", fn.FreshWith("name", "on"), `{"name":"x"}`, true},
		{"with a field that is not there", fn.FreshWith("on"), `{"name":"x"}`, false},
		{"with a field that is null", fn.FreshWith("on"), `{"on":null}`, false},
		{"with a field of that value", fn.FreshTo("name", "x"), `{"name":"x"}`, true},
		{"with a field of that value, written otherwise", fn.FreshTo("name", "x"), `{"name":"\u0078"}`, true},
		{"with a field of another value", fn.FreshTo("name", "x"), `{"name":"xy"}`, false},
		{"without the field that might have that value", fn.FreshTo("name", "x"), `{"on":"x"}`, false},
		{"with a field that is false", fn.FreshWith("on"), `{"on": false}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := newEnv(t, map[string]string{"TOKEN_PUBLIC_KEYS": pub, "FRESH_SIGN_IN": "90s"})
			mux, err := fn.Mount(t.Context(), env, f(tt.proof))
			if err != nil {
				t.Fatal(err)
			}
			srv := httptest.NewServer(mux)
			defer srv.Close()
			for proved, fresh := range map[im.Time]bool{
				0: false, im.TimeOf(time.Now().Add(-2 * time.Minute)): false, im.TimeOf(time.Now().Add(-time.Minute)): true,
			} {
				jwt, _, err := issuer.Issue(im.Caller{User: im.NewID(), Session: im.NewID(), Device: "d", Platform: "web", Proved: proved})
				if err != nil {
					t.Fatal(err)
				}
				done = 0
				c := &caller{t: t, srv: srv, jwt: jwt}
				got, header := c.header("f", "", tt.body)
				challenge := header.Get("WWW-Authenticate")
				if refused := tt.asked && !fresh; refused {
					if done != 0 || challenge != `Bearer error="insufficient_user_authentication", error_description="a more recent proof of who is calling is needed", max_age="90"` {
						t.Errorf("proved at %v: done %d times, %s, WWW-Authenticate: %s", proved, done, got, challenge)
					}
				} else if done != 1 || challenge != "" {
					t.Errorf("proved at %v: done %d times, %s", proved, done, got)
				}
			}
		})
	}
}

// A bot signs in by its token, as often as it likes: a proof of it would say nothing.
func TestABotIsAskedForNoProof(t *testing.T) {
	issuer, pub := keys(t)
	f := fn.Func{Name: "group-role", Accepts: "t", Scope: im.GroupsWrite, Proof: fn.FreshTo("role", "owner"),
		New: handler(fn.CallAs(open{}, func(context.Context, im.Caller, struct {
			Role string `json:"role"`
		}) (ask, error) {
			return ask{}, nil
		}))}
	mux, err := fn.Mount(t.Context(), newEnv(t, map[string]string{"TOKEN_PUBLIC_KEYS": pub}), f)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for scope, want := range map[string]string{string(im.GroupsWrite): "200", "": "401"} {
		jwt, _, err := issuer.Issue(im.Caller{User: im.NewID(), Session: im.NewID(), Device: "d", Platform: "bot", Scope: scope})
		if err != nil {
			t.Fatal(err)
		}
		c := &caller{t: t, srv: srv, jwt: jwt}
		if got, _ := c.header(f.Name, "", `{"role":"owner"}`); !strings.HasPrefix(got, want) {
			t.Errorf("with the scope %q: %s", scope, got)
		}
	}
}

func TestWhoAsksForAProofKnowsWhoCalls(t *testing.T) {
	f := fn.Func{Name: "f", Accepts: event.CallType("f"), Proof: fn.Fresh(),
		New: handler(fn.Call(func(context.Context, ask) (ask, error) { return ask{}, nil }))}
	if _, err := fn.Mount(t.Context(), newEnv(t, nil), f); err == nil {
		t.Error("it starts")
	}
}
