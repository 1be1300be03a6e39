package proc_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/proc"
)

func TestAnOpenerSaysAllThatIsWrong(t *testing.T) {
	env := proc.NewEnv(func(string) string { return "" }, slog.New(slog.DiscardHandler))
	opened := 0
	fails := func(context.Context, *proc.Env) (*int, error) { return new(int), errors.New("no database") }
	works := func(context.Context, *proc.Env) (*int, error) { opened++; return &opened, nil }
	got, err := proc.Build(t.Context(), env, func(o *proc.Opener) [3]*int {
		o.Int(proc.Setting{Name: "MOST", Need: true}, 1)
		return [3]*int{proc.Open(o, fails), proc.Open(o, fails), proc.Open(o, works)}
	})
	if err == nil || !strings.Contains(err.Error(), "MOST") || strings.Count(err.Error(), "no database") != 1 {
		t.Errorf("error = %v, want one of the setting and one of the database", err)
	}
	if got[0] != nil || got[1] != nil || got[2] != &opened {
		t.Errorf("opened %v", got)
	}
}

func TestAnOpenerHasNothingToSayOfWhatWorks(t *testing.T) {
	env := proc.NewEnv(func(string) string { return "7" }, slog.New(slog.DiscardHandler))
	got, err := proc.Build(t.Context(), env, func(o *proc.Opener) int {
		o.Fail(nil)
		return o.Int(proc.Setting{Name: "MOST"}, 1)
	})
	if got != 7 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
}
