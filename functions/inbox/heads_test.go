package inbox

import (
	"fmt"
	"log/slog"
	"maps"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

func TestHeads(t *testing.T) {
	held := with(at(ann, 1, 2, 3), at(bob, 1))
	for _, tt := range []struct {
		name  string
		hints map[string]int64
		down  error // of the hints
		store error
		ask   event.Heads
		want  map[string]int64
		learn map[string]int64 // the hints afterwards
		err   im.Kind
	}{
		{
			name: "of whom nothing is known the store is asked, and the hints learn",
			ask:  event.Heads{Users: []string{ann, bob, cem}},
			want: map[string]int64{ann: 3, bob: 1, cem: 0}, learn: map[string]int64{ann: 3, bob: 1, cem: 0},
		},
		{
			name:  "hints are believed",
			hints: map[string]int64{ann: 2, bob: 1},
			store: errLost,
			ask:   event.Heads{Users: []string{ann, bob}},
			want:  map[string]int64{ann: 2, bob: 1}, learn: map[string]int64{ann: 2, bob: 1},
		},
		{
			name:  "unless it is to be exact",
			hints: map[string]int64{ann: 2, cem: 7},
			ask:   event.Heads{Users: []string{ann, cem}, Exact: true},
			want:  map[string]int64{ann: 3, cem: 0}, learn: map[string]int64{ann: 3, cem: 7},
		},
		{
			name: "hints that are down are done without",
			down: errLost,
			ask:  event.Heads{Users: []string{ann, ann}},
			want: map[string]int64{ann: 3},
		},
		{name: "nobody", want: map[string]int64{}},
		{name: "a store that is down", store: errLost, ask: event.Heads{Users: []string{ann}}, err: im.Unavailable},
		{name: "who is no user", ask: event.Heads{Users: []string{"x"}}, err: im.Invalid},
		{name: "too many", ask: event.Heads{Users: make([]string, maxHeads+1)}, err: im.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &notes{heads: maps.Clone(tt.hints), err: tt.down}
			f := headsOf(&shelf{entries: held, err: tt.store}, h, slog.New(slog.DiscardHandler))
			got := f(t.Context(), []event.Heads{tt.ask, {Users: []string{"no user"}}})
			if len(got) != 2 || im.KindOf(got[1].Err) != im.Invalid {
				t.Fatalf("replies = %v", got)
			}
			if tt.err != "" {
				if im.KindOf(got[0].Err) != tt.err {
					t.Errorf("error = %v, want kind %s", got[0].Err, tt.err)
				}
				return
			}
			if got[0].Err != nil || !maps.Equal(got[0].Value.Heads, tt.want) {
				t.Errorf("heads = %v, %v; want %v", got[0].Value.Heads, got[0].Err, tt.want)
			}
			if fmt.Sprint(h.heads) != fmt.Sprint(tt.learn) {
				t.Errorf("the hints are %v, want %v", h.heads, tt.learn)
			}
		})
	}
}
