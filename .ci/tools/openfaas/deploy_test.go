package openfaas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"
	sdk "github.com/openfaas/go-sdk"
	"github.com/openfaas/go-sdk/stack"

	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
)

// Each function is deployed by OpenFaaS's client through its REST API, called
// through its proxy and deleted again, which stops it by SIGTERM.
func TestEveryFunctionAnswersThroughOpenFaaS(t *testing.T) {
	program := binary(t)
	broker := imtest.Kafka(t)[0]
	t.Setenv("KAFKA_BROKERS", broker)
	t.Setenv("INBOX_STORE", "postgres") // no MongoDB is at hand
	secrets := t.TempDir()
	if err := exec.Command(program, "migrate", "keys", secrets).Run(); err != nil {
		t.Fatalf("making keys: %v", err)
	}
	vars := map[string]string{
		"POSTGRES_URL": imtest.Postgres(t), "REDIS_URL": imtest.Redis(t), "MONGODB_URL": "mongodb://127.0.0.1:1/tidings",
		"S3_URL": imtest.S3(t), "KAFKA_BROKERS": broker, "KAFKA_REPLICATION": "1",
	}
	// What is blank is left out: OpenFaaS wants every secret that a function names to be there.
	for _, name := range []string{"POSTGRES_URL", "REDIS_URL", "MONGODB_URL", "S3_URL", "ARCHIVE_URL", "SMTP_URL", "OAUTH_PROVIDERS", "NOTIFY_WEBHOOK_SECRET", "KAFKA_PASSWORD"} {
		file := filepath.Join(secrets, strings.ToLower(strings.ReplaceAll(name, "_", "-")))
		if err := os.WriteFile(file, []byte(vars[name]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := imtest.Env(t, vars)
	if err := postgres.Migrate(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if err := kafka.EnsureTopics(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	p := serve(t, secrets)
	p.program = program
	for _, file := range stacks {
		t.Run(file, func(t *testing.T) { answers(t, p, file) })
	}
}

func answers(t *testing.T, p *provider, file string) {
	client := sdk.NewClient(p.url, nil, http.DefaultClient)
	s := read(t, file, "")
	for name, f := range s.Functions {
		status, err := client.Deploy(t.Context(), types.FunctionDeployment{
			Service: name, Image: f.Image, EnvVars: f.Environment, Secrets: f.Secrets, Labels: f.Labels, Annotations: f.Annotations,
			Limits: resources(f.Limits), Requests: resources(f.Requests), ReadOnlyRootFilesystem: f.ReadOnlyRootFilesystem,
		})
		if err != nil || status != http.StatusAccepted {
			t.Fatalf("deploying %s: %d, %v", name, status, err)
		}
	}
	p.ready()
	deployed, err := client.GetFunctions(t.Context(), "openfaas-fn")
	if err != nil || len(deployed) != len(s.Functions) {
		t.Errorf("%d are deployed, of %d: %v", len(deployed), len(s.Functions), err)
	}

	urls := urlsOf(t, file, p)
	for _, f := range functions.All {
		called(t, f, urls.Of(f.Name))
	}
	for _, name := range p.names() { // anybody may call OpenFaaS's gateway
		resp, err := http.Get(p.url.JoinPath("function", name, "metrics").String())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Errorf("%s shows its metrics to whoever asks OpenFaaS", name)
		}
	}
	works(t, urls)

	for _, name := range p.names() {
		if err := client.DeleteFunction(t.Context(), name, "openfaas-fn"); err != nil {
			t.Errorf("deleting %s: %v", name, err)
		}
	}
}

func resources(r *stack.FunctionResources) *types.FunctionResources {
	return &types.FunctionResources{Memory: r.Memory, CPU: r.CPU}
}

// urlsOf are where gateway and connector look for functions beside OpenFaaS,
// with OpenFaaS at another address.
func urlsOf(t *testing.T, file string, p *provider) fn.URLs {
	t.Helper()
	settings := "openfaas/kubernetes/settings.env"
	if file == "stack.ce.yml" {
		settings = "openfaas/ce/settings.env"
	}
	b, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	vars := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^([A-Z_]+)=(.*)$`).FindAllStringSubmatch(string(b), -1) {
		vars[m[1]] = strings.Replace(m[2], "http://gateway.openfaas:8080", p.url.String(), 1)
	}
	urls, err := fn.OpenURLs(imtest.Env(t, vars))
	if err != nil {
		t.Fatal(err)
	}
	return urls
}

// open are the functions that anybody may call, and what they say to a call
// that says nothing.
var open = map[string]int{
	"user-register": http.StatusBadRequest, "user-login": http.StatusBadRequest,
	"password-forgot": http.StatusBadRequest, "password-reset": http.StatusBadRequest,
	"oauth-start": http.StatusNotFound, "oauth-callback": http.StatusNotFound, // of no provider
	"bot-login": http.StatusUnauthorized,
}

// called calls a function as somebody who has neither token nor seal.
func called(t *testing.T, f fn.Func, url string) {
	t.Helper()
	header := http.Header{"Content-Type": {"application/json"}}
	want := http.StatusUnauthorized
	switch {
	case f.Every > 0:
		want = http.StatusNoContent
	case open[f.Name] != 0:
		want = open[f.Name]
	case !f.Public:
		want = http.StatusUnprocessableEntity
		header.Set("Ce-Specversion", "1.0")
		header.Set("Ce-Id", "1")
		header.Set("Ce-Source", "test")
		header.Set("Ce-Type", f.Accepts)
	}
	resp, body := post(t, url, header, `{}`)
	if resp.StatusCode != want {
		t.Errorf("%s at %s answers %s, not %d: %s", f.Name, url, resp.Status, want, body)
	}
	if want >= 400 && resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s says what is wrong as %q", f.Name, resp.Header.Get("Content-Type"))
	}
	if !f.Public && f.Every == 0 {
		batch := fmt.Sprintf(`[{"specversion":"1.0","id":"1","source":"test","type":%q,"data":{}}]`, f.Accepts)
		resp, body := post(t, url, http.Header{"Content-Type": {"application/cloudevents-batch+json"}}, batch)
		if resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"status":422`)) {
			t.Errorf("%s answers a batch of what is not sealed by %s: %s", f.Name, resp.Status, body)
		}
	}
}

// works registers somebody and calls as them, which takes PostgreSQL, Redis,
// tokens and, for the inbox, whatever holds inboxes.
func works(t *testing.T, urls fn.URLs) {
	t.Helper()
	account := imtest.Name()
	as := http.Header{"Content-Type": {"application/json"}}
	password := "correct horse battery"
	if resp, body := post(t, urls.Of("user-register"), as, fmt.Sprintf(`{"account":%q,"name":"Ann","password":%q}`, account, password)); resp.StatusCode != http.StatusOK {
		t.Fatalf("registering: %s: %s", resp.Status, body)
	}
	resp, body := post(t, urls.Of("user-login"), as, fmt.Sprintf(`{"account":%q,"password":%q,"device":"d1","platform":"web"}`, account, password))
	var tokens struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &tokens); err != nil || tokens.Access == "" {
		t.Fatalf("signing in: %s: %s", resp.Status, body)
	}
	as.Set("Authorization", "Bearer "+tokens.Access)
	for name, call := range map[string]string{
		"user-get": `{"user":"me"}`, "group-create": `{"name":"g"}`, "message-sync": `{}`, "conversation-list": `{}`, "friend-list": `{}`,
		"identity-list": `{}`, "message-search": `{"q":"nothing"}`, "bot-list": `{}`, "push-key": `{}`,
		"file-create": `{"name":"a.txt","type":"text/plain","size":1,"sha256":"` + strings.Repeat("0", 64) + `"}`,
	} {
		if resp, body := post(t, urls.Of(name), as, call); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s: %s", name, resp.Status, body)
		}
	}
}

func post(t *testing.T, url string, header http.Header, body string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header.Clone()
	resp, err := (&http.Client{Timeout: 15 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}
