package outbox

import (
	"context"
	"encoding/base64"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
)

func settings() map[string]string {
	return map[string]string{
		"POSTGRES_URL":  "postgres://127.0.0.1:1/d",
		"REDIS_URL":     "redis://127.0.0.1:1",
		"KAFKA_BROKERS": "127.0.0.1:1",
		"SEAL_KEYS":     "k:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))),
	}
}

func TestTheRelaySaysWhichSettingIsMissing(t *testing.T) {
	for need := range settings() {
		vars := maps.Clone(settings())
		delete(vars, need)
		if _, err := fn.Mount(t.Context(), imtest.Env(t, vars), Relay); err == nil || !strings.Contains(err.Error(), need) {
			t.Errorf("without %s: %v", need, err)
		}
	}
}

// What somebody left a while ago is published when the clock calls, without
// Redis too.
func TestTheRelayPublishesWhatWasLeft(t *testing.T) {
	vars := settings()
	vars["POSTGRES_URL"], vars["KAFKA_BROKERS"] = imtest.Migrated(t, postgres.Migrate), strings.Join(imtest.Kafka(t), ",")
	env := imtest.Env(t, vars)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := kafka.EnsureTopics(ctx, env); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, vars["POSTGRES_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	group, old, young := im.NewID(), im.NewMessageID(im.Now()), im.NewMessageID(im.Now()+1)
	notice := `{"conversation":"g:` + group + `","from":"` + group + `","type":"group.dissolved","data":{}}`
	for id, age := range map[string]string{old: "1 minute", young: "0"} {
		_, err := conn.Exec(ctx, `INSERT INTO outbox (id, created, message_id, time, notice) VALUES ($1, now() - $2::interval, $1::text::uuid, now(), $3)`, id, age, notice)
		if err != nil {
			t.Fatal(err)
		}
	}
	h, err := fn.Mount(ctx, env, Relay)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	for range 2 {
		resp, err := srv.Client().Post(srv.URL, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			t.Errorf("it answers %s", resp.Status)
		}
	}
	var published []string
	err = kafka.Scan(ctx, env, event.TopicMessages, nil, func(r kafka.Record) error {
		if e, err := r.Event(); err == nil && e.PartitionKey == "g:"+group {
			published = append(published, e.ID)
		}
		return nil
	})
	if err != nil || len(published) != 1 || published[0] != old {
		t.Errorf("published %q, %v; want %s", published, err, old)
	}
	var left string
	if err := conn.QueryRow(ctx, `SELECT string_agg(id, ' ') FROM outbox`).Scan(&left); err != nil || left != young {
		t.Errorf("left is %q, %v; want what its maker may still publish", left, err)
	}
}
