package inbox

import (
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/imtest"
)

func TestTheStoreIsOneThatThereIs(t *testing.T) {
	for _, tt := range []struct{ store, want string }{
		{"", "MONGODB_URL"},
		{"mongodb", "MONGODB_URL"},
		{"postgres", "POSTGRES_URL"},
		{"mysql", "INBOX_STORE"},
	} {
		_, err := Open(t.Context(), imtest.Env(t, map[string]string{"INBOX_STORE": tt.store}))
		if err == nil || !strings.Contains(err.Error(), "setting "+tt.want) {
			t.Errorf("INBOX_STORE=%s: %v, want an error about %s", tt.store, err, tt.want)
		}
	}
}
