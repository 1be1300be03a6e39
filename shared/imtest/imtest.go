// Package imtest gives tests the services that Tidings stands on. What the
// environment names is used:
//
//	TIDINGS_TEST_POSTGRES_URL    TIDINGS_TEST_REDIS_URL
//	TIDINGS_TEST_KAFKA_BROKERS   TIDINGS_TEST_MONGODB_URL
//	TIDINGS_TEST_S3_URL
//
// and what it does not name is started from local, as processes that end with
// the test. A test that cannot have its service fails and says what to do; it
// is never skipped. What it does without is on a line with NOT EXERCISED, which
// go test shows with -v. imtest does not know what Tidings keeps in the services.
package imtest

import (
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/shared/proc"
)

// Env returns an Env whose settings are vars and nothing of the environment,
// and which logs to t. It is closed when the test ends.
func Env(t testing.TB, vars map[string]string) *proc.Env {
	t.Helper()
	env := proc.NewEnv(func(k string) string { return vars[k] }, Log(t))
	t.Cleanup(func() {
		if err := env.Close(); err != nil {
			t.Errorf("closing the environment: %v", err)
		}
	})
	return env
}

// Log returns a logger that writes to t until the test has ended.
func Log(t testing.TB) *slog.Logger {
	w := &testWriter{t: t}
	t.Cleanup(w.end)
	return slog.New(slog.NewTextHandler(w, nil))
}

type testWriter struct {
	mu    sync.Mutex
	t     testing.TB
	ended bool
}

func (w *testWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended { // to log to a test that has ended is a panic
		w.t.Log(strings.TrimSuffix(string(b), "\n"))
	}
	return len(b), nil
}

func (w *testWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}

// NotExercised says what a test does without, because the machine lacks a
// program.
func NotExercised(t testing.TB, what string) {
	t.Helper()
	t.Log("NOT EXERCISED: " + what)
}

// Name returns a name for a database, a topic, a key: a letter and 16 of a-z
// and 0-9, which no other test has.
func Name() string {
	var b [8]byte
	rand.Read(b[:])
	return "t" + hex.EncodeToString(b[:])
}
