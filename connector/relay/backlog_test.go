package relay

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/kafka"
)

// jobsOf returns jobs of these keys, from an offset on.
func jobsOf(from int64, keys ...string) []*job {
	jobs := make([]*job, len(keys))
	for i, k := range keys {
		jobs[i] = &job{rec: kafka.Record{Key: []byte(k), Offset: from + int64(i)}}
		jobs[i].ev.Data = []byte(`{}`)
		jobs[i].ev.ID = fmt.Sprint(k, "/", from+int64(i))
	}
	return jobs
}

func said(jobs []*job) string {
	var ids []string
	for _, j := range jobs {
		ids = append(ids, j.ev.ID)
	}
	return strings.Join(ids, " ")
}

func TestKeysTakeTurns(t *testing.T) {
	b := newBacklog(100)
	b.add(jobsOf(0, "a", "a", "a", "a", "a", "b", "c", "b"), 8)
	now := time.Now()
	if got := said(b.take(6, 1000, now)); got != "a/0 b/5 c/6 a/1 b/7 a/2" {
		t.Errorf("a request has %s", got)
	}
}

func TestWhatARequestDidNotComeToIsFirstInTheNext(t *testing.T) {
	b := newBacklog(100)
	b.add(jobsOf(0, "a", "a", "a", "a", "b", "c"), 6)
	now := time.Now()
	jobs := b.take(6, 1000, now) // a/0 b/4 c/5 a/1 a/2 a/3
	jobs[0].over = true
	if stuck := b.settle(jobs, now); stuck != jobs[1] {
		t.Errorf("stuck is %v", stuck)
	}
	if next, moved := b.advance(); next != 1 || !moved {
		t.Errorf("done before %d, %v", next, moved)
	}
	// b has failed, so it pauses; c has not been come to; a had its share.
	if got := said(b.take(6, 1000, now)); got != "c/5 a/1" {
		t.Errorf("a request has %s", got)
	}
	if at, ok := b.next(); !ok || at.Before(now) || at.After(now.Add(pauses.First)) {
		t.Errorf("b comes at %s, %v", at.Sub(now), ok)
	}
}

func TestACostlyKeyHasNoMoreInARequestThanWasDone(t *testing.T) {
	b := newBacklog(100)
	keys := slices.Repeat([]string{"flood"}, 50)
	b.add(jobsOf(0, keys...), 50)
	now := time.Now()
	for turn, want := range []int{50, 3, 4, 5, 6} {
		jobs := b.take(100, 1000, now)
		if len(jobs) != want {
			t.Errorf("request %d has %d", turn, len(jobs))
		}
		for i, j := range jobs {
			j.over = i < 3 || turn >= 2
		}
		if stuck := b.settle(jobs, now); stuck != nil {
			t.Errorf("%s is stuck, of which something was done", stuck.ev.ID)
		}
	}
}

// The real backlog under random schedules: whatever a function does of each
// request, the records of a key are over in their order, nothing is committed
// before all up to it is over, and in the end everything is. A function that
// stops at the first failure is one to which order matters.
func TestP4ABacklogKeepsEachKeysOrderAndCommitsNothingEarly(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := newBacklog(1 + r.IntN(8))
		now, offset, committed := time.Now(), int64(0), int64(0)
		var all []*job
		left := 20 + r.IntN(60)
		for turns := 0; left > 0 || len(b.fetches) > 0; turns++ {
			if turns > 10_000 {
				t.Fatalf("seed %d: it does not end", seed)
			}
			if n := min(left, r.IntN(12)); n > 0 {
				keys := make([]string, n)
				for i := range keys {
					keys[i] = string(rune('a' + r.IntN(4)*r.IntN(2)))
				}
				jobs := jobsOf(offset, keys...)
				for _, j := range jobs {
					j.over = r.IntN(20) == 0 // is no event
				}
				offset += int64(n) + int64(r.IntN(2)) // some offsets hold nothing
				b.add(jobs, offset)
				all, left = append(all, jobs...), left-n
			}
			now = now.Add(time.Duration(r.IntN(300)) * time.Millisecond)
			jobs := b.take(1+r.IntN(20), 2*(1+r.IntN(20)), now)
			stop := r.IntN(len(jobs) + 1)
			for i, j := range jobs {
				for _, other := range all {
					if other.rec.Offset < j.rec.Offset && string(other.rec.Key) == string(j.rec.Key) && !other.over && !slices.Contains(jobs[:i], other) {
						t.Fatalf("seed %d: %s is posted before %s", seed, j.ev.ID, other.ev.ID)
					}
				}
				j.over = i < stop
			}
			b.settle(jobs, now)
			if next, moved := b.advance(); moved {
				if next < committed {
					t.Fatalf("seed %d: %d is committed after %d", seed, next, committed)
				}
				committed = next
			}
			for _, j := range all {
				if !j.over && j.rec.Offset < committed {
					t.Fatalf("seed %d: %d is committed, and %s is not over", seed, committed, j.ev.ID)
				}
			}
		}
		if committed != offset || len(b.streams) > 0 || len(b.turns) > 0 || b.span != 0 {
			t.Fatalf("seed %d: %d of %d are committed; left are %d keys, %d turns, %d records", seed, committed, offset, len(b.streams), len(b.turns), b.span)
		}
	}
}

// However much one key has, each other gets a record into a request before that
// one gets its second.
func TestP7NoKeyStarves(t *testing.T) {
	b := newBacklog(500)
	now := time.Now()
	b.add(jobsOf(0, slices.Repeat([]string{"flood"}, 5000)...), 5000)
	for n := range int64(20) {
		key := fmt.Sprint("k", n)
		b.add(jobsOf(5000+n, key), 5001+n)
		jobs := b.take(500, 1<<20, now)
		if at := slices.IndexFunc(jobs, func(j *job) bool { return string(j.rec.Key) == key }); at < 0 || at > 1 {
			t.Fatalf("%s is at %d of a request", key, at)
		}
		for i, j := range jobs {
			j.over = i < 4 // the function has done enough then
		}
		b.settle(jobs, now)
	}
}
