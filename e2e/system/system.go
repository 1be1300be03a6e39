// Package system runs Tidings as it runs in production, for tests: each part a
// process of its own, on services that belong to the test. It does not know what
// is tested.
package system

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/s3"
)

// A System is Tidings, each part a process of its own.
type System struct {
	Kafka    *imtest.Service // nil if the environment names another
	Postgres *imtest.Service
	Redis    *imtest.Service
	Parts    map[string]*imtest.Process
	Gateways []string // their public URLs

	t        *testing.T
	vars     map[string]string // the settings that all parts have in common
	platform *platform
}

// The functions that run as processes of their own; the rest share one.
var alone = []string{"chat-ingest", "persist-history", "persist-inbox", "push-fanout"}

// The program is built once for all tests of a package.
var (
	building sync.Mutex
	built    string
	out      string // the folder where it is, set by Main
)

// Binary returns the path of the program cmd/tidings.
func Binary(t *testing.T) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	if out == "" {
		t.Fatal("TestMain has to run the tests by system.Main")
	}
	if built == "" {
		to := out + "/tidings"
		if err := os.Rename(imtest.Build(t, "cmd/tidings"), to); err != nil {
			t.Fatal(err)
		}
		built = to
	}
	return built
}

// Main runs the tests of a package that starts systems and returns the status
// to exit with.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tidings-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	out = dir
	return m.Run()
}

// Brokers returns those of a Kafka of the test's own, since systems share no topics
// and consumer groups; or the one that the environment names, which they do share.
func Brokers(t testing.TB) string {
	t.Helper()
	if list := os.Getenv("TIDINGS_TEST_KAFKA_BROKERS"); list != "" {
		return list
	}
	return imtest.Start(t, "kafka").URL
}

// Database returns the URL of a database of the test's own, which has its tables.
func Database(t testing.TB) string { return imtest.Migrated(t, postgres.Migrate) }

// Settings returns secrets and limits for a system on these services.
func Settings(t *testing.T, brokers, postgresURL, redisURL string) map[string]string {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	privDER, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	pubDER, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	seal := make([]byte, 32)
	rand.Read(seal)
	vapid, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"KAFKA_BROKERS":     brokers,
		"POSTGRES_URL":      postgresURL,
		"REDIS_URL":         redisURL,
		"S3_URL":            imtest.S3(t),
		"INBOX_STORE":       "postgres",
		"SEAL_KEYS":         "k1:" + base64.StdEncoding.EncodeToString(seal),
		"TOKEN_PRIVATE_KEY": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privDER})),
		"TOKEN_PUBLIC_KEYS": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pubDER})),
		"VAPID_PRIVATE_KEY": base64.RawURLEncoding.EncodeToString(vapid.Bytes()),
		"VAPID_PUBLIC_KEY":  base64.RawURLEncoding.EncodeToString(vapid.PublicKey().Bytes()),
		"VAPID_CONTACT":     "mailto:im@example.org",
		"KAFKA_REPLICATION": "1",
		"KAFKA_PARTITIONS":  "4",
		"ANTI_ENTROPY":      "3s",
		"DRAIN_SPREAD":      "200ms",
		"SMTP_TIMEOUT":      "1m", // no clock has a mail sent again

		// Tests are in a hurry.
		"SIGN_INS_PER_MINUTE":         "1000000",
		"SEARCHES_PER_MINUTE":         "1000000",
		"STRANGERS_ADDED_PER_HOUR":    "1000000",
		"REACTIONS_PER_MINUTE":        "1000000",
		"GROUP_CHANGES_PER_HOUR":      "1000000",
		"GROUP_JOINS_PER_HOUR":        "1000000",
		"FRIEND_REQUESTS_PER_HOUR":    "1000000",
		"FILES_PER_HOUR":              "1000000",
		"MESSAGE_SEARCHES_PER_MINUTE": "1000000",
		"MAILS_PER_HOUR":              "1000000",
		"REFRESHES_PER_MINUTE":        "1000000",
		"RESERVED_ACCOUNTS":           "-admin", // who is that in a group
		"STRANGERS_FIRST_HOUR":        "1000000",
		"STRANGERS_FIRST_DAY":         "1000000",
		"CODES_PER_HOUR":              "1000000",
		"BOT_LOGINS_PER_MINUTE":       "1000000",
		"BOT_SECRETS_PER_HOUR":        "1000000",
		"CALLS_PER_SECOND":            "1000000",
		"CALLS_BURST":                 "1000000",
	}
}

// Prepare makes the tables, the topics and the bucket.
func Prepare(t *testing.T, vars map[string]string) {
	t.Helper()
	env := imtest.Env(t, vars)
	ctx, cancel := context.WithTimeout(t.Context(), imtest.Patience(t))
	defer cancel()
	if err := postgres.Migrate(ctx, env); err != nil {
		t.Fatal(err)
	}
	if err := s3.EnsureBucket(ctx, env); err != nil {
		t.Fatal(err)
	}
	if err := kafka.EnsureTopics(ctx, env); err != nil {
		t.Fatal(err)
	}
}

// Start starts everything, with further settings: two gateways, the functions,
// the connector.
func Start(t *testing.T, more ...string) *System {
	t.Helper()
	s := &System{t: t, Parts: make(map[string]*imtest.Process)}
	brokers := os.Getenv("TIDINGS_TEST_KAFKA_BROKERS") // for tests that break no Kafka
	if brokers == "" {
		s.Kafka = imtest.Start(t, "kafka")
		brokers = s.Kafka.URL
	}
	s.Postgres = imtest.Start(t, "postgres")
	s.Redis = imtest.Start(t, "redis")
	s.vars = Settings(t, brokers, s.Postgres.URL, s.Redis.URL)
	for i := 0; i < len(more); i += 2 {
		s.vars[more[i]] = more[i+1]
	}
	Prepare(t, s.vars)
	s.platform = newPlatform(t)
	s.vars["FUNCTION_URL"] = s.platform.URL + "/{function}"

	rest := imtest.FreePort(t)
	for _, f := range functions.All {
		s.platform.route(f.Name, fmt.Sprintf("http://127.0.0.1:%d/%s", rest, f.Name))
	}
	s.run("functions", []string{"functions"}, "PORT", fmt.Sprint(rest))
	for _, name := range alone {
		port := imtest.FreePort(t)
		s.platform.route(name, fmt.Sprintf("http://127.0.0.1:%d/%s", port, name))
		s.run(name, []string{"function", name}, "PORT", fmt.Sprint(port))
	}
	s.run("connector", []string{"connector"}, "CONNECTOR_ADDR", fmt.Sprintf("127.0.0.1:%d", imtest.FreePort(t)))
	for i := range 2 {
		public, internal := imtest.FreePort(t), imtest.FreePort(t)
		s.run(fmt.Sprintf("gateway-%d", i+1), []string{"gateway"},
			"GATEWAY_ADDR", fmt.Sprintf("127.0.0.1:%d", public),
			"GATEWAY_INTERNAL_ADDR", fmt.Sprintf("127.0.0.1:%d", internal),
			"GATEWAY_INTERNAL_URL", fmt.Sprintf("http://127.0.0.1:%d", internal))
		s.Gateways = append(s.Gateways, fmt.Sprintf("http://127.0.0.1:%d", public))
	}
	for _, url := range s.Gateways {
		imtest.Eventually(t, url+" is ready", func() error { return get(url + "/readyz") })
	}
	for _, f := range functions.All {
		imtest.Eventually(t, f.Name+" is ready", func() error { return get(s.platform.health(f.Name)) })
	}
	return s
}

// Env returns an environment like that of its parts.
func (s *System) Env() *proc.Env {
	s.t.Helper()
	return imtest.Env(s.t, s.vars)
}

// run starts a part with the common settings and these.
func (s *System) run(name string, args []string, vars ...string) {
	s.t.Helper()
	all := maps.Clone(s.vars)
	for i := 0; i < len(vars); i += 2 {
		all[vars[i]] = vars[i+1]
	}
	var env []string
	for k, v := range all {
		env = append(env, k+"="+v)
	}
	s.Parts[name] = imtest.Run(s.t, env, Binary(s.t), args...)
}

func get(url string) error {
	client := &http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

// A platform is what stands in for Knative or OpenFaaS: it finds a function by
// its name, and answers 502 when its process is down.
type platform struct {
	*httptest.Server
	mu  sync.Mutex
	to  map[string]*url.URL
	rev httputil.ReverseProxy
}

func newPlatform(t *testing.T) *platform {
	p := &platform{to: make(map[string]*url.URL)}
	p.rev = httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if to := p.to[strings.Trim(r.In.URL.Path, "/")]; to != nil {
				r.Out.URL = to
			}
		},
		Transport:    &http.Transport{MaxIdleConnsPerHost: 64},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	p.Server = httptest.NewServer(&p.rev)
	t.Cleanup(p.Close)
	return p
}

func (p *platform) route(function, to string) {
	u, err := url.Parse(to)
	if err != nil {
		panic(err) // of this test's own making
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to[function] = u
}

func (p *platform) health(function string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return "http://" + p.to[function].Host + "/readyz"
}
