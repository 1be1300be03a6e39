package group

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/groups"
	"github.com/tidings-im/tidings/shared/redis"
)

// slow takes its time between reading the database and handing over what it
// read, in which anything may happen.
type slow struct{ *pgtest.DB }

func (s slow) GroupMembers(ctx context.Context, groups []string) (map[string]im.Members, error) {
	got, err := s.DB.GroupMembers(ctx, groups)
	time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond)
	return got, err
}

// What the predecessor did: one who read the members before a change and
// filled the cache after it took who had joined out of it again. Here members
// come and go, slow readers fill the caches of three processes, and Redis loses
// its memory, or dies and comes back, all at once. Whenever a change has been
// answered, no cache says less than that. So a message that is sent after an
// invitation was answered reaches who was invited.
func TestASlowFillerLosesNoMember(t *testing.T) {
	server := imtest.Start(t, "redis")
	vars := settings(t)
	vars["POSTGRES_URL"], vars["REDIS_URL"], vars["KAFKA_BROKERS"] = imtest.Migrated(t, postgres.Migrate), server.URL, strings.Join(imtest.Kafka(t), ",")
	env := imtest.Env(t, vars)
	if err := kafka.EnsureTopics(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	db, err := pgtest.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	box, err := outbox.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, db: db}
	change := func(ctx context.Context, f func(context.Context, tx) error) error {
		return box.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, groups.With(tx)) })
	}
	var caches []*redis.Members // each of a process of its own
	for range 3 {
		c, err := redis.Open(t.Context(), imtest.Env(t, vars))
		if err != nil {
			t.Fatal(err)
		}
		caches = append(caches, c.NewMembers(slow{db}))
	}
	people := w.users(7)
	owner, others := as(people[0]), people[1:]
	made, err := (&creator{change, w.invites(), im.Now}).call(t.Context(), owner, newGroup{Name: "Busy"})
	if err != nil {
		t.Fatal(err)
	}

	// storm lets members come and go while trouble lasts.
	storm := func(t *testing.T, trouble func(ctx context.Context)) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var run, fillers sync.WaitGroup
		for _, c := range caches {
			fillers.Go(func() {
				for ctx.Err() == nil {
					c.Members(ctx, made.ID)
				}
			})
		}
		over := make(chan struct{})
		var changes atomic.Int64
		for _, u := range others {
			run.Go(func() {
				for in := true; ; in = !in {
					for { // until it is done: without Redis no change is
						var err error
						if in {
							_, err = (&inviter{change, w.invites(), im.Now}).call(ctx, owner, named{made.ID, []string{u}})
						} else {
							_, err = remove(change, im.Now)(ctx, owner, removeRequest{named: named{made.ID, []string{u}}})
						}
						if err == nil {
							break
						}
						if !im.KindOf(err).Transient() {
							t.Error(err)
							return
						}
					}
					changes.Add(1)
					for i, c := range caches {
						if got, err := c.Members(ctx, made.ID); err != nil || slices.Contains(got, u) != in {
							t.Errorf("cache %d has %t that is a member: %t, %v", i, slices.Contains(got, u), in, err)
						}
					}
					select {
					case <-over:
						return
					default:
					}
				}
			})
		}
		const enough = 50
		trouble(ctx)
		for end := time.Now().Add(imtest.Patience(t)); changes.Load() < enough && time.Now().Before(end); { // on a slow machine
			trouble(ctx)
		}
		close(over)
		run.Wait()
		cancel()
		fillers.Wait()
		if n := changes.Load(); n < enough {
			t.Errorf("%d changes: nothing was tested", n)
		}
		want, err := db.GroupMembers(t.Context(), []string{made.ID})
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range caches {
			if got, err := c.Members(t.Context(), made.ID); err != nil || !slices.Equal(got, want[made.ID].Users) {
				t.Errorf("cache %d has %v, the database %v, %v", i, got, want[made.ID].Users, err)
			}
		}
	}
	t.Run("while Redis loses its memory", func(t *testing.T) {
		opt, err := goredis.ParseURL(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		c := goredis.NewClient(opt)
		defer c.Close()
		storm(t, func(ctx context.Context) {
			for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(time.Duration(rand.IntN(12)) * time.Millisecond) {
				if err := c.FlushAll(ctx).Err(); err != nil {
					t.Error(err)
				}
			}
		})
	})
	t.Run("while Redis dies and comes back", func(t *testing.T) {
		storm(t, func(ctx context.Context) {
			for range 2 {
				server.Kill()
				server.Restart()
				for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				}
			}
		})
	})
}
