package compose

import (
	"log/slog"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/proc"
)

const top = "../../.."

// load reads docker-compose.yml as docker compose does, with all profiles.
func load(t *testing.T, env ...string) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{top + "/docker-compose.yml"}, cli.WithWorkingDirectory(top), cli.WithEnv(env), cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// given are the files of the volume of keys that a service sees, by where it sees
// them.
func given(s types.ServiceConfig) map[string]string {
	files := make(map[string]string)
	for _, v := range s.Volumes {
		if v.Source == "keys" && v.Volume != nil && v.Volume.Subpath != "" {
			files[v.Target] = v.Volume.Subpath
		}
	}
	return files
}

// own reports whether a service is one of Tidings.
func own(s types.ServiceConfig) bool { return s.Build != nil }

func TestNothingIsWaitedForThatNeverComes(t *testing.T) {
	p := load(t)
	for name, s := range p.Services {
		for dep, how := range s.DependsOn {
			on, ok := p.Services[dep]
			switch {
			case !ok:
				t.Errorf("%s waits for %s, which there is not", name, dep)
			case how.Condition == types.ServiceConditionHealthy && (on.HealthCheck == nil || on.HealthCheck.Disable || len(on.HealthCheck.Test) == 0):
				t.Errorf("%s waits until %s is healthy, which nobody asks", name, dep)
			case how.Condition == types.ServiceConditionCompletedSuccessfully && (on.Restart == "unless-stopped" || on.Restart == "always"):
				t.Errorf("%s waits until %s has ended, which is started again then", name, dep)
			case how.Condition == types.ServiceConditionStarted:
				t.Errorf("%s does not wait until %s can be used", name, dep)
			case len(on.Profiles) > 0 && len(s.Profiles) == 0:
				t.Errorf("%s waits for %s, which is of a profile", name, dep)
			}
		}
	}
	if _, err := order(p); err != nil {
		t.Error(err)
	}
}

func TestTwoPortsAreOpen(t *testing.T) {
	var open []string
	p := load(t)
	for name, s := range p.Services {
		for _, port := range s.Ports {
			switch {
			case port.HostIP != "127.0.0.1":
				t.Errorf("%s: the port %s is open to others than this machine", name, port.Published)
			case len(s.Profiles) == 0:
				open = append(open, name+":"+port.Published)
			}
		}
		if s.NetworkMode != "" && s.NetworkMode != "none" || s.Privileged {
			t.Errorf("%s is not apart from the machine", name)
		}
	}
	slices.Sort(open)
	if !slices.Equal(open, []string{"gateway:8080", "s3:9000"}) {
		t.Errorf("open are %v", open)
	}
	if p := load(t, "PORT=9999"); p.Services["gateway"].Ports[0].Published != "9999" || p.Services["gateway"].Ports[0].Target != 8080 {
		t.Errorf("PORT=9999 opens %v", p.Services["gateway"].Ports)
	}
}

func TestP6PortsAreOpenToOthersIfThatIsAskedFor(t *testing.T) {
	p := load(t, "BIND_ADDRESS=0.0.0.0")
	for _, name := range []string{"gateway", "s3"} {
		if at := p.Services[name].Ports[0].HostIP; at != "0.0.0.0" {
			t.Errorf("%s is open at %s", name, at)
		}
	}
}

// Each store is in a network of its own, which leads nowhere but to those that
// open it; out of the machine get those alone that have to.
func TestP6ContainersReachWhatTheyOpen(t *testing.T) {
	p := load(t)
	for name, n := range p.Networks {
		if open := name == "edge" || name == "outside"; bool(n.Internal) == open {
			t.Errorf("the network %s leads out: %t", name, !n.Internal)
		}
	}
	members := make(map[string][]string)
	for name, s := range p.Services {
		for network := range s.Networks {
			members[network] = append(members[network], name)
		}
	}
	for _, who := range members {
		slices.Sort(who)
	}
	for network, want := range map[string][]string{
		"edge":    {"gateway", "grafana", "jaeger", "s3"},
		"outside": {"accounts", "away", "timers"},
		"s3":      {"archive", "files", "migrate", "s3", "timers"},
		"kafka":   {"accounts", "away", "bots", "chat-ingest", "connector", "friends", "groups", "kafka", "messages", "migrate", "persist-inbox", "timers", "users"},
	} {
		for _, name := range members[network] {
			if !slices.Contains(want, name) {
				t.Errorf("%s is in the network %s", name, network)
			}
		}
	}
	for store, member := range map[string]string{"postgres": "users", "mongodb": "persist-inbox", "redis": "gateway", "kafka": "connector", "s3": "files"} {
		if !slices.Contains(members[store], store) || !slices.Contains(members[store], member) {
			t.Errorf("in the network %s are %v", store, members[store])
		}
	}
	for name, s := range p.Services { // who ends sessions or pushes finds gateways in the network of all functions
		_, in := s.Networks["tidings"]
		if own(s) && name != "migrate" && name != "keys" && !in {
			t.Errorf("%s finds neither functions nor gateways", name)
		}
	}
}

// No container sees a key that its functions do not open, and keys alone sees all.
func TestP6EachContainerSeesItsOwnKeys(t *testing.T) {
	p := load(t)
	for name, s := range p.Services {
		for _, v := range s.Volumes {
			if v.Source == "keys" && (v.Volume == nil || v.Volume.Subpath == "") && name != "keys" {
				t.Errorf("%s sees all keys", name)
			}
			if v.Source == "keys" && name != "keys" && !v.ReadOnly {
				t.Errorf("%s may change keys", name)
			}
		}
		for k, v := range s.Environment {
			if v != nil && *v != "" && regexp.MustCompile(`PASSWORD$|SECRET|_KEYS?$|_URL$`).MatchString(k) && strings.Contains(*v, "@") {
				t.Errorf("%s has a password in %s", name, k)
			}
		}
	}
	for key, want := range map[string][]string{
		"token-private-key": {"accounts", "bots", "users"},
		"account-keys":      {"accounts", "away", "bots", "timers", "users"},
		"archive-url":       {"archive", "migrate", "timers"},
		"s3-url":            {"files", "migrate", "timers"},
		"vapid-private-key": {"away", "timers"},
		"postgres-password": {"postgres"},
		"mongodb-password":  {"mongodb"},
		"redis-password":    {"redis"},
		"s3-password":       {"s3"},
		"kafka-jaas":        {"kafka"},
	} {
		var got []string
		for name, s := range p.Services {
			if slices.Contains(slices.Collect(maps.Values(given(s))), key) {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s is seen by %v, not by %v", key, got, want)
		}
	}
}

// What is in .env is passed to whoever reads it.
func TestAVariableSetsTheSettingOfItsName(t *testing.T) {
	p := load(t, "CLIENT_ADDRESS_HEADER=X-Forwarded-For", "ALLOWED_ORIGINS=https://chat.example.org", "DIRECT_POLICY=friends", "POSTGRES_POOL=7", "PORT=9999")
	for of, settings := range map[string]map[string]string{
		"gateway":     {"CLIENT_ADDRESS_HEADER": "X-Forwarded-For", "ALLOWED_ORIGINS": "https://chat.example.org"},
		"chat-ingest": {"DIRECT_POLICY": "friends", "POSTGRES_POOL": "7"},
		"users":       {"POSTGRES_POOL": "7"},
	} {
		for name, want := range settings {
			if got := p.Services[of].Environment[name]; got == nil || *got != want {
				t.Errorf("%s is not told %s=%s", of, name, want)
			}
		}
		if p.Services[of].Environment["PORT"] != nil {
			t.Errorf("%s listens at the port of the machine", of)
		}
	}
}

func TestImagesOfOthersArePinned(t *testing.T) {
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:[A-Za-z0-9._-]+@sha256:[0-9a-f]{64}$`)
	for name, s := range load(t, "REGISTRY=registry.example.org/tidings", "TAG=1.2.3").Services {
		if !own(s) {
			if !pinned.MatchString(s.Image) {
				t.Errorf("%s: %s has no tag for people and digest for machines", name, s.Image)
			}
			continue
		}
		if want := "registry.example.org/tidings/tidings:1.2.3"; s.Image != want {
			t.Errorf("%s: the image %s is built, not %s", name, s.Image, want)
		}
	}
}

func TestWhatIsKeptHasAName(t *testing.T) {
	p := load(t)
	used := make(map[string]bool)
	for name, s := range p.Services {
		for _, v := range s.Volumes {
			switch v.Type {
			case types.VolumeTypeVolume:
				if _, ok := p.Volumes[v.Source]; !ok {
					t.Errorf("%s: the volume %q is not declared", name, v.Source)
				}
				used[v.Source] = true
			case types.VolumeTypeBind:
				if _, err := os.Stat(v.Source); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if !v.ReadOnly {
					t.Errorf("%s may write to %s", name, v.Source)
				}
			}
		}
	}
	for name := range p.Volumes {
		if !used[name] {
			t.Errorf("nothing uses the volume %s", name)
		}
	}
	for _, name := range []string{"postgres", "mongodb", "redis", "kafka", "s3"} {
		if !used[name] {
			t.Errorf("%s keeps nothing", name)
		}
	}
}

// Links are signed for what clients call the store, which is the port that is
// open on this machine, unless whoever deploys says how it is reached.
func TestLinksLeadToThePortOfTheStore(t *testing.T) {
	for env, want := range map[string]string{
		"":          "http://127.0.0.1:9000",
		"S3_PORT=1": "http://127.0.0.1:1",
		"S3_PUBLIC_URL=https://files.example.org": "https://files.example.org",
	} {
		p := load(t, env)
		if got := *p.Services["files"].Environment["S3_PUBLIC_URL"]; got != want {
			t.Errorf("%s: links lead to %s, not %s", env, got, want)
		}
		if port := p.Services["s3"].Ports[0]; strings.HasPrefix(want, "http:") && want != "http://127.0.0.1:"+port.Published {
			t.Errorf("%s: links lead to %s, and open is %s", env, want, port.Published)
		}
	}
}

// Anchors are merged one level deep: what is said beside << takes the place of
// what is merged, whole.
func TestWhatIsSharedIsMerged(t *testing.T) {
	p := load(t)
	count := 0
	for name, s := range p.Services {
		if !own(s) {
			continue
		}
		count++
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s may do more than it needs", name)
		}
		if s.User != "" && name != "keys" {
			t.Errorf("%s runs as %s", name, s.User)
		}
		if name != "keys" && len(given(s)) == 0 {
			t.Errorf("%s has no keys", name)
		}
		once := name == "keys" || name == "migrate"
		if (s.HealthCheck == nil || s.HealthCheck.Disable) != once {
			t.Errorf("%s has the health check %v", name, s.HealthCheck)
		}
		if (s.Restart == "unless-stopped") == once {
			t.Errorf("%s: restart: %s", name, s.Restart)
		}
		if calls := []string{"gateway", "connector", "users", "accounts", "messages", "timers"}; (s.Environment["FUNCTION_URL"] != nil) != slices.Contains(calls, name) {
			t.Errorf("%s is told where functions are, or is not", name)
		}
	}
	if keys := p.Services["keys"]; len(keys.DependsOn) > 0 || keys.NetworkMode != "none" {
		t.Errorf("keys waits for %v, and talks to somebody", keys.DependsOn)
	}
	if count < 10 {
		t.Errorf("%d services are Tidings's own", count)
	}
}

// Whoever is named in a URL is a service.
func TestEveryHostIsAService(t *testing.T) {
	p := load(t)
	for name, s := range p.Services {
		if !own(s) {
			continue
		}
		for k, v := range s.Environment {
			if v == nil || k == "FUNCTION_URL" || k == "S3_PUBLIC_URL" { // of which the one is a pattern, the other for clients
				continue
			}
			hosts := []string{}
			if u, err := url.Parse(*v); err == nil && u.Host != "" {
				hosts = append(hosts, u.Hostname())
			} else if k == "KAFKA_BROKERS" {
				for _, b := range strings.Split(*v, ",") {
					host, _, _ := strings.Cut(b, ":")
					hosts = append(hosts, host)
				}
			}
			for _, host := range hosts {
				if _, ok := p.Services[host]; !ok {
					t.Errorf("%s: %s names %s, which is no service", name, k, host)
				}
			}
		}
	}
	for _, of := range []string{"gateway", "connector", "users", "accounts", "messages", "timers"} {
		urls := urlsOf(t, p.Services[of])
		for _, f := range functions.All {
			u, err := url.Parse(urls.Of(f.Name))
			if err != nil {
				t.Fatal(err)
			}
			s, ok := p.Services[u.Hostname()]
			if !ok || u.Port() != "8080" || u.Path != "/"+f.Name {
				t.Errorf("%s looks for %s at %s", of, f.Name, u)
				continue
			}
			served, err := fn.Select(functions.All, strings.Split(s.Command[1], ","))
			if err != nil || !slices.ContainsFunc(served, func(g fn.Func) bool { return g.Name == f.Name }) {
				t.Errorf("%s is not served by %s: %v", f.Name, u.Hostname(), err)
			}
		}
	}
	for _, f := range functions.All {
		timers := *p.Services["connector"].Environment["CONNECTOR_TIMERS"]
		if f.Every > 0 && !slices.Contains(strings.Split(timers, ","), f.Name+"="+f.Every.String()) {
			t.Errorf("no clock calls %s", f.Name)
		}
	}
}

func urlsOf(t *testing.T, s types.ServiceConfig) fn.URLs {
	t.Helper()
	env := proc.NewEnv(func(name string) string {
		if v := s.Environment[name]; v != nil {
			return *v
		}
		return ""
	}, slog.New(slog.DiscardHandler))
	urls, err := fn.OpenURLs(env)
	if err != nil {
		t.Fatal(err)
	}
	return urls
}

// Every setting that compose gives to Tidings is one that docs/operations.md
// knows: a slip of the pen would be passed over otherwise.
func TestEverySettingIsOne(t *testing.T) {
	doc, err := os.ReadFile(top + "/docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range load(t).Services {
		if !own(s) {
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(s.Environment)) {
			if !strings.Contains(string(doc), "| `"+k+"` |") {
				t.Errorf("%s: there is no setting %s", name, k)
			}
		}
	}
}
