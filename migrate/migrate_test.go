package migrate

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/tidings-im/tidings/shared/imtest"
)

// What compose gives to migrate is what its steps read, and the networks that it
// is in are those of what they open.
func TestP6ComposeGivesMigrateWhatItOpens(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Networks    []string
			Environment map[string]string
			Volumes     []any
		}
	}
	b, err := os.ReadFile("../docker-compose.yml")
	if err == nil {
		err = yaml.UnmarshalWithOptions(b, &compose, yaml.AllowDuplicateMapKey())
	}
	if err != nil {
		t.Fatal(err)
	}
	given := compose.Services["migrate"]
	env := imtest.Env(t, map[string]string{
		"POSTGRES_URL": "postgres://127.0.0.1:1/d", "MONGODB_URL": "mongodb://127.0.0.1:1/d", "KAFKA_BROKERS": "127.0.0.1:1",
		"S3_URL": "http://key:secret@127.0.0.1:1/files", "ARCHIVE_URL": "http://key:secret@127.0.0.1:1/archive",
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nothing is done: it is what they open that counts
	for _, step := range steps {
		step(ctx, env)
	}
	var networks []string
	for _, s := range env.Used() {
		networks = append(networks, string(s))
	}
	if slices.Sort(given.Networks); !slices.Equal(given.Networks, networks) {
		t.Errorf("it is in the networks %v, and opens %v", given.Networks, networks)
	}
	secrets := 0
	for _, s := range env.Read() {
		if !s.Secret {
			continue
		}
		secrets++
		file := strings.ToLower(strings.ReplaceAll(s.Name, "_", "-"))
		if !slices.ContainsFunc(given.Volumes, func(v any) bool {
			m, ok := v.(map[string]any)
			return ok && m["target"] == "/var/openfaas/secrets/"+file
		}) {
			t.Errorf("it does not see %s", s.Name)
		}
	}
	if len(given.Volumes) != secrets {
		t.Errorf("it sees %d secrets, and reads %d", len(given.Volumes), secrets)
	}
	for _, s := range env.Read() {
		if _, ok := given.Environment[s.Name]; !ok && !s.Secret && strings.HasPrefix(s.Name, "KAFKA_") {
			t.Errorf("it is not told %s", s.Name)
		}
	}
}
