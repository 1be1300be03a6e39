package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func key(partition int, offset int64) fetchKey {
	return fetchKey{partitionKey{"t", partition}, offset, 1}
}

func of(n int) batch {
	return batch{records: []Record{{Offset: int64(n), Value: []byte(fmt.Sprint(n))}}, next: int64(n) + 1}
}

func TestWhoAsksForTheSameSharesARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFetches()
		var asked atomic.Int32
		do := func(n int) func(context.Context) (batch, error) {
			return func(context.Context) (batch, error) {
				asked.Add(1)
				time.Sleep(time.Second)
				return of(n), nil
			}
		}
		var all sync.WaitGroup
		for i := range 3 {
			all.Go(func() {
				got, err := f.get(t.Context(), key(0, 5), do(5))
				if err != nil || got.next != 6 {
					t.Errorf("%d: %+v, %v", i, got, err)
				}
			})
		}
		all.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("%d requests", n)
		}
		for _, tt := range []struct {
			what  string
			wait  time.Duration
			key   fetchKey
			asked int32
		}{
			{"the same a moment later", time.Second, key(0, 5), 1},
			{"the same much later", keptFor, key(0, 5), 2},
			{"another offset", 0, key(0, 6), 3},
			{"another partition", 0, key(1, 6), 4},
			{"what another has taken the place of", 0, key(0, 5), 5},
		} {
			time.Sleep(tt.wait)
			got, err := f.get(t.Context(), tt.key, do(int(tt.key.offset)))
			if err != nil || got.next != tt.key.offset+1 || asked.Load() != tt.asked {
				t.Errorf("%s: %+v, %v, after %d requests", tt.what, got, err, asked.Load())
			}
		}
	})
}

func TestARequestEndsWhenNobodyWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFetches()
		ended := make(chan struct{})
		do := func(ctx context.Context) (batch, error) {
			<-ctx.Done()
			close(ended)
			return batch{}, ctx.Err()
		}
		first, giveUp := context.WithCancel(t.Context())
		second, giveUpToo := context.WithCancel(t.Context())
		failed := make(chan error, 2)
		for _, ctx := range []context.Context{first, second} {
			go func() {
				_, err := f.get(ctx, key(0, 1), do)
				failed <- err
			}()
		}
		synctest.Wait()
		giveUp()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		synctest.Wait()
		select {
		case <-ended:
			t.Fatal("it ended though somebody waits")
		default:
		}
		giveUpToo()
		<-failed
		<-ended
		// Who comes then asks anew.
		if got, err := f.get(t.Context(), key(0, 1), func(context.Context) (batch, error) { return of(1), nil }); err != nil || got.next != 2 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestWhatFailsBringsNothingAndWhatIsLargeOrEmptyIsNotKept(t *testing.T) {
	f := newFetches()
	large := batch{records: []Record{{Value: make([]byte, keptSize)}}, next: 2}
	asked := 0
	for _, result := range []struct {
		got batch
		err error
	}{{err: errors.New("no")}, {got: batch{next: 1}}, {got: large}, {got: of(1)}} {
		got, err := f.get(t.Context(), key(0, 1), func(context.Context) (batch, error) { asked++; return result.got, result.err })
		if !errors.Is(err, result.err) || got.next != result.got.next {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if asked != 4 {
		t.Errorf("%d requests", asked)
	}
	if len(f.sent) != 0 {
		t.Errorf("%d are under way still", len(f.sent))
	}
}
