// Package tidings_test holds what is true of the repository as a whole.
package tidings_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/tidings-im/tidings"
	"github.com/tidings-im/tidings/functions"
)

const module = "github.com/tidings-im/tidings"

var adapters = []string{"postgres", "mongodb", "redis", "kafka", "s3", "coldstore"}

// layers says what of ours each package may import; the first match decides.
// A * matches one path element; "." is the package at the root.
var layers = []struct {
	pkg string
	may []string
}{
	{".", nil},
	{"shared/im", nil},
	{"shared/network", nil},
	{"shared/proc", nil},
	{"shared/event", []string{"shared/im", "shared/keyring"}},
	{"shared/frame", []string{"shared/im"}},
	{"shared/token", []string{"shared/im", "shared/proc"}},
	{"shared/answer", []string{"shared/im"}},
	{"shared/fn", []string{"shared/im", "shared/answer", "shared/audit", "shared/event", "shared/proc", "shared/token"}},
	{"shared/audit", []string{"shared/im", "shared/event", "shared/proc", "shared/kafka"}},
	{"shared/imtest", []string{"shared/proc", "shared/imtest/child", "shared/imtest/freeport"}},
	{"shared/imtest/fntest", []string{"shared/im", "shared/event", "shared/fn", "shared/token"}},
	{"shared/imtest/pgtest", []string{"shared/im", "shared/imtest", "shared/postgres", "shared/postgres/*", "shared/proc"}},
	{"shared/imtest/*", []string{"shared/im"}},
	{"shared/archive", []string{"shared/im", "shared/event", "shared/proc", "shared/fn"}},
	{"shared/inbox", []string{"shared/im", "shared/proc", "shared/postgres", "shared/postgres/inboxes", "shared/mongodb"}},
	{"shared/outbox", []string{"shared/im", "shared/event", "shared/proc", "shared/fn", "shared/postgres", "shared/postgres/notices", "shared/redis", "shared/kafka", "shared/retry"}},
	{"shared/webpush", []string{"shared/im", "shared/proc", "shared/webhook"}},
	{"shared/words", []string{"shared/im"}},
	{"shared/redis", []string{"shared/im", "shared/event", "shared/network", "shared/proc"}},
	{"shared/postgres", []string{"shared/im", "shared/proc"}},
	// An area of tables stands on those whose rows its transactions write, or return.
	{"shared/postgres/accounts", area("users")},
	{"shared/postgres/bots", area("users")},
	{"shared/postgres/catalog", area("messages")},
	{"shared/postgres/erasures", area("bots", "friends", "groups", "users")},
	{"shared/postgres/files", area("users")},
	{"shared/postgres/friends", area("users")},
	{"shared/postgres/groups", area("users")},
	{"shared/postgres/messages", area("files", "friends")},
	{"shared/postgres/searches", area("messages")},
	{"shared/postgres/*", area()},
	{"shared/retry", nil},
	{"shared/keyring", nil},
	{"shared/*", []string{"shared/im", "shared/network", "shared/dependency", "shared/event", "shared/keyring", "shared/proc", "shared/retry"}}, // the adapters
	{"client", []string{"shared/im", "shared/answer", "shared/frame", "shared/retry"}},
	{"connector/*", []string{"shared/im", "shared/event", "shared/proc", "shared/fn", "shared/kafka", "shared/retry"}},
	{"gateway/*", []string{".", "gateway/*", "shared/im", "shared/network", "shared/answer", "shared/event", "shared/frame", "shared/token", "shared/proc", "shared/fn", "shared/redis", "shared/retry"}},
	{"functions/bot", []string{"functions/user", "shared/*", "shared/postgres/*"}},     // whose sessions end as everybody's
	{"functions/account", []string{"functions/user", "shared/*", "shared/postgres/*"}}, // who signs in otherwise is signed in by it
	{"functions/*", []string{"shared/*", "shared/postgres/*"}},
	{"functions", []string{"functions/*", "shared/fn"}},
	{"migrate", []string{"shared/postgres", "shared/inbox", "shared/kafka", "shared/s3", "shared/coldstore", "shared/proc", "shared/token", "shared/webpush"}},
	{"cmd/tidings", []string{"connector/relay", "functions", "gateway/server", "migrate", "shared/fn", "shared/proc"}},
	{"deploy", []string{"functions", "gateway/server", "connector/relay", "shared/fn", "shared/proc"}},
	{"observe", nil},
	{"observe/*", nil},
	{"bench", []string{"bench/*", "client", "shared/*", "shared/postgres/*"}},
	{"bench/*", []string{"client", "bench/*", "shared/*"}},
	{"e2e/*", []string{"client", "connector/relay", "functions", "gateway/server", "shared/*"}},
	{"e2e", []string{"e2e/*", "bench/abuse", "client", "shared/*"}},
}

// area returns what a package of an area of tables may import.
func area(lower ...string) []string {
	may := []string{"shared/im", "shared/event", "shared/proc", "shared/words", "shared/postgres"}
	for _, a := range lower {
		may = append(may, "shared/postgres/"+a)
	}
	return may
}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// list returns the packages of the product.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// within returns the path of an import inside the module, and whether it is there.
func within(imp string) (string, bool) {
	if imp == module {
		return ".", true
	}
	return strings.CutPrefix(imp, module+"/")
}

func match(pattern, pkg string) bool {
	ok, err := path.Match(pattern, pkg)
	return ok && err == nil
}

func TestLayers(t *testing.T) {
	for _, p := range list(t) {
		name, _ := within(p.ImportPath)
		may, known := allowed(name)
		if !known {
			t.Errorf("%s stands in no layer: say in repo_test.go what it may import", name)
		}
		for _, imp := range p.Imports {
			if imp, ours := within(imp); ours && !slices.ContainsFunc(may, func(m string) bool { return match(m, imp) }) {
				t.Errorf("%s imports %s", name, imp)
			}
		}
	}
}

func allowed(name string) ([]string, bool) {
	for _, l := range layers {
		if match(l.pkg, name) {
			return l.may, true
		}
	}
	return nil, false
}

// The rules are rules only if they can be broken.
func TestLayersForbid(t *testing.T) {
	for _, tt := range []struct{ pkg, imp string }{
		{"shared/postgres", "shared/redis"},
		{"shared/postgres", "shared/postgres/users"},
		{"shared/postgres/users", "shared/postgres/groups"},
		{"shared/postgres/groups", "shared/postgres/messages"},
		{"shared/postgres/groups", "shared/redis"},
		{"shared/postgres/bots", "shared/imtest/pgtest"},
		{"shared/im", "shared/event"},
		{"functions/chat", "functions/inbox"},
		{"cmd/tidings", "shared/kafka"},
		{"gateway/ws", "functions/chat"},
		{"gateway/ws", "shared/postgres"},
		{"connector/relay", "functions"},
		{"client", "shared/fn"},
	} {
		may, known := allowed(tt.pkg)
		if !known || slices.ContainsFunc(may, func(m string) bool { return match(m, tt.imp) }) {
			t.Errorf("%s may import %s", tt.pkg, tt.imp)
		}
	}
}

// What runs in production links no embedded server: those are in modules of
// their own.
func TestTheProductLinksNoEmbeddedServer(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []string{"franz-go", "kfake", "miniredis", "versitygw", "FerretDB", "embedded-postgres", "minio/minio "} {
		if strings.Contains(string(mod), server) {
			t.Errorf("go.mod names %s", server)
		}
	}
	for _, p := range list(t) {
		forTests := strings.Contains(p.ImportPath, "/imtest") || strings.Contains(p.ImportPath, "/e2e/")
		for _, dep := range p.Deps {
			if dep == "testing" && !forTests {
				t.Errorf("%s links the package testing", p.ImportPath)
			}
		}
	}
}

// Every function that an area declares is in functions.All, and the other way
// round; a folder under functions is an area.
func TestEveryFunctionIsInTheList(t *testing.T) {
	areas, err := filepath.Glob("functions/*/funcs.go")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("functions")
	if err != nil {
		t.Fatal(err)
	}
	folders := slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() })
	if len(folders) != len(areas) {
		t.Errorf("%d folders are under functions, and %d areas", len(folders), len(areas))
	}
	var declared, listed []string // as <area>.<variable>
	for _, file := range areas {
		area := filepath.Base(filepath.Dir(file))
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if name.IsExported() {
						declared = append(declared, area+"."+name.Name)
					}
				}
			}
		}
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), "functions/functions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if area := s.X.(*ast.Ident).Name; area != "fn" {
				listed = append(listed, area+"."+s.Sel.Name)
			}
		}
		return true
	})
	slices.Sort(declared)
	slices.Sort(listed)
	if !slices.Equal(declared, listed) || len(listed) != len(functions.All) {
		t.Errorf("areas declare %q\nfunctions.All has %q", declared, listed)
	}
}

// The contract has an operation for each public function, and for no other.
func TestEveryPublicFunctionIsInTheContract(t *testing.T) {
	var spec struct {
		Paths map[string]map[string]struct {
			OperationID string `yaml:"operationId"`
		} `yaml:"paths"`
	}
	if err := yaml.Unmarshal(tidings.OpenAPI, &spec); err != nil {
		t.Fatal(err)
	}
	var operations, public []string
	for _, methods := range spec.Paths {
		for _, op := range methods {
			if op.OperationID != "" {
				operations = append(operations, op.OperationID)
			}
		}
	}
	for _, f := range functions.All {
		if f.Public {
			public = append(public, f.Name)
		}
	}
	slices.Sort(operations)
	slices.Sort(public)
	if !slices.Equal(operations, public) {
		t.Errorf("openapi.yaml has %q\npublic functions are %q", operations, public)
	}
}

// In an area only funcs.go names the adapters; what a verb does is written
// against interfaces of its own.
func TestVerbsNameNoAdapter(t *testing.T) {
	files, err := filepath.Glob("functions/*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no files of functions", err)
	}
	for _, file := range files {
		if filepath.Base(file) == "funcs.go" || strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			path := strings.Trim(imp.Path.Value, `"`)
			for _, adapter := range adapters {
				if of := module + "/shared/" + adapter; path == of || strings.HasPrefix(path, of+"/") {
					t.Errorf("%s imports %s", file, adapter)
				}
			}
		}
	}
}

// goFiles calls f with every Go file of the checkout that is not a test.
func goFiles(t *testing.T, f func(name string, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		f(name, parsed)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The table of settings in docs/operations.md is that of the code: each
// proc.Setting has its row, with its default, and there is no other row.
func TestEverySettingIsDocumented(t *testing.T) {
	declared := map[string]string{} // name → default
	goFiles(t, func(name string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			sel, ok := lit.Type.(*ast.SelectorExpr)
			if id, isIdent := lit.Type.(*ast.Ident); !(ok && sel.Sel.Name == "Setting") && !(isIdent && id.Name == "Setting") {
				return true
			}
			fields := map[string]string{}
			for _, el := range lit.Elts {
				kv, ok := el.(*ast.KeyValueExpr)
				if !ok {
					continue
				}
				if v, ok := kv.Value.(*ast.BasicLit); ok && v.Kind == token.STRING {
					s, err := strconv.Unquote(v.Value)
					if err != nil {
						t.Fatal(err)
					}
					fields[kv.Key.(*ast.Ident).Name] = s
				}
				if _, ok := kv.Value.(*ast.Ident); ok && kv.Key.(*ast.Ident).Name == "Default" {
					t.Errorf("%s: the default of a Setting is not written in it", name)
				}
			}
			if fields["Name"] == "" || fields["Doc"] == "" {
				t.Errorf("%s: a Setting without a literal Name and Doc", name)
			}
			declared[fields["Name"]] = fields["Default"]
			return true
		})
	})
	page, err := os.ReadFile("docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z][A-Z0-9_]+)` \\| (?:`([^`]*)`)? *\\|").FindAllStringSubmatch(string(page), -1) {
		rows[m[1]] = m[2]
	}
	for name, def := range declared {
		if got, ok := rows[name]; !ok {
			t.Errorf("docs/operations.md has no row for %s", name)
		} else if got != def {
			t.Errorf("docs/operations.md says that %s is %q by default; it is %q", name, got, def)
		}
	}
	for name := range rows {
		if _, ok := declared[name]; !ok {
			t.Errorf("docs/operations.md has a row for %s, which no code reads", name)
		}
	}
}

// What one part writes in another way than the rest is longer or shorter than it
// is measured.
func TestJSONIsWrittenInOneWay(t *testing.T) {
	others := []string{".git", ".ci", "bench", "local", "observe", "shared/imtest"} // which write to nobody's client
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(others, filepath.ToSlash(file)):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") || file == filepath.Join("shared", "im", "json.go"):
			return nil
		}
		b, err := os.ReadFile(file)
		for _, call := range []string{"json.Marshal(", "json.MarshalIndent(", "json.NewEncoder(", "jsonv2.Marshal("} {
			if strings.Contains(string(b), call) {
				t.Errorf("%s calls %s…): use im.JSON", file, call)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
