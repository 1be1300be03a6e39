package server

import (
	"os"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/imtest"
)

func TestAGatewayMayBeCalledByTheNameOfItsMachine(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{"http://{hostname}:8081": "http://" + name + ":8081", "http://gateway-0:8081/": "http://gateway-0:8081", "": ""} {
		set, err := readSettings(imtest.Env(t, map[string]string{"GATEWAY_INTERNAL_URL": at}))
		if err != nil || set.internalURL != want {
			t.Errorf("%q is %q, not %q: %v", at, set.internalURL, want, err)
		}
	}
}

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
