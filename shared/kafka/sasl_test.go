package kafka

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

const passphrase = `s/e:c@r%e#t "1"`

// Topics are made, records written and read, as a member of a group, with a
// broker that asks who connects.
func TestABrokerThatAsksForAPasswordIsGivenIt(t *testing.T) {
	broker := imtest.Start(t, "kafka", "--login", "tidings:"+passphrase)
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			env := imtest.Env(t, map[string]string{
				"KAFKA_BROKERS": broker.URL, "KAFKA_SASL_MECHANISM": mechanism, "KAFKA_USERNAME": "tidings", "KAFKA_PASSWORD": passphrase,
			})
			topic := newTopic(t, env, 2)
			p := producer(t, env)
			if err := p.Publish(within(t, 20*time.Second), topic, []event.Event{say("a", 0), say("b", 0)}); err != nil {
				t.Fatal(err)
			}
			r := read(t, env, imtest.Name(), topic, nil)
			imtest.Until(t, "what was written is read", func() bool { return r.count() == 2 })
		})
	}
}

func TestABrokerThatAsksForAPasswordLetsNobodyElseIn(t *testing.T) {
	broker := imtest.Start(t, "kafka", "--login", "tidings:"+passphrase)
	for name, vars := range map[string]map[string]string{
		"nobody":             {},
		"the wrong password": {"KAFKA_SASL_MECHANISM": "plain", "KAFKA_USERNAME": "tidings", "KAFKA_PASSWORD": "guessed"},
	} {
		t.Run(name, func(t *testing.T) {
			vars["KAFKA_BROKERS"] = broker.URL
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := EnsureTopics(ctx, imtest.Env(t, vars)); im.KindOf(err) != im.Unavailable {
				t.Errorf("topics are made: %v", err)
			}
		})
	}
}

func TestSettingsOfSASLThatMakeNoSense(t *testing.T) {
	for _, vars := range []map[string]string{
		{"KAFKA_SASL_MECHANISM": "gssapi"},
		{"KAFKA_SASL_MECHANISM": "plain"},
		{"KAFKA_SASL_MECHANISM": "plain", "KAFKA_USERNAME": "tidings"},
		{"KAFKA_SASL_MECHANISM": "scram-sha-256", "KAFKA_PASSWORD": "secret"},
	} {
		vars["KAFKA_BROKERS"] = "127.0.0.1:1"
		_, err := Open(t.Context(), imtest.Env(t, vars))
		if err == nil || !strings.Contains(err.Error(), "KAFKA_SASL_MECHANISM") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: %v", vars, err)
		}
	}
}
