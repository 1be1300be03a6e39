package proc

import (
	"errors"
	"strings"
	"testing"
)

func TestProtectMakesAnErrorOfAPanic(t *testing.T) {
	var none []int
	err := Protect(func() error { _ = none[len(none)]; return nil })
	if err == nil || !strings.Contains(err.Error(), "index out of range") || !strings.Contains(err.Error(), "protect_test.go") {
		t.Errorf("got %v", err)
	}
	bad := errors.New("bad")
	if err := Protect(func() error { return bad }); err != bad {
		t.Errorf("got %v", err)
	}
	if err := Protect(func() error { return nil }); err != nil {
		t.Errorf("got %v", err)
	}
}
