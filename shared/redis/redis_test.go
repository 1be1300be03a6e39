package redis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/child"
	"github.com/tidings-im/tidings/shared/imtest/freeport"
	"github.com/tidings-im/tidings/shared/proc"
)

// clusterDir outlasts every test that uses the cluster.
var clusterDir string

func TestMain(m *testing.M) {
	var err error
	if clusterDir, err = os.MkdirTemp("", "tidings-cluster-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(clusterDir)
	os.Exit(code)
}

// eachServer runs a test on each kind of Redis that Tidings runs on. The url
// is of an empty one.
func eachServer(t *testing.T, f func(t *testing.T, url string)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) { f(t, imtest.Redis(t)) })
	t.Run("miniredis", func(t *testing.T) { f(t, imtest.Start(t, "redis", "--miniredis").URL) })
	t.Run("cluster", func(t *testing.T) {
		url := cluster(t)
		wipe(t, open(t, url))
		f(t, url)
	})
}

// cluster returns two addresses of a Redis Cluster. It has one node, which
// refuses what touches two slots as any other does, and ends with the process.
// Without a redis-server it is a stand-in that says it has all slots.
func cluster(t testing.TB) string {
	t.Helper()
	if !imtest.RealRedis(t) {
		imtest.NotExercised(t, "that a cluster takes what is sent, for the stand-in does not refuse what touches two slots")
		addr := imtest.Start(t, "redis", "--miniredis").Addr
		return addr + "," + addr
	}
	addr, err := startCluster()
	if err != nil {
		t.Fatal(err)
	}
	return addr + "," + addr
}

var startCluster = sync.OnceValues(func() (string, error) {
	ports := make([]string, 2)
	for i := range ports {
		port, err := freeport.Take()
		if err != nil {
			return "", err
		}
		ports[i] = strconv.Itoa(port)
	}
	port, bus := ports[0], ports[1]
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--cluster-port", bus, "--cluster-enabled", "yes",
		"--dir", clusterDir, "--save", "", "--loglevel", "warning")
	if _, err := child.Start(cmd, syscall.SIGKILL); err != nil {
		return "", err
	}
	addr := "127.0.0.1:" + port
	one := goredis.NewClient(&goredis.Options{Addr: addr})
	defer one.Close()
	ctx := context.Background()
	err := poll(func() error { return one.ClusterAddSlotsRange(ctx, 0, 16383).Err() })
	if err != nil {
		return "", err
	}
	return addr, poll(func() error {
		info, err := one.ClusterInfo(ctx).Result()
		if err == nil && !strings.Contains(info, "cluster_state:ok") {
			err = errors.New(info)
		}
		return err
	})
})

// open returns a client as another process would have it.
func open(t testing.TB, url string, settings ...string) *Client {
	t.Helper()
	c, err := Open(t.Context(), env(t, url, settings...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func env(t testing.TB, url string, settings ...string) *proc.Env {
	t.Helper()
	vars := map[string]string{"REDIS_URL": url, "REDIS_TIMEOUT": "1m"} // how fast a machine is is not what is tested
	for i := 0; i < len(settings); i += 2 {
		vars[settings[i]] = settings[i+1]
	}
	return imtest.Env(t, vars)
}

// poll calls f until it returns nil, for a minute.
func poll(f func() error) error {
	for deadline := time.Now().Add(time.Minute); ; {
		err := f()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func wipe(t testing.TB, c *Client) {
	t.Helper()
	if err := c.rdb.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestOpen(t *testing.T) {
	for _, tt := range []struct {
		name, url, says string
	}{
		{"without a URL it names the setting", "", "REDIS_URL"},
		{"a URL that is none is not repeated, for it may hold a password", "redis://:hunter2@[", "part 1"},
		{"a cluster has no databases", "redis://a:1/3,redis://b:1", "database 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(t.Context(), env(t, tt.url))
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestAServerThatIsDownIsUnavailable(t *testing.T) {
	s := imtest.Start(t, "redis")
	c := open(t, s.URL, "REDIS_TIMEOUT", "100ms", "REDIS_DIAL_TIMEOUT", "100ms")
	imtest.Eventually(t, "it answers", func() error { return c.Ping(t.Context()) })
	all := func(t *testing.T) {
		for name, err := range map[string]error{
			"Ping":       c.Ping(t.Context()),
			"Heads":      errOf(c.Heads(t.Context(), []string{"ann"})),
			"RaiseHeads": c.RaiseHeads(t.Context(), map[string]int64{"ann": 1}),
			"Place":      c.Place(t.Context(), []im.PlaceRequest{{Conversation: "g:a", From: "ann", ClientID: "1"}})[0].Err,
			"Lookup":     errOf(c.Lookup(t.Context(), []string{"ann"})),
			"Ended":      errOf(c.Ended(t.Context(), []string{"s"})),
			"MarkEnded":  c.MarkEnded(t.Context(), "s", time.Hour),
			"URLs":       errOf(c.NewGateways(env(t, s.URL)).URLs(t.Context(), []string{"g"})),
		} {
			if im.KindOf(err) != im.Unavailable {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	t.Run("killed", func(t *testing.T) { s.Kill(); all(t) })
	s.Restart()
	t.Run("frozen", func(t *testing.T) {
		imtest.Eventually(t, "it answers again", func() error { return c.Ping(t.Context()) })
		s.Freeze()
		defer s.Thaw()
		all(t)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := c.Ping(ctx); err == nil {
			t.Error("a frozen server answered")
		}
	})
	imtest.Eventually(t, "it works again", func() error { return c.RaiseHeads(t.Context(), map[string]int64{"ann": 1}) })
}

func errOf[T any](_ T, err error) error { return err }

func TestScriptsAreSentAgainToAServerThatForgotThem(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		c := open(t, url)
		for range 2 {
			if err := c.rdb.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			heads := map[string]int64{}
			for i := range 2 * maxPipeline {
				heads[fmt.Sprint("u", i)] = int64(i + 1)
			}
			if err := c.RaiseHeads(t.Context(), heads); err != nil {
				t.Fatal(err)
			}
		}
	})
}
