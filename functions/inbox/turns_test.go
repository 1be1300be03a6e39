package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

func TestTurns(t *testing.T) {
	t.Run("whoever wants what another has waits, others do not", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var tt turns
			end, err := tt.take(t.Context(), []string{ann, bob})
			if err != nil {
				t.Fatal(err)
			}
			free, err := tt.take(t.Context(), []string{cem})
			if err != nil {
				t.Fatal(err)
			}
			had := make(chan struct{})
			go func() {
				end, err := tt.take(t.Context(), []string{bob, cem})
				if err != nil {
					t.Error(err)
				}
				close(had)
				end()
			}()
			for _, release := range []func(){end, free} {
				synctest.Wait()
				select {
				case <-had:
					t.Error("two have their turn at once")
				default:
				}
				release()
			}
			<-had
			synctest.Wait()
			if len(tt.held) > 0 {
				t.Errorf("turns are held for ever: %v", tt.held)
			}
		})
	})
	t.Run("whose time is over gives back what they had", func(t *testing.T) {
		var tt turns
		end, err := tt.take(t.Context(), []string{bob})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		give, err := tt.take(ctx, []string{ann, bob, cem})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v", err)
		}
		give()
		end()
		if len(tt.held) > 0 {
			t.Errorf("turns are held for ever: %v", tt.held)
		}
	})
	t.Run("many at once all have theirs, one at a time", func(t *testing.T) {
		var tt turns
		var all sync.WaitGroup
		counts := make([]int, 10) // not atomic: the race detector is watching
		for w := range 8 {
			all.Go(func() {
				for r := range 200 {
					var users []string
					for u := range counts {
						if (u*7+w+r)%3 == 0 {
							users = append(users, fmt.Sprint(u))
						}
					}
					end, err := tt.take(t.Context(), users)
					if err != nil {
						t.Error(err)
					}
					for u := range counts {
						if slices.Contains(users, fmt.Sprint(u)) {
							counts[u]++
						}
					}
					end()
				}
			})
		}
		all.Wait()
		total := 0
		for _, n := range counts {
			total += n
		}
		if want := 8 * 200 * 10 / 3; total < want-8*200 || total > want+8*200 {
			t.Errorf("%d turns", total)
		}
	})
}
