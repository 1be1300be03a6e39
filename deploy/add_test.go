package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Who adds a public function touches its area, functions.go and openapi.yaml, and
// what deploys it is made: here, in a copy of the tree, user-hello, which does
// what user-get does.
func TestAPublicFunctionThatIsAddedIsDeployed(t *testing.T) {
	dir := t.TempDir()
	list := exec.Command("git", "ls-files", "-co", "--exclude-standard", "-z")
	list.Dir = ".."
	files, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(files), "\x00"), "\x00") {
		b, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, name), b)
	}
	change(t, filepath.Join(dir, "functions/user/funcs.go"), func(s string) string {
		_, get, _ := strings.Cut(s, "\n// Get returns")
		get, _, _ = strings.Cut("// Get returns"+get, "\n\n")
		return s + "\n" + strings.NewReplacer("Get", "Hello", "user-get", "user-hello").Replace(get) + "\n"
	})
	change(t, filepath.Join(dir, "functions/functions.go"), func(s string) string {
		return strings.Replace(s, "\tuser.Get,\n", "\tuser.Get,\n\tuser.Hello,\n", 1)
	})
	change(t, filepath.Join(dir, "openapi.yaml"), func(s string) string {
		return strings.Replace(s, "\npaths:\n", `
paths:
  /v1/hello/{user}:
    get:
      operationId: user-hello
      tags: [users]
      summary: Say hello to a user
      parameters: [{name: user, in: path, required: true, schema: {type: string}}]
      responses: {'200': {description: Hello.}}
`, 1)
	})
	run(t, dir, "go", "run", "./deploy")
	run(t, dir, "go", "test", ".", "-run", "TestEveryPublicFunctionIsInTheContract|TestEveryFunctionIsInTheList")
	for file, want := range map[string]int{
		"stack.yml": 1, "knative/base/functions.yaml": 1, // one more with all that there is of user-get
		"stack.ce.yml": 0, "docker-compose.yml": 0, "openfaas/ce/settings.env": 0, "openfaas/faasd.yaml": 0, // served by the group of its name
		"knative/base/sources.yaml": 0, "knative/base/timers.yaml": 0, // no event or clock calls it
	} {
		before, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if want == 0 {
			if !bytes.Equal(before, after) {
				t.Errorf("%s changes", file)
			}
			continue
		}
		hello, get := section(string(after), "user-hello"), section(string(after), "user-get")
		if hello == "" || strings.ReplaceAll(hello, "user-hello", "user-get") != get {
			t.Errorf("%s has of user-hello\n%s\nand of user-get\n%s", file, hello, get)
		}
	}
}

// section returns what a manifest says of a function: its part of stack.yml, or
// its document.
func section(manifest, function string) string {
	if i := strings.Index(manifest, "\n  "+function+":\n"); i >= 0 {
		rest := manifest[i+1:]
		if end := regexp.MustCompile(`(?m)^  [a-z-]+:$`).FindAllStringIndex(rest, 2); len(end) == 2 {
			rest = rest[:end[1][0]]
		}
		return rest
	}
	for doc := range strings.SplitSeq(manifest, "\n---\n") {
		if strings.Contains(doc, "\n  name: "+function+"\n") {
			return strings.TrimSpace(doc)
		}
	}
	return ""
}

func put(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// change changes a file, which fails if nothing is changed.
func change(t *testing.T, file string, f func(string) string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := f(string(b))
	if changed == string(b) {
		t.Fatalf("%s stays as it is", file)
	}
	put(t, file, []byte(changed))
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false -trimpath")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, said)
	}
}
