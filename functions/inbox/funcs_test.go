package inbox

import (
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
)

// down are settings of services that are not there.
func down(t *testing.T) map[string]string {
	t.Helper()
	return fntest.Settings(t, map[string]string{
		"MONGODB_URL": "mongodb://127.0.0.1:1/d",
	})
}

func TestFunctionsStartWithoutTheirServices(t *testing.T) {
	for _, store := range []string{"mongodb", "postgres"} {
		vars := down(t)
		vars["INBOX_STORE"] = store
		if _, err := fn.Mount(t.Context(), imtest.Env(t, vars), Persist, Sync, Heads); err != nil {
			t.Errorf("with the inbox in %s: %v", store, err)
		}
	}
}

func TestFunctionsSayWhichSettingIsMissing(t *testing.T) {
	for f, needs := range map[*fn.Func][]string{
		&Persist: {"MONGODB_URL", "POSTGRES_URL", "REDIS_URL", "KAFKA_BROKERS", "SEAL_KEYS"},
		&Sync:    {"MONGODB_URL", "TOKEN_PUBLIC_KEYS"},
		&Heads:   {"MONGODB_URL", "REDIS_URL", "SEAL_KEYS"},
	} {
		for _, need := range needs {
			vars := down(t)
			delete(vars, need)
			_, err := fn.Mount(t.Context(), imtest.Env(t, vars), *f)
			if err == nil || !strings.Contains(err.Error(), need) {
				t.Errorf("%s without %s: %v", f.Name, need, err)
			}
		}
	}
}
