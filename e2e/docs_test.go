package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/e2e/shell"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

const apiPage = "../docs/api.md"

func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(apiPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A step is commands of the page and what it says that they print.
type step struct {
	sh      string
	printed []string
}

func steps(t *testing.T, text string) (all []step) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		switch {
		case m[1] == "sh":
			all = append(all, step{sh: m[2]})
		case m[1] == "json" && len(all) > 0 && all[len(all)-1].printed == nil:
			all[len(all)-1].printed = strings.Split(strings.TrimSpace(m[2]), "\n")
		default:
			t.Fatalf("a block of %s follows no commands", m[1])
		}
	}
	return all
}

// pattern returns a line of the page as an expression: … is anything.
func pattern(line string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*") + "$")
}

// runs returns the commands of another page that go on from the session: those
// below a mark.
func runs(t *testing.T, file string) []step {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, m := range regexp.MustCompile("(?ms)^<!-- run -->\n(```sh\n.*?^```\n)(?:\n(```json\n.*?^```)$)?").FindAllStringSubmatch(string(b), -1) {
		fmt.Fprintf(&text, "%s%s\n", m[1], m[2])
	}
	all := steps(t, text.String())
	if len(all) == 0 {
		t.Fatalf("%s has no commands to run", file)
	}
	return all
}

// The session of docs/api.md is what happens when somebody pastes it, and then
// what other pages have: into bash, and where there is none as if it were.
func TestTheSessionInCurlRunsAsItIsWritten(t *testing.T) {
	t.Parallel()
	all := steps(t, page(t))
	if len(all) < 10 {
		t.Fatalf("%s has %d blocks of commands", apiPage, len(all))
	}
	all = append(append(all, runs(t, "../docs/files.md")...), runs(t, "../docs/bots.md")...)
	if missing := missing("bash", "curl", "openssl", "base32", "cut", "cmp", "date", "grep", "head", "od", "sed", "sleep", "tr", "wc"); missing != nil {
		imtest.NotExercised(t, "the session in bash, for want of "+strings.Join(missing, ", "))
	} else {
		t.Run("in bash", func(t *testing.T) {
			session(t, all, func(ctx context.Context, script, dir string, out, errs io.Writer) error {
				cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
				cmd.WaitDelay, cmd.Dir = time.Second, dir
				cmd.Env = append(os.Environ(), "no_proxy=127.0.0.1", "NO_PROXY=127.0.0.1")
				cmd.Stdout, cmd.Stderr = out, errs
				return cmd.Run()
			})
		})
	}
	t.Run("in Go", func(t *testing.T) { session(t, all, shell.Run) })
}

// missing returns those programs that are not on the PATH.
func missing(programs ...string) (not []string) {
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			not = append(not, program)
		}
	}
	return not
}

// session runs the steps as one script by run, in a folder with a picture, on a
// Tidings of its own, and compares what each prints.
func session(t *testing.T, all []step, run func(ctx context.Context, script, dir string, out, errs io.Writer) error) {
	dir := t.TempDir()
	lunch, err := os.Create(filepath.Join(dir, "lunch.jpg"))
	if err == nil {
		err = errors.Join(jpeg.Encode(lunch, image.NewRGBA(image.Rect(0, 0, 640, 480)), nil), lunch.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	const mark = "=== step "
	script := new(strings.Builder)
	for i, s := range all {
		fmt.Fprintf(script, "echo '%s%d'\n%s", mark, i, s.sh)
	}
	const local = "http://127.0.0.1:8080"
	if strings.Count(script.String(), local) != 1 {
		t.Fatalf("the session is to name %s once", local)
	}
	ctx, cancel := context.WithTimeout(t.Context(), imtest.Patience(t))
	defer cancel()
	var out, errs bytes.Buffer
	if err := run(ctx, strings.Replace(script.String(), local, openDoor(t).url, 1), dir, &out, &errs); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out.String(), errs.String())
	}
	outputs := strings.Split(out.String(), mark)[1:]
	if len(outputs) != len(all) {
		t.Fatalf("%d steps printed something, of %d", len(outputs), len(all))
	}
	for i, s := range all {
		_, printed, _ := strings.Cut(strings.TrimSpace(outputs[i]), "\n")
		s.compare(t, printed)
	}
}

// compare compares what the commands printed with what the page shows.
func (s step) compare(t *testing.T, printed string) {
	t.Helper()
	got := strings.Split(printed, "\n")
	if printed == "" {
		got = nil
	}
	if len(got) != len(s.printed) {
		t.Errorf("%s\nprints %d lines:\n%s\nand the page shows %d:\n%s", s.sh, len(got), printed, len(s.printed), strings.Join(s.printed, "\n"))
		return
	}
	for j, line := range got {
		if !pattern(s.printed[j]).MatchString(line) {
			t.Errorf("%s\nprints as line %d\n%s\nand the page shows\n%s", s.sh, j+1, line, s.printed[j])
		}
	}
}

// rowsOf returns the cells of each row of the table of the page that has these
// columns.
func rowsOf(t *testing.T, header string) (rows [][]string) {
	t.Helper()
	_, rest, ok := strings.Cut(page(t), "\n"+header+"\n")
	if !ok {
		t.Fatalf("%s has no table %s", apiPage, header)
	}
	for i, line := range strings.Split(rest, "\n") {
		if !strings.HasPrefix(line, "|") {
			break
		}
		if i == 0 { // what divides it from the header
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for j := range cells {
			cells[j] = strings.Trim(strings.TrimSpace(cells[j]), "`")
		}
		rows = append(rows, cells)
	}
	return rows
}

func TestTheFirstPageCountsTheCalls(t *testing.T) {
	t.Parallel()
	first, err := os.ReadFile("../README.md")
	contract, contractErr := os.ReadFile("../openapi.yaml")
	if err := errors.Join(err, contractErr); err != nil {
		t.Fatal(err)
	}
	if says := fmt.Sprintf("one HTTP API of %d calls", strings.Count(string(contract), "operationId: ")); !strings.Contains(string(first), says) {
		t.Errorf("README.md does not say %q", says)
	}
}

func TestThePageOfTheAPIListsEachKindOfErrorWithItsStatus(t *testing.T) {
	t.Parallel()
	c, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string)
	problem := c.object(map[string]any{"$ref": "#/components/schemas/Problem"})
	for _, kind := range c.object(c.object(problem["properties"])["kind"])["enum"].([]any) {
		want[kind.(string)] = fmt.Sprint(fn.CallStatus(im.Kind(kind.(string))))
	}
	got := make(map[string]string)
	for _, cells := range rowsOf(t, "| `kind` | status | what to do |") {
		got[cells[0]] = cells[1]
	}
	if !maps.Equal(got, want) {
		t.Errorf("the page has %v, it is %v", got, want)
	}
}

func TestThePageOfTheAPISaysWhoMayDoWhatInAGroup(t *testing.T) {
	t.Parallel()
	yes := map[bool]string{true: "yes", false: ""}
	var want, got []string
	for _, r := range im.Rights {
		want = append(want, fmt.Sprint(r.Action, "|", yes[r.Owner], "|", yes[r.Admin], "|", yes[r.Member]))
	}
	for _, cells := range rowsOf(t, "| | owner | admin | member |") {
		got = append(got, strings.Join(cells, "|"))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the page has\n%s\nand it is\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
