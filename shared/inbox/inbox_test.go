package inbox

import (
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
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

func TestPrepare(t *testing.T) {
	real := imtest.Mongo(t)
	for _, tt := range []struct {
		name, store, url string
		want             im.Kind
	}{
		{"in MongoDB", "mongodb", real, ""},
		{"in MongoDB, by who does not know where that is", "mongodb", "", ""},
		{"in a MongoDB that is down", "mongodb", "mongodb://127.0.0.1:1/d", im.Unavailable},
		{"in PostgreSQL there is nothing to do", "postgres", "mongodb://127.0.0.1:1/d", ""},
		{"in a store that there is not", "mysql", real, im.Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := imtest.Env(t, map[string]string{"INBOX_STORE": tt.store, "MONGODB_URL": tt.url, "MONGODB_CONNECT_TIMEOUT": "100ms"})
			var got im.Kind
			err := Prepare(t.Context(), env)
			if err != nil {
				got = im.KindOf(err)
			}
			if got != tt.want {
				t.Errorf("error = %v, want kind %q", err, tt.want)
			}
		})
	}
}
