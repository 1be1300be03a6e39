package openfaas

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/openfaas/go-sdk/builder"

	"github.com/tidings-im/tidings/functions"
)

// built is what the Dockerfile would make of a context: binaries by deployable.
// They are compiled once for all tests.
var built = struct {
	sync.Once
	dir string
	err error
}{}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		status := m.Run()
		if built.dir != "" {
			os.RemoveAll(built.dir)
		}
		return status
	}())
}

// compile copies what Docker would send of a build context to an empty folder
// and runs the Dockerfile's own go build there, for some of the deployables:
// the linker takes a second for each.
func compile(context string, deployables ...string) (string, error) {
	built.Do(func() {
		built.err = func() error {
			var err error
			if built.dir, err = os.MkdirTemp("", "tidings-built-"); err != nil {
				return err
			}
			src := filepath.Join(built.dir, "src")
			files, err := sent(context)
			if err != nil {
				return err
			}
			for _, f := range files {
				if err := copyFile(filepath.Join(context, f), filepath.Join(src, f)); err != nil {
					return err
				}
			}
			flags, packages, err := goBuild(context)
			if err != nil {
				return err
			}
			// All is compiled, as packages; these are linked, too.
			run := exec.Command("go", append([]string{"list", "-export", "-f", ""}, packages...)...)
			run.Dir, run.Env = src, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-trimpath")
			if said, err := run.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w\n%s", run, err, said)
			}
			link := exec.Command("go", append(append([]string{"build"}, flags...), "-o", built.dir+"/")...)
			for _, d := range deployables {
				link.Args = append(link.Args, "./"+folder(d))
			}
			link.Dir, link.Env = run.Dir, run.Env
			if said, err := link.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w\n%s", link, err, said)
			}
			return nil
		}()
	})
	return built.dir, built.err
}

// folder is where a deployable is.
func folder(deployable string) string {
	if slices.Contains([]string{"gateway", "connector", "migrate"}, deployable) {
		return deployable
	}
	return "functions/" + deployable
}

// goBuild returns the flags and packages of the Dockerfile's go build.
func goBuild(context string) (flags, packages []string, err error) {
	b, err := os.ReadFile(filepath.Join(context, "Dockerfile"))
	if err != nil {
		return nil, nil, err
	}
	m := regexp.MustCompile(`go build (-tags=\S+) (-ldflags=)'([^']+)' -o /out/ ([^\n]+)`).FindSubmatch(b)
	if m == nil {
		return nil, nil, fmt.Errorf("the Dockerfile builds otherwise than this test knows")
	}
	return []string{string(m[1]), string(m[2]) + string(m[3])}, strings.Fields(string(m[4])), nil
}

// sent returns the files of a context that Docker sends to the build, by its
// own reading of .dockerignore.
func sent(context string) ([]string, error) {
	ignore, err := os.Open(filepath.Join(context, ".dockerignore"))
	if err != nil {
		return nil, err
	}
	defer ignore.Close()
	patterns, err := ignorefile.ReadAll(ignore)
	if err != nil {
		return nil, err
	}
	match, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, err
	}
	var files []string
	err = filepath.WalkDir(context, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(context, path)
		if err != nil {
			return err
		}
		if ignored, err := match.MatchesOrParentMatches(rel); err != nil || ignored {
			return err
		}
		files = append(files, rel)
		return nil
	})
	return files, err
}

// checkedOut copies what is committed, or is to be, and returns where it is:
// what faas-cli finds in a clean checkout.
func checkedOut(t *testing.T) string {
	t.Helper()
	from, to := top(t), t.TempDir()
	out, err := exec.Command("git", "ls-files", "-co", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Fields(string(out)) {
		if err := copyFile(filepath.Join(from, f), filepath.Join(to, f)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return to
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

// The context of a function is made of its handler and its language, which all
// have in common: it is made once for each pair, and has to hold them all.
func TestEveryBuildContextHoldsWhatTheDockerfileBuilds(t *testing.T) {
	t.Chdir(checkedOut(t))
	contexts := make(map[string]string)
	for _, file := range stacks {
		s := read(t, file, "")
		for name, f := range s.Functions {
			of := f.Language + " " + f.Handler
			if contexts[of] == "" {
				var err error
				contexts[of], err = builder.CreateBuildContext(name, f.Handler, f.Language, s.StackConfiguration.CopyExtraPaths, builder.WithBuildDir(filepath.Join(t.TempDir(), "build")))
				if err != nil {
					t.Fatalf("%s: %s: %v", file, name, err)
				}
			}
			if _, err := os.Stat(filepath.Join(contexts[of], folder(f.BuildArgs["DEPLOYABLE"]), "main.go")); err != nil {
				t.Errorf("%s: %s: %v", file, name, err)
			}
		}
	}
	for of, context := range contexts {
		if len(contexts) > 1 {
			t.Errorf("%s: only one context is compiled here", of)
		}
		if _, err := compile(context, deployables...); err != nil {
			t.Error(err)
		}
	}
}

// deployables are those that are linked: what runs every function, and one
// function by itself.
var deployables = []string{"all-in-one", "chat-ingest"}

// binaries returns the folder of what was compiled of a build context.
func binaries(t *testing.T) string {
	t.Helper()
	dir, err := compile(checkedOut(t), deployables...)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestEveryDeployableOfTheDockerfileIsBuilt(t *testing.T) {
	_, packages, err := goBuild(top(t))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", append([]string{"list", "-f", "{{if eq .Name \"main\"}}{{.Dir}}{{end}}"}, packages...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	made := make(map[string]bool)
	for _, dir := range strings.Fields(string(out)) {
		if made[filepath.Base(dir)] {
			t.Errorf("two programs are called %s", filepath.Base(dir))
		}
		made[filepath.Base(dir)] = true
	}
	want := []string{"all-in-one", "gateway", "connector", "migrate"}
	for _, f := range functions.All {
		want = append(want, f.Name)
	}
	for _, name := range want {
		if !made[name] {
			t.Errorf("the Dockerfile does not build %s", name)
		}
	}
}
