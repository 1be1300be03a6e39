package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/proc"
)

func TestWhatIsCommittedIsWhatWouldBeWritten(t *testing.T) {
	files, err := render()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(name)))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what deploy/ says: run go run ./deploy (%s)", name, differ(got, want))
		}
	}
}

// differ says where two texts part.
func differ(got, want []byte) string {
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "line " + g[i] + " would be " + w[i]
		}
	}
	return "one is longer"
}

func TestEveryFunctionIsInOneGroup(t *testing.T) {
	all := wired(t)
	in := make(map[string]string)
	for _, g := range grouped(all) {
		if len(g.Functions) == 0 {
			t.Errorf("nothing is in the group %s", g.Name)
		}
		for _, f := range g.Functions {
			if in[f.Name] != "" {
				t.Errorf("%s is in %s and in %s", f.Name, in[f.Name], g.Name)
			}
			in[f.Name] = g.Name
			if (f.Every > 0) != g.Timed() {
				t.Errorf("%s is in %s: what a clock calls shares a deployable that nobody else calls", f.Name, g.Name)
			}
		}
	}
	for _, f := range functions.All {
		if in[f.Name] == "" {
			t.Errorf("%s is in no group", f.Name)
		}
	}
}

func TestEveryPatternOfTheTablesMeansSomething(t *testing.T) {
	var patterns []string
	for _, s := range scales {
		patterns = append(patterns, s.pattern)
	}
	for _, g := range groups {
		patterns = append(patterns, strings.Split(g.patterns, ",")...)
	}
	for _, p := range patterns {
		if !slices.ContainsFunc(functions.All, func(f fn.Func) bool { return matches(p, f.Name) }) {
			t.Errorf("no function is called %s", p)
		}
	}
}

// A process bounds its pictures and its parts of the archive by function.
func TestADeployableHasTheMemoryOfItsFunctions(t *testing.T) {
	for _, g := range grouped(wired(t)) {
		least, held := 0, 0
		for _, f := range g.Functions {
			least = max(least, f.Scale.Mi())
			if f.Scale.Name == bulk.Name {
				held += f.Scale.Mi()
			}
		}
		if least = max(least, held); least == 0 || g.Scale.Mi() < least {
			t.Errorf("%s may use %d MiB, and its functions %d", g.Name, g.Scale.Mi(), least)
		}
	}
}

// A deployable serves what the setting FUNCTIONS chooses, which may be more than
// its group: it must have what all of that reads, or it does not start.
func TestADeployableHasWhatItsFunctionsNeed(t *testing.T) {
	all := wired(t)
	for _, g := range grouped(all) {
		served, err := fn.Select(functions.All, strings.Split(g.Patterns(), ","))
		if err != nil {
			t.Errorf("%s: %v", g.Name, err)
			continue
		}
		for _, f := range g.Functions {
			if !slices.ContainsFunc(served, func(s fn.Func) bool { return s.Name == f.Name }) {
				t.Errorf("%s is of the group %s, which does not serve it", f.Name, g.Name)
			}
		}
		for _, s := range served {
			f := all[slices.IndexFunc(all, func(f function) bool { return f.Name == s.Name })]
			for _, need := range f.Required {
				if !slices.Contains(g.Required, need) {
					t.Errorf("%s serves %s and has no %s", g.Name, f.Name, need)
				}
			}
			for _, secret := range f.Optional {
				if !slices.Contains(g.Secrets(), secret) {
					t.Errorf("%s serves %s and cannot have %s", g.Name, f.Name, secret)
				}
			}
			for _, setting := range f.Settings {
				if !g.Reads(setting) {
					t.Errorf("%s serves %s and is not told %s", g.Name, f.Name, setting)
				}
			}
			for _, service := range f.Reaches {
				if !slices.Contains(g.Reaches, service) {
					t.Errorf("%s serves %s and does not reach %s", g.Name, f.Name, service)
				}
			}
		}
	}
}

// FUNCTION_GROUPS is written where people copy it from: gateway and connector
// have to find by it what the same file deploys.
func TestGatewayAndConnectorFindEachFunctionInItsDeployable(t *testing.T) {
	files, err := render()
	if err != nil {
		t.Fatal(err)
	}
	unset := regexp.MustCompile(`\$\{\w+:-(\S*?)\}`) // what a variable of whoever deploys is, if they set none
	setting := func(file, name string) string {
		t.Helper()
		found := regexp.MustCompile(name+`[=:] ?(\S+)`).FindAllSubmatch(files[file], -1)
		if len(found) == 0 {
			t.Fatalf("%s does not say %s", file, name)
		}
		for _, f := range found {
			if !bytes.Equal(unset.ReplaceAll(f[1], []byte("$1")), unset.ReplaceAll(found[0][1], []byte("$1"))) {
				t.Errorf("%s says several things about %s", file, name)
			}
		}
		return string(unset.ReplaceAll(found[0][1], []byte("$1")))
	}
	for file, at := range map[string]string{
		"docker-compose.yml":       "http://%g:8080/%f",
		"stack.ce.yml":             "http://gateway.openfaas:8080/function/%g/%f", // where OPENFAAS_INTERNAL says nothing
		"openfaas/ce/settings.env": "http://gateway.openfaas:8080/function/%g/%f",
		"openfaas/faasd.yaml":      "http://gateway:8080/function/%g/%f",
	} {
		vars := map[string]string{"FUNCTION_URL": setting(file, "FUNCTION_URL"), "FUNCTION_GROUPS": setting(file, "FUNCTION_GROUPS")}
		urls, err := fn.OpenURLs(proc.NewEnv(func(name string) string { return vars[name] }, slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for _, f := range functions.All {
			want := strings.NewReplacer("%g", groupOf(f.Name), "%f", f.Name).Replace(at)
			if got := urls.Of(f.Name); got != want {
				t.Errorf("%s: %s is looked for at %s, and is at %s", file, f.Name, got, want)
			}
		}
	}
}

type stack struct {
	Functions map[string]struct {
		Labels      map[string]string
		Annotations map[string]string
		Environment map[string]string
		Secrets     []string
	}
}

func TestStacksKeepToTheLimitsOfOpenFaaS(t *testing.T) {
	all := wired(t)
	var secrets []string
	for _, f := range all {
		secrets = append(secrets, f.Secrets()...)
	}
	settings, err := os.ReadFile("../openfaas/ce/settings.env")
	if err != nil {
		t.Fatal(err)
	}
	for file, most := range map[string]int{"stack.yml": 1 << 20, "stack.ce.yml": 15} {
		var s stack
		b, err := os.ReadFile("../" + file)
		if err == nil {
			err = yaml.Unmarshal(b, &s)
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Functions) > most {
			t.Errorf("%s has %d functions, of %d at most", file, len(s.Functions), most)
		}
		name := regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
		for n, f := range s.Functions {
			if !name.MatchString(n) {
				t.Errorf("%s: %q is no name of a Kubernetes Service", file, n)
			}
			for k, v := range f.Labels {
				if len(v) > 63 || !regexp.MustCompile(`^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$`).MatchString(v) {
					t.Errorf("%s: %s: the label %s cannot be %q", file, n, k, v)
				}
			}
			for _, secret := range f.Secrets {
				if !name.MatchString(secret) {
					t.Errorf("%s: %s: %q is no name of a secret", file, n, secret)
				}
			}
			for k := range f.Environment {
				if slices.Contains(secrets, k) {
					t.Errorf("%s: %s has the secret %s in its environment, for everybody to read", file, n, k)
				}
			}
		}
		// What triggers is said by annotations.
		for _, f := range all {
			of := f.Name
			if file == "stack.ce.yml" {
				of = f.Group
			}
			got := s.Functions[of].Annotations
			switch {
			case f.Every > 0 && file == "stack.yml" && (got["topic"] != "cron-function" || got["schedule"] == ""):
				t.Errorf("%s: no clock calls %s: %v", file, of, got)
			case f.Every > 0 && file == "stack.ce.yml" && !bytes.Contains(settings, []byte(f.Name+"="+f.Every.String())):
				t.Errorf("openfaas/ce: no clock calls %s", f.Name)
			case f.Topic != "" && !slices.Contains(strings.Split(got["topic"], ","), f.Topic):
				t.Errorf("%s: %s is triggered by %q, not %q", file, of, got["topic"], f.Topic)
			}
		}
	}
}

// What docs/deploy.md says to copy names every function that a clock calls, and
// how often.
func TestTheClockOfTheDocs(t *testing.T) {
	doc, err := os.ReadFile("../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^timers=(.*)$`).FindSubmatch(doc)
	if line == nil {
		t.Fatal("docs/deploy.md does not say what CONNECTOR_TIMERS is")
	}
	every := make(map[string]time.Duration)
	for part := range strings.SplitSeq(string(line[1]), ",") {
		name, often, _ := strings.Cut(part, "=")
		if every[name], err = time.ParseDuration(often); err != nil {
			t.Error(err)
		}
	}
	for _, f := range functions.All {
		if f.Every != every[f.Name] {
			t.Errorf("docs/deploy.md has %s called every %s, and it is to be every %s", f.Name, every[f.Name], f.Every)
		}
	}
}

// Who waits gives up after whom it waits for, so that the answer is the one that
// says what went wrong.
func TestTimeoutsNest(t *testing.T) {
	function := setting(t, "FUNCTION_TIMEOUT")
	var s stack
	b, err := os.ReadFile("../stack.yml")
	if err == nil {
		err = yaml.Unmarshal(b, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	for n, f := range s.Functions {
		d, err := time.ParseDuration(f.Environment["FUNCTION_TIMEOUT"])
		if err != nil {
			t.Errorf("%s: %v", n, err)
		}
		function = max(function, d)
	}
	platform := 60 * time.Second // upstream_timeout of OpenFaaS's gateway in its chart and in faasd
	for _, caller := range []string{"CONNECTOR_TIMEOUT", "GATEWAY_CALL_TIMEOUT"} {
		if d := setting(t, caller); d <= function || d >= platform {
			t.Errorf("%s is %s: it is to be more than FUNCTION_TIMEOUT (%s) and less than what the platform waits (%s)", caller, d, function, platform)
		}
	}
	var compose struct {
		Services map[string]struct {
			Grace string `yaml:"stop_grace_period"`
		}
	}
	if b, err = os.ReadFile("../docker-compose.yml"); err == nil {
		err = yaml.UnmarshalWithOptions(b, &compose, yaml.AllowDuplicateMapKey()) // a key beside << is the one that counts
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{"gateway", "connector", "users"} {
		needs := proc.Grace
		if of == "gateway" {
			needs += proc.Grace // for its connections, before that
		}
		if d, err := time.ParseDuration(compose.Services[of].Grace); err != nil || d <= needs {
			t.Errorf("docker-compose.yml kills %s after %q; stopping takes it up to %s", of, compose.Services[of].Grace, needs)
		}
	}
}

// setting returns the default of a setting, as the table of docs/operations.md
// says, which is held to the code.
func setting(t *testing.T, name string) time.Duration {
	t.Helper()
	doc, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?m)^\\| `" + name + "` \\| `([^`]+)` \\|").FindSubmatch(doc)
	if m == nil {
		t.Fatalf("docs/operations.md has no %s", name)
	}
	d, err := time.ParseDuration(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCron(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Minute: "* * * * *", 5 * time.Minute: "*/5 * * * *", time.Hour: "0 * * * *"} {
		if got, err := cron(d); got != want || err != nil {
			t.Errorf("%s: %q, %v; not %q", d, got, err, want)
		}
	}
	for _, d := range []time.Duration{time.Second, 90 * time.Second, 7 * time.Minute, 2 * time.Hour} {
		if got, err := cron(d); err == nil {
			t.Errorf("%s is told as %q", d, got)
		}
	}
}

func wired(t *testing.T) []function {
	t.Helper()
	all, err := wire()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(functions.All) {
		t.Fatalf("%d functions of %d", len(all), len(functions.All))
	}
	return all
}
