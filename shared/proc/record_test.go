package proc

import (
	"log/slog"
	"slices"
	"testing"
)

func TestWhatIsReadAndUsedIsOnRecordOnce(t *testing.T) {
	env := NewEnv(func(string) string { return "" }, slog.New(slog.DiscardHandler))
	_, err := Share(env, "key", func() (int, func() error, error) { // which holds the lock of what is shared
		env.Uses("redis")
		env.Settings().String(Setting{Name: "B", Secret: true})
		return 1, nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	env.Uses(Outside)
	env.Uses("redis")
	env.Settings().Int(Setting{Name: "A"}, 0)
	env.Settings().String(Setting{Name: "B", Secret: true})
	if got := env.Used(); !slices.Equal(got, []Service{Outside, "redis"}) {
		t.Errorf("used are %v", got)
	}
	if got := env.Read(); len(got) != 2 || got[0].Name != "A" || got[1].Name != "B" || !got[1].Secret {
		t.Errorf("read were %v", got)
	}
}
