package observe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/tidings-im/tidings/functions"
)

// root is the checkout.
const root = ".."

// kinds are what the code registers, by name: "Gauge", "Counter" or "Histogram".
type kinds map[string]string

// registered reads the metrics, and the names of their labels, from the code.
func registered(t *testing.T) (kinds, map[string]bool) {
	t.Helper()
	all, labels := make(kinds), make(map[string]bool)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool {
			return i.Path.Value == `"github.com/prometheus/client_golang/prometheus"`
		}) {
			read(file, all, labels)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("the code registers %d metrics", len(all))
	}
	return all, labels
}

var (
	full   = regexp.MustCompile(`^tidings(_[a-z0-9]+)+$`)
	prefix = regexp.MustCompile(`^tidings(_[a-z0-9]+)*_$`)
	short  = regexp.MustCompile(`^[a-z]+(_[a-z0-9]+)+$`)
)

// read adds what a file registers. Where it puts a prefix before names, its
// other names are taken to be those.
func read(file *ast.File, all kinds, labels map[string]bool) {
	begins, kind := "", ""
	var rest []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			typ, isOpts := "", false
			if sel, ok := n.Type.(*ast.SelectorExpr); ok {
				typ, isOpts = strings.CutSuffix(sel.Sel.Name, "Opts")
			}
			if array, ok := n.Type.(*ast.ArrayType); ok && fmt.Sprint(array.Elt) == "string" {
				for _, el := range n.Elts {
					labels[text(el)] = true
				}
			}
			for _, el := range n.Elts {
				kv, ok := el.(*ast.KeyValueExpr)
				if !isOpts || !ok || fmt.Sprint(kv.Key) != "Name" {
					continue
				}
				switch value := kv.Value.(type) {
				case *ast.BasicLit:
					all[text(value)] = typ
				case *ast.BinaryExpr:
					if p := text(value.X); prefix.MatchString(p) {
						begins, kind = p, typ
					}
				default: // the parameter of a helper, which is called with whole names
					kind = typ
				}
			}
		case *ast.BasicLit:
			if s := text(n); full.MatchString(s) || short.MatchString(s) {
				rest = append(rest, s)
			}
		case *ast.CallExpr: // of a helper: vec(name, help, label)
			if len(n.Args) == 3 && short.MatchString(text(n.Args[0])) && text(n.Args[2]) != "" {
				labels[text(n.Args[2])] = true
			}
		}
		return true
	})
	for _, s := range rest {
		switch {
		case all[s] != "":
		case full.MatchString(s):
			all[s] = kind
		case begins != "":
			all[begins+s] = kind
		}
	}
}

// text returns the string of a literal, or "".
func text(e ast.Node) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return s
}

// others are metrics of Prometheus itself and of its Go client.
var others = []string{"up", "process_resident_memory_bytes", "process_cpu_seconds_total", "go_goroutines"}

// has reports whether a series of that name exists.
func (k kinds) has(series string) bool {
	if slices.Contains(others, series) {
		return true
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if name, ok := strings.CutSuffix(series, suffix); ok && k[name] == "Histogram" {
			return true
		}
	}
	kind := k[series]
	return kind != "" && kind != "Histogram"
}

type alert struct {
	Alert       string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []alert
		}
	}
	decode(t, "alerts.yml", &file)
	var all []alert
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("%d alerts", len(all))
	}
	return all
}

// decode reads YAML, of which nothing may be unknown.
func decode(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

type panel struct {
	ID         int
	Type       string
	Title      string
	Datasource struct{ UID string }
	GridPos    struct{ H, W, X, Y int }
	Targets    []struct{ RefID, Expr string }
}

func dashboard(t *testing.T) []panel {
	t.Helper()
	b, err := os.ReadFile("grafana/dashboards/tidings.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title  string
		Panels []panel
	}
	if err := json.Unmarshal(b, &board); err != nil {
		t.Fatal(err)
	}
	if board.Title != "Tidings" || len(board.Panels) < 20 {
		t.Fatalf("%q has %d panels", board.Title, len(board.Panels))
	}
	return board.Panels
}

// expressions returns all PromQL by where it is.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, a := range alerts(t) {
		all["alert "+a.Alert] = a.Expr
	}
	for _, p := range dashboard(t) {
		for _, target := range p.Targets {
			all[fmt.Sprintf("panel %q, %s", p.Title, target.RefID)] = target.Expr
		}
	}
	return all
}

var (
	quoted   = regexp.MustCompile(`"[^"]*"`)
	matchers = regexp.MustCompile(`\{([^{}]*)\}`)
	matcher  = regexp.MustCompile(`^ *([a-z_]+) *(?:=~|!~|!=|=) *"([^"]*)" *$`)
	spans    = regexp.MustCompile(`\[(?:\d+[smhd]|\$__rate_interval)\]|\boffset \d+[smhd]\b`)
	grouping = regexp.MustCompile(`\b(?:by|without|on|ignoring) *\(([^()]*)\)`)
	words    = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*(?: *\()?`)
)

// calls are the functions and operators of PromQL that are in use here.
var calls = []string{"sum", "max", "rate", "increase", "deriv", "histogram_quantile", "absent"}

// names returns the series that an expression asks for, its labels, and what of
// it makes no sense. It is no parser: .ci/tools/promql has the real one.
func names(expr string) (series, labels, wrong []string) {
	for _, m := range matchers.FindAllStringSubmatch(expr, -1) {
		for _, one := range splitMatchers(m[1]) {
			if parts := matcher.FindStringSubmatch(one); parts == nil {
				wrong = append(wrong, one)
			} else {
				labels = append(labels, parts[1])
			}
		}
	}
	expr = matchers.ReplaceAllString(expr, " ")
	expr = spans.ReplaceAllString(expr, " ")
	for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(m[1], ",") {
			if label = strings.TrimSpace(label); label != "" {
				labels = append(labels, label)
			}
		}
	}
	expr = grouping.ReplaceAllString(expr, " ")
	if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.ContainsAny(expr, `{}[]"`) {
		wrong = append(wrong, expr)
	}
	for _, w := range words.FindAllString(expr, -1) {
		name, call := strings.CutSuffix(w, "(")
		name = strings.TrimSpace(name)
		switch {
		case call && slices.Contains(calls, name):
		case slices.Contains([]string{"and", "or", "unless", "group_left", "sum", "max"}, name): // sum by (…) (
		case call:
			wrong = append(wrong, name+"()")
		default:
			series = append(series, name)
		}
	}
	return series, labels, wrong
}

// splitMatchers splits at the commas that are in no string.
func splitMatchers(s string) []string {
	held := quoted.ReplaceAllStringFunc(s, func(q string) string { return strings.ReplaceAll(q, ",", "\x00") })
	var out []string
	for one := range strings.SplitSeq(held, ",") {
		out = append(out, strings.ReplaceAll(one, "\x00", ","))
	}
	return out
}

func TestWhatIsAskedForExists(t *testing.T) {
	have, labels := registered(t)
	for _, l := range []string{"job", "instance", "service", "le"} { // of Prometheus, and prometheus.yml
		labels[l] = true
	}
	for where, expr := range expressions(t) {
		series, used, wrong := names(expr)
		if len(wrong) > 0 || len(series) == 0 {
			t.Errorf("%s: %q makes no sense in %s", where, wrong, expr)
		}
		for _, s := range series {
			if !have.has(s) {
				t.Errorf("%s: nothing registers %s", where, s)
			}
		}
		for _, l := range used {
			if !labels[l] {
				t.Errorf("%s: nothing has the label %s", where, l)
			}
		}
	}
}

// The check is one only if it can fail.
func TestWhatDoesNotExistIsNoticed(t *testing.T) {
	have, _ := registered(t)
	for _, tt := range []struct{ expr, unknown, wrong string }{
		{expr: `sum(rate(tidings_gateway_acept_seconds_count[5m]))`, unknown: "tidings_gateway_acept_seconds_count"},
		{expr: `sum(tidings_gateway_accept_seconds)`, unknown: "tidings_gateway_accept_seconds"},
		{expr: `tidings_gateway_connections_bucket`, unknown: "tidings_gateway_connections_bucket"},
		{expr: `tiding_gateway_connections > 1`, unknown: "tiding_gateway_connections"},
		{expr: `summ(up)`, wrong: "summ()"},
		{expr: `sum(up`, wrong: "sum(up"},
		{expr: `up{job=gateway}`, wrong: "job=gateway"},
		{expr: `rate(up[5 minutes])`, wrong: "rate(up[5 minutes])"},
	} {
		series, _, wrong := names(tt.expr)
		unknown := slices.DeleteFunc(series, have.has)
		if tt.unknown != "" && !slices.Equal(unknown, []string{tt.unknown}) || tt.wrong != "" && !slices.Contains(wrong, tt.wrong) {
			t.Errorf("%s: unknown %q, wrong %q", tt.expr, unknown, wrong)
		}
	}
	if have.has("tidings_gateway_closes_total") != true || have["tidings_gateway_closes_total"] != "Counter" || have["tidings_postgres_pool_acquired"] != "Gauge" {
		t.Errorf("%v", have)
	}
}

// A function that an expression names is one of functions.All.
func TestFunctionsThatAreNamedExist(t *testing.T) {
	asks := regexp.MustCompile(`function(?:=~?|!=|!~)"([^"$]+)"`)
	for where, expr := range expressions(t) {
		for _, m := range asks.FindAllStringSubmatch(expr, -1) {
			for one := range strings.SplitSeq(m[1], "|") {
				pattern := regexp.MustCompile("^(?:" + one + ")$")
				known := false
				for _, f := range functions.All {
					known = known || pattern.MatchString(f.Name)
				}
				if !known {
					t.Errorf("%s: no function is %s", where, one)
				}
			}
		}
	}
	var fromKafka []string
	for _, f := range functions.All {
		if f.Topic != "" {
			fromKafka = append(fromKafka, f.Name)
		}
	}
	slices.Sort(fromKafka)
	for _, a := range alerts(t) {
		if a.Alert == "TidingsDeadLetters" && !strings.Contains(a.Expr, `"`+strings.Join(fromKafka, "|")+`"`) {
			t.Errorf("%s does not look at %q", a.Alert, fromKafka)
		}
	}
}

func TestAlertsSayWhatToDo(t *testing.T) {
	page, err := os.ReadFile(root + "/docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	entries := make(map[string]string)
	for part := range strings.SplitSeq("\n"+string(page), "\n### ") {
		if name, body, ok := strings.Cut(part, "\n"); ok && strings.HasPrefix(name, "Tidings") {
			entries[name] = body
		}
	}
	for _, a := range alerts(t) {
		body, ok := entries[a.Alert]
		delete(entries, a.Alert)
		if !ok {
			t.Errorf("docs/runbook.md has no entry %s", a.Alert)
		}
		for _, part := range []string{"**Means.**", "**Users notice.**", "**Look at.**", "**Do.**", "**Do not.**"} {
			if ok && !strings.Contains(body, part) {
				t.Errorf("the entry %s has no %s", a.Alert, part)
			}
		}
		if a.Annotations["runbook_url"] != "docs/runbook.md#"+strings.ToLower(a.Alert) {
			t.Errorf("%s has the runbook %s", a.Alert, a.Annotations["runbook_url"])
		}
		if a.Annotations["summary"] == "" {
			t.Errorf("%s has no summary", a.Alert)
		}
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s has the severity %q", a.Alert, s)
		}
		if _, err := time.ParseDuration(a.For); a.For != "" && err != nil {
			t.Errorf("%s: %v", a.Alert, err)
		} else if a.For == "" && !strings.Contains(a.Expr, "increase(") {
			t.Errorf("%s fires for a moment's sake", a.Alert)
		}
	}
	for name := range entries {
		t.Errorf("docs/runbook.md has an entry %s, which is no alert", name)
	}
}

// The table of metrics in docs/operations.md is that of the code.
func TestEveryMetricIsDocumented(t *testing.T) {
	page, err := os.ReadFile(root + "/docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "<!-- metrics -->")
	table, _, ok := strings.Cut(table, "<!-- end of metrics -->")
	if !ok {
		t.Fatal("docs/operations.md has no table of metrics")
	}
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\|").FindAllStringSubmatch(table, -1) {
		rows = append(rows, m[1])
	}
	slices.Sort(rows)
	have, _ := registered(t)
	if want := slices.Sorted(maps.Keys(have)); !slices.Equal(rows, want) {
		t.Errorf("docs/operations.md has %q\nthe code has %q", rows, want)
	}
}

// The table of functions by the clock in docs/operations.md is that of the code.
func TestEveryTimerIsDocumented(t *testing.T) {
	page, err := os.ReadFile(root + "/docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	got, want := make(map[string]time.Duration), make(map[string]time.Duration)
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| ([0-9]+[mh]) \\|").FindAllStringSubmatch(string(page), -1) {
		if got[m[1]], err = time.ParseDuration(m[2]); err != nil {
			t.Error(err)
		}
	}
	for _, f := range functions.All {
		if f.Every > 0 {
			want[f.Name] = f.Every
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("docs/operations.md has %v\nthe code has %v", got, want)
	}
}

func TestTheDashboardIsWhole(t *testing.T) {
	type cell struct{ x, y int }
	ids, taken := make(map[int]bool), make(map[cell]string)
	for _, p := range dashboard(t) {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && (len(p.Targets) == 0 || p.Datasource.UID != "${datasource}") {
			t.Errorf("panel %q asks %q %d things", p.Title, p.Datasource.UID, len(p.Targets))
		}
		g := p.GridPos
		if g.X+g.W > 24 {
			t.Errorf("panel %q ends at column %d of 24", p.Title, g.X+g.W)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[cell{x, y}]; other != "" {
					t.Errorf("panels %q and %q lie on each other", p.Title, other)
				}
				taken[cell{x, y}] = p.Title
			}
		}
	}
}

// Prometheus asks every service of docker-compose.yml that is one of ours, at
// the port where it serves metrics.
func TestPrometheusAsksEveryService(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Image       string
			Command     []string
			Profiles    []string
			Environment map[string]string
			Volumes     []any
		}
	}
	b, err := os.ReadFile(root + "/docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.AllowDuplicateMapKey()).Decode(&compose); err != nil { // what is merged in is there twice
		t.Fatal(err)
	}
	want := make(map[string]string) // service → job
	for name, s := range compose.Services {
		if strings.Contains(s.Image, "/tidings:") && slices.Contains([]string{"gateway", "connector", "functions"}, s.Command[0]) {
			want[name] = s.Command[0]
			if s.Environment["METRICS_ADDR"] != ":9090" {
				t.Errorf("%s serves metrics at %q", name, s.Environment["METRICS_ADDR"])
			}
		}
	}
	got := make(map[string]string)
	for _, c := range scrapes(t, "prometheus.yml").Jobs {
		for _, d := range c.DNS {
			if d.Type != "A" || d.Port != 9090 {
				t.Errorf("%s asks for %s records, port %d", c.Name, d.Type, d.Port)
			}
			for _, name := range d.Names {
				got[name] = c.Name
			}
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("prometheus.yml asks %v\ndocker-compose.yml has %v", got, want)
	}
	if s := compose.Services["prometheus"]; !slices.Contains(s.Profiles, "observe") || !strings.Contains(fmt.Sprint(s.Volumes), "./observe/alerts.yml:/etc/prometheus/alerts.yml") {
		t.Errorf("prometheus is %+v", s)
	}
}

type scrapeFile struct {
	Global    map[string]string `yaml:"global"`
	RuleFiles []string          `yaml:"rule_files"`
	Jobs      []struct {
		Name string `yaml:"job_name"`
		DNS  []struct {
			Names   []string
			Type    string
			Port    int
			Refresh string `yaml:"refresh_interval"`
		} `yaml:"dns_sd_configs"`
		Kubernetes []struct {
			Role       string
			Namespaces struct{ Names []string }
		} `yaml:"kubernetes_sd_configs"`
		Relabel []struct {
			Source      []string `yaml:"source_labels"`
			Regex       string
			Target      string `yaml:"target_label"`
			Replacement string
			Action      string
		} `yaml:"relabel_configs"`
	} `yaml:"scrape_configs"`
}

func scrapes(t *testing.T, name string) scrapeFile {
	t.Helper()
	var file scrapeFile
	decode(t, name, &file)
	return file
}

// Alerts ask for jobs by name; both configurations make those.
func TestJobsHaveTheNamesThatAlertsAskFor(t *testing.T) {
	for _, name := range []string{"prometheus.yml", "prometheus.kubernetes.yml"} {
		file := scrapes(t, name)
		made := make(map[string]bool)
		for _, j := range file.Jobs {
			made[j.Name] = true
			for _, r := range j.Relabel {
				if _, err := regexp.Compile(r.Regex); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if r.Target == "job" {
					for one := range strings.SplitSeq(strings.Trim(r.Regex, "()")+"|"+r.Replacement, "|") {
						made[one] = true
					}
				}
			}
		}
		for _, job := range []string{"gateway", "connector", "functions"} {
			if !made[job] {
				t.Errorf("%s makes no job %s, only %v", name, job, made)
			}
		}
		if !slices.Equal(file.RuleFiles, []string{"alerts.yml"}) {
			t.Errorf("%s reads %q", name, file.RuleFiles)
		}
	}
}

func TestGrafanaIsProvisioned(t *testing.T) {
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL string
			IsDefault                    bool              `yaml:"isDefault"`
			JSON                         map[string]string `yaml:"jsonData"`
		}
	}
	decode(t, "grafana/provisioning/datasources/tidings.yml", &sources)
	if len(sources.Datasources) != 2 || sources.Datasources[0].URL != "http://prometheus:9090" {
		t.Errorf("%+v", sources)
	}
	var boards struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Type      string
			DisableDeletion bool `yaml:"disableDeletion"`
			AllowUIUpdates  bool `yaml:"allowUiUpdates"`
			Options         struct{ Path string }
		}
	}
	decode(t, "grafana/provisioning/dashboards/tidings.yml", &boards)
	compose, err := os.ReadFile(root + "/docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	if len(boards.Providers) != 1 || !strings.Contains(string(compose), "./observe/grafana/dashboards:"+boards.Providers[0].Options.Path+":ro") {
		t.Errorf("%+v", boards)
	}
}
