package server

import (
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/imtest"
)

func TestSettingsThatCannotBeAreNamed(t *testing.T) {
	good := map[string]string{"REDIS_URL": "redis://127.0.0.1:1", "SEAL_KEYS": "k:" + strings.Repeat("QUJD", 11)}
	for name, value := range map[string]string{
		"FUNCTION_URL":      "http://functions:8080/",
		"SEND_RATE":         "0",
		"DRAIN":             "15s",
		"LANES":             "0",
		"ANTI_ENTROPY":      "often",
		"TOKEN_PUBLIC_KEYS": "",
	} {
		vars := map[string]string{name: value}
		for k, v := range good {
			vars[k] = v
		}
		if _, err := Open(t.Context(), imtest.Env(t, vars)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%q: %v", name, value, err)
		}
	}
}
