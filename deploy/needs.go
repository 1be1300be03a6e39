package main

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log/slog"
	"maps"
	"slices"

	"github.com/tidings-im/tidings/connector/relay"
	"github.com/tidings-im/tidings/gateway/server"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/proc"
)

// needs are what a deployable opens and reads, as the record of its process has
// it: so nothing is given a secret, a setting or a way that it does not use, and
// nothing is forgotten.
type needs struct {
	Required []string // settings that are secrets, without which it does not start
	Optional []string // secrets of features that whoever deploys may leave out
	Settings []string // that are no secrets
	Reaches  []string // services that it opens connections to
}

// Reads reports whether a setting that is no secret is read.
func (n needs) Reads(setting string) bool { return slices.Contains(n.Settings, setting) }

// Secrets are those that are required and those that are not.
func (n needs) Secrets() []string { return sorted(slices.Concat(n.Required, n.Optional)) }

// decided are settings that the manifests themselves say, since they depend on
// the platform.
var decided = []string{
	"CONNECTOR_ADDR", "CONNECTOR_TIMERS", "FUNCTIONS", "FUNCTION_GROUPS", "FUNCTION_TIMEOUT", "FUNCTION_URL", "GATEWAY_ADDR", "GATEWAY_INTERNAL_ADDR",
	"GATEWAY_INTERNAL_URL", "INBOX_STORE", "KAFKA_BROKERS", "METRICS_ADDR", "PORT",
}

// Choices are the settings that whoever deploys may choose.
func (n needs) Choices() []string {
	return slices.DeleteFunc(slices.Clone(n.Settings), func(s string) bool { return slices.Contains(decided, s) })
}

// and returns what both need.
func (n needs) and(m needs) needs {
	both := needs{
		Required: sorted(slices.Concat(n.Required, m.Required)),
		Settings: sorted(slices.Concat(n.Settings, m.Settings)),
		Reaches:  sorted(slices.Concat(n.Reaches, m.Reaches)),
	}
	both.Optional = slices.DeleteFunc(sorted(slices.Concat(n.Optional, m.Optional)), func(s string) bool { return slices.Contains(both.Required, s) })
	return both
}

// A builder builds what a process is made of. Nothing connects to anything then.
type builder func(context.Context, *proc.Env) error

func mount(f fn.Func) builder {
	return func(ctx context.Context, env *proc.Env) error {
		_, err := fn.Mount(ctx, env, f)
		return err
	}
}

// buildGateway builds a gateway, which listens as long as this program runs.
func buildGateway(ctx context.Context, env *proc.Env) error {
	_, err := server.Open(ctx, env)
	return err
}

// buildConnector builds a connector, which has no time to do anything.
func buildConnector(ctx context.Context, env *proc.Env) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return relay.Command(nil, io.Discard)(ctx, env)
}

// needsOf builds a process with all that it may be given and returns what is on
// its record. What it would be built without, though it reads it, is optional.
func needsOf(build builder) (needs, error) {
	var n needs
	var secrets []string
	for _, store := range stores {
		for _, without := range []string{"", "ACCOUNT_KEYS"} { // for which SEAL_KEYS stand in
			env, err := record(build, pretended(store, without))
			if err != nil {
				return n, err
			}
			for _, s := range env.Used() {
				n.Reaches = append(n.Reaches, string(s))
			}
			for _, s := range env.Read() {
				if s.Secret {
					secrets = append(secrets, s.Name)
				} else {
					n.Settings = append(n.Settings, s.Name)
				}
			}
		}
	}
	n.Reaches, n.Settings = sorted(n.Reaches), sorted(n.Settings)
	for _, s := range sorted(secrets) {
		if starts(build, s) {
			n.Optional = append(n.Optional, s)
		} else {
			n.Required = append(n.Required, s)
		}
	}
	return n, nil
}

// stores are where inboxes may be: whoever deploys decides.
var stores = []string{"mongodb", "postgres"}

// goesWith says what makes no sense without a secret, or stands in for it.
var goesWith = map[string]string{"SEAL_KEYS": "ACCOUNT_KEYS", "NOTIFY_WEBHOOK_SECRET": "NOTIFY_WEBHOOK_URL"}

// starts reports whether a process is built without a secret, wherever inboxes
// are.
func starts(build builder, without string) bool {
	return !slices.ContainsFunc(stores, func(store string) bool {
		_, err := record(build, pretended(store, without, goesWith[without]))
		return err != nil
	})
}

// record builds a process and returns its Env, on which is what it did.
func record(build builder, vars map[string]string) (*proc.Env, error) {
	env := proc.NewEnv(func(name string) string { return vars[name] }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := build(ctx, env)
	env.Close()
	return env, err
}

// keys are made once: they have the right form, and open nothing.
var keys = func() map[string]string {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // of the system's source of randomness
	}
	privateDER, privateErr := x509.MarshalPKCS8PrivateKey(private)
	publicDER, publicErr := x509.MarshalPKIXPublicKey(public)
	push, pushErr := ecdh.P256().GenerateKey(rand.Reader)
	if privateErr != nil || publicErr != nil || pushErr != nil {
		panic("keys cannot be made")
	}
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	return map[string]string{
		"SEAL_KEYS":             "k:" + key,
		"ACCOUNT_KEYS":          "a:" + key,
		"TOKEN_PRIVATE_KEY":     string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER})),
		"TOKEN_PUBLIC_KEYS":     string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER})),
		"VAPID_PRIVATE_KEY":     base64.RawURLEncoding.EncodeToString(push.Bytes()),
		"VAPID_PUBLIC_KEY":      base64.RawURLEncoding.EncodeToString(push.PublicKey().Bytes()),
		"NOTIFY_WEBHOOK_SECRET": "whsec_" + key,
	}
}()

// pretended are settings that have the right form and turn every feature on, so
// that everything that can be opened is, except those named.
func pretended(store string, without ...string) map[string]string {
	vars := map[string]string{
		"INBOX_STORE":           store,
		"POSTGRES_URL":          "postgres://127.0.0.1:1/d",
		"MONGODB_URL":           "mongodb://127.0.0.1:1/d",
		"REDIS_URL":             "redis://127.0.0.1:1",
		"KAFKA_BROKERS":         "127.0.0.1:1",
		"S3_URL":                "http://key:secret@127.0.0.1:1/files",
		"ARCHIVE_URL":           "http://key:secret@127.0.0.1:1/archive",
		"FUNCTION_URL":          "http://127.0.0.1:1/{function}",
		"AUDIT_TOPIC":           "true", // who writes it needs a way to Kafka, if it is to be turned on
		"SMTP_URL":              "smtp://127.0.0.1:1",
		"OAUTH_PROVIDERS":       `[{"name": "github", "kind": "github", "client_id": "id", "client_secret": "secret"}]`,
		"NOTIFY_WEBHOOK_URL":    "https://127.0.0.1:1",
		"GATEWAY_ADDR":          "127.0.0.1:0",
		"GATEWAY_INTERNAL_ADDR": "127.0.0.1:0",
		"CONNECTOR_ADDR":        "127.0.0.1:0",
	}
	maps.Copy(vars, keys)
	for _, name := range without {
		delete(vars, name)
	}
	return vars
}
