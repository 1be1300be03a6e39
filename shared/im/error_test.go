package im

import (
	"errors"
	"fmt"
	"testing"
)

func TestTheDependencyToBlameIsFoundWhereverItIs(t *testing.T) {
	store := &Error{Kind: Unavailable, Msg: "the store does not answer", Dependency: "s3"}
	plain := errors.New("plain")
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"nothing", nil, ""},
		{"nobody's", Wrap(Unavailable, plain, "down"), ""},
		{"itself", store, "s3"},
		{"wrapped", fmt.Errorf("sweeping: %w", Wrap(Unavailable, store, "down")), "s3"},
		{"the second that was joined", errors.Join(plain, Errorf(Invalid, "wrong"), fmt.Errorf("sweeping: %w", store)), "s3"},
	} {
		if got := DependencyOf(tt.err); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
