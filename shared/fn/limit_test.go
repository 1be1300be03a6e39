package fn_test

import (
	"context"
	"errors"
	"testing"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

type times map[string]int

func (t times) Allow(_ context.Context, user string) error {
	if t[user]--; t[user] < 0 {
		return im.Errorf(im.Overloaded, "too often")
	}
	return nil
}

func TestP7WhatIsLimitedIsLimitedByUser(t *testing.T) {
	const ann, bob, eve = "ann", "bob", "eve"
	done := 0
	f := fn.Limited(times{ann: 2, bob: 1}, func(context.Context, im.Caller, struct{}) (int, error) { done++; return done, nil })
	for i, tt := range []struct {
		user string
		want error
	}{{ann, nil}, {ann, nil}, {ann, im.Overloaded}, {bob, nil}, {eve, im.Overloaded}} {
		if _, err := f(t.Context(), im.Caller{User: tt.user}, struct{}{}); !errors.Is(err, tt.want) {
			t.Errorf("%d: %v, want %v", i, err, tt.want)
		}
	}
	if done != 3 {
		t.Errorf("done %d times", done)
	}
}
