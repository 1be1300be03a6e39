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
)

// built is where the program is that the Dockerfile would make of a context. It is
// compiled once for all tests.
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

// compile copies what Docker would send of a build context to an empty folder,
// runs the Dockerfile's own go build there, and returns where the program is.
func compile(context string) (string, error) {
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
			run := exec.Command("go", slices.Concat([]string{"build"}, flags, []string{"-o", built.dir + "/"}, packages)...)
			run.Dir, run.Env = src, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-trimpath")
			if said, err := run.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w\n%s", run, err, said)
			}
			return nil
		}()
	})
	return filepath.Join(built.dir, "tidings"), built.err
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
			if _, err := os.Stat(filepath.Join(contexts[of], "cmd/tidings/main.go")); err != nil {
				t.Errorf("%s: %s: %v", file, name, err)
			}
		}
	}
	for of, context := range contexts {
		if len(contexts) > 1 {
			t.Errorf("%s: only one context is compiled here", of)
		}
		if _, err := compile(context); err != nil {
			t.Error(err)
		}
	}
}

// binary returns the program that was compiled of a build context.
func binary(t *testing.T) string {
	t.Helper()
	path, err := compile(checkedOut(t))
	if err != nil {
		t.Fatal(err)
	}
	return path
}
