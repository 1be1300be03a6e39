package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/tidings-im/tidings/shared/proc"
)

// Whoever ends a session tells the gateway that holds its socket, from whatever
// area it does so. A way that a manifest does not open leaves the socket alive.
func TestP6WhoeverEndsSessionsReachesGatewaysOnEveryPlatform(t *testing.T) {
	enders := []string{
		"push-fanout", "push-signal", "push-presence", // and who pushes
		"user-login", "user-logout", "user-delete", "token-refresh", "session-revoke", "session-sweep", "password-change",
		"password-reset", "oauth-callback", // of the area account
		"bot-delete", "bot-token-delete", "bot-sweep", // of the area bot
	}
	m := manifests(t)
	for _, f := range wired(t) {
		want := slices.Contains(enders, f.Name)
		if f.Name == "user-get" || f.Name == "chat-ingest" || f.Name == "persist-history" || f.Name == "bot-list" {
			if slices.Contains(f.Reaches, "gateway") {
				t.Errorf("%s reaches gateways, and has nothing to say to them", f.Name)
			}
		}
		if want && !slices.Contains(f.Reaches, "gateway") {
			t.Errorf("%s does not reach gateways", f.Name)
		}
	}
	for _, name := range enders {
		for platform, reaches := range map[string][]string{"Knative": m.knative[name], "OpenFaaS": m.openfaas[name], "OpenFaaS CE": m.ce[groupOf(name)]} {
			if !slices.Contains(reaches, "gateway") {
				t.Errorf("%s: on %s it reaches %v", name, platform, reaches)
			}
		}
	}
}

// What is written of each deployable is what is on its record, all of it and
// nothing else.
func TestManifestsLetEachFunctionReachWhatItOpens(t *testing.T) {
	m := manifests(t)
	all := wired(t)
	for _, f := range all {
		if got := m.knative[f.Name]; !slices.Equal(got, f.Reaches) {
			t.Errorf("%s: on Knative it reaches %v, and opens %v", f.Name, got, f.Reaches)
		}
		if got := m.openfaas[f.Name]; !slices.Equal(got, f.Reaches) {
			t.Errorf("%s: on OpenFaaS it reaches %v, and opens %v", f.Name, got, f.Reaches)
		}
	}
	for _, g := range grouped(all) {
		if got := m.ce[g.Name]; !slices.Equal(got, g.Reaches) {
			t.Errorf("%s: on OpenFaaS CE it reaches %v, and opens %v", g.Name, got, g.Reaches)
		}
	}
}

// A label that no policy knows opens nothing: each that is written has its own,
// on each platform.
func TestEveryServiceThatIsReachedHasAPolicy(t *testing.T) {
	reached := make(map[string]bool)
	for _, f := range wired(t) {
		for _, s := range f.Reaches {
			reached[s] = true
		}
	}
	for file, prefix := range map[string]string{"../knative/base/policies.yaml": "reaches-", "../openfaas/functions/policies.yaml": "tidings-reaches-"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		opens := make(map[string]bool)
		for doc := range strings.SplitSeq(string(b), "\n---\n") {
			var p struct {
				Metadata struct{ Name string }
				Spec     struct {
					PodSelector struct {
						MatchLabels map[string]string `yaml:"matchLabels"`
					} `yaml:"podSelector"`
					Egress []any
				}
			}
			if err := yaml.Unmarshal([]byte(doc), &p); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if s, ok := strings.CutPrefix(p.Metadata.Name, prefix); ok {
				opens[s] = len(p.Spec.Egress) > 0 && p.Spec.PodSelector.MatchLabels["tidings.dev/reaches-"+s] == "true"
			}
		}
		for s := range reached {
			if !opens[s] {
				t.Errorf("%s lets nobody reach %s", file, s)
			}
		}
	}
	if len(reached) < 7 {
		t.Errorf("reached are only %v", reached)
	}
}

// reaching are the services that deployables reach by their labels.
type reaching struct{ knative, openfaas, ce map[string][]string }

func manifests(t *testing.T) reaching {
	t.Helper()
	files, err := render()
	if err != nil {
		t.Fatal(err)
	}
	r := reaching{knative: make(map[string][]string)}
	for doc := range strings.SplitSeq(string(files["knative/base/functions.yaml"]), "\n---\n") {
		var s struct {
			Metadata struct{ Name string }
			Spec     struct {
				Template struct {
					Metadata struct{ Labels map[string]string }
				}
			}
		}
		if err := yaml.Unmarshal([]byte(doc), &s); err != nil {
			t.Fatal(err)
		}
		if s.Metadata.Name != "" {
			r.knative[s.Metadata.Name] = reachedBy(s.Spec.Template.Metadata.Labels)
		}
	}
	of := func(file string) map[string][]string {
		var s stack
		if err := yaml.Unmarshal(files[file], &s); err != nil {
			t.Fatal(err)
		}
		all := make(map[string][]string)
		for name, f := range s.Functions {
			all[name] = reachedBy(f.Labels)
		}
		return all
	}
	r.openfaas, r.ce = of("stack.yml"), of("stack.ce.yml")
	return r
}

func reachedBy(labels map[string]string) []string {
	var to []string
	for k, v := range labels {
		if s, ok := strings.CutPrefix(k, "tidings.dev/reaches-"); ok && v == "true" {
			to = append(to, s)
		}
	}
	slices.Sort(to)
	return to
}

// Who makes a client of anything has to say so, or its function is let nowhere.
func TestWhoeverMakesAClientSaysWhatItUses(t *testing.T) {
	// Of a package by its last name: what makes something that connects.
	makes := []string{
		"http.Client", "http.Transport", "net.Dialer", "tls.Dialer", "pgxpool.NewWithConfig", "redis.NewUniversalClient", "mongo.Connect", "kafkago.Transport",
		"minio.New", "s3.New", "gomail.NewClient", "fn.NewHTTPClient", "webhook.NewSender", "webhook.NewClient",
	}
	says := []string{"Uses", "OpenURLs", "NewGateways"}
	excused := map[string]string{
		"shared/fn":      "posts where it is told",
		"shared/proc":    "asks itself for its health",
		"shared/imtest":  "of tests",
		"shared/webpush": "sends by the client of webhook",
	}
	found := 0
	for _, root := range []string{"../shared", "../functions"} {
		makers, sayers := make(map[string]string), make(map[string]bool)
		err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				return err
			}
			dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(file)), "../")
			ast.Inspect(f, func(n ast.Node) bool {
				var of ast.Expr
				switch n := n.(type) {
				case *ast.CallExpr:
					of = n.Fun
				case *ast.CompositeLit:
					of = n.Type
				}
				if s, ok := of.(*ast.SelectorExpr); ok {
					if slices.Contains(says, s.Sel.Name) {
						sayers[dir] = true
					}
					if x, ok := s.X.(*ast.Ident); ok && slices.Contains(makes, x.Name+"."+s.Sel.Name) {
						makers[dir] = x.Name + "." + s.Sel.Name
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for dir, what := range makers {
			if strings.HasPrefix(dir, "shared/imtest") || excused[dir] != "" {
				continue
			}
			found++
			if !sayers[dir] {
				t.Errorf("%s makes a %s, and tells no Env what it uses: call Env.Uses before", dir, what)
			}
		}
	}
	if found < 8 {
		t.Errorf("%d packages make clients: how they are found has changed", found)
	}
}

// A secret is in a manifest of who reads it alone.
func TestP6OnlyWhoeverOpensASecretIsGivenIt(t *testing.T) {
	for secret, who := range map[string][]string{
		"TOKEN_PRIVATE_KEY":     {"user-login", "token-refresh", "session-prove", "password-change", "oauth-callback", "bot-login"},
		"SMTP_URL":              {"mail-send"},
		"ARCHIVE_URL":           {"archive-read", "archive-history"},
		"NOTIFY_WEBHOOK_SECRET": {"notify-away", "notify-retry"},
		"VAPID_PRIVATE_KEY":     {"notify-away", "notify-retry"},
		"OAUTH_PROVIDERS":       {"oauth-start", "oauth-callback"},
	} {
		var got []string
		for _, f := range wired(t) {
			if slices.Contains(f.Secrets(), secret) {
				got = append(got, f.Name)
			}
		}
		slices.Sort(who)
		if !slices.Equal(got, who) {
			t.Errorf("%s is given to %v, not to %v", secret, got, who)
		}
	}
}

// Gateway and connector are written by hand: they are given what they open, too.
func TestP6GatewayAndConnectorAreGivenWhatTheyOpen(t *testing.T) {
	for file, build := range map[string]builder{
		"../knative/base/gateway.yaml":                   buildGateway,
		"../knative/components/connector/connector.yaml": buildConnector,
		"../openfaas/kubernetes/gateway.yaml":            buildGateway,
		"../openfaas/kubernetes/connector.yaml":          buildConnector,
	} {
		want, err := needsOf(build)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, b, _ = bytes.Cut(b, []byte("apiVersion: apps/v1\n"))
		b, _, _ = bytes.Cut(b, []byte("\n---\n"))
		var o struct {
			Spec struct {
				Template struct {
					Metadata struct{ Labels map[string]string }
					Spec     struct {
						Containers []struct {
							Env []struct {
								Name      string
								ValueFrom struct {
									SecretKeyRef struct{ Key string } `yaml:"secretKeyRef"`
								} `yaml:"valueFrom"`
							}
						}
					}
				}
			}
		}
		if err := yaml.Unmarshal(b, &o); err != nil || len(o.Spec.Template.Spec.Containers) != 1 {
			t.Fatalf("%s: %v", file, err)
		}
		var secrets []string
		for _, e := range o.Spec.Template.Spec.Containers[0].Env {
			if key := e.ValueFrom.SecretKeyRef.Key; key != "" {
				secrets = append(secrets, key)
			}
		}
		if slices.Sort(secrets); !slices.Equal(secrets, want.Secrets()) {
			t.Errorf("%s is given %v, and opens %v", file, secrets, want.Secrets())
		}
		if got := reachedBy(o.Spec.Template.Metadata.Labels); strings.Contains(file, "knative") && !slices.Equal(got, want.Reaches) {
			t.Errorf("%s reaches %v, and opens %v", file, got, want.Reaches)
		}
	}
}

// The largest calls fit in the memory that a function has, two of them at least,
// and the largest body does.
func TestP7TheLargestCallsFitInTheLimitOfMemory(t *testing.T) {
	all, err := wire()
	if err != nil {
		t.Fatal(err)
	}
	limits := make(map[string]int) // MiB, by what runs a function
	memory := make(map[string]int64)
	for _, f := range all {
		limits[f.Name], memory[f.Name] = f.Scale.Mi(), f.Memory
	}
	for _, g := range grouped(all) {
		limits[g.Name+" (several)"] = g.Scale.Mi()
		for _, f := range g.Functions {
			memory[g.Name+" (several)"] = max(memory[g.Name+" (several)"], f.Memory)
		}
	}
	for name, mi := range limits {
		env := proc.NewEnv(func(setting string) string {
			return map[string]string{"MEMORY_LIMIT": fmt.Sprint(mi << 20)}[setting]
		}, slog.New(slog.DiscardHandler))
		budgets, err := env.Budgets()
		if err != nil {
			t.Fatal(err)
		}
		if work := budgets.Work.Size(); work < 2*memory[name] {
			t.Errorf("%s has %d MiB, of which %d are for calls: two of %d do not fit", name, mi, work>>20, memory[name]>>20)
		}
		if bodies := budgets.Bodies.Size(); bodies < 4*(4<<20) {
			t.Errorf("%s has %d MiB, of which %d are for bodies: one of FUNCTION_MAX_BODY does not fit", name, mi, bodies>>20)
		}
	}
}
