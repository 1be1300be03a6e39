package imtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Redis returns the URL of an empty Redis for this test alone. Where the
// environment names a server, it is one of that server's databases.
func Redis(t testing.TB) string {
	t.Helper()
	if server := os.Getenv("TIDINGS_TEST_REDIS_URL"); server != "" {
		return claimRedis(t, server)
	}
	RealRedis(t)
	p, at, err := serve(redis, "--addr", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(syscall.SIGTERM, 10*time.Second) })
	return at
}

// RealRedis reports whether the Redis that Start starts is one: without a
// redis-server on the PATH it is a stand-in, which forgets all when it ends and
// is no cluster. What a test leaves out then it says by NotExercised.
func RealRedis(t testing.TB) bool {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		NotExercised(t, "Redis itself: there is no redis-server, and miniredis stands in for it")
		return false
	}
	return true
}

// claimRedis takes a database of a server that no other test has, and empties
// it. Who has which is noted in database 0.
func claimRedis(t testing.TB, server string) string {
	t.Helper()
	opt, err := goredis.ParseURL(server)
	if err != nil {
		t.Fatalf("reading TIDINGS_TEST_REDIS_URL: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	zero := goredis.NewClient(opt)
	t.Cleanup(func() { zero.Close() })
	for {
		for db := 1; db < 16; db++ {
			claim := fmt.Sprintf("imtest:%d", db)
			ok, err := zero.SetNX(ctx, claim, 1, 30*time.Minute).Result()
			if err != nil {
				t.Fatalf("taking a database of TIDINGS_TEST_REDIS_URL: %v", err)
			}
			if !ok {
				continue
			}
			t.Cleanup(func() { zero.Del(context.Background(), claim) })
			own := *opt
			own.DB = db
			client := goredis.NewClient(&own)
			defer client.Close()
			if err := client.FlushDB(ctx).Err(); err != nil {
				t.Fatalf("emptying database %d of TIDINGS_TEST_REDIS_URL: %v", db, err)
			}
			u, err := url.Parse(server)
			if err != nil {
				t.Fatal(err)
			}
			u.Path = fmt.Sprintf("/%d", db)
			return u.String()
		}
		select {
		case <-ctx.Done():
			t.Fatal("no database of TIDINGS_TEST_REDIS_URL came free: other tests hold all of them")
		case <-time.After(100 * time.Millisecond):
		}
	}
}
