package tidings_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// pages returns the Markdown of the repository, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." && path != ".github" || d.Name() == "node_modules" {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			b, err := os.ReadFile(path)
			found[path] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 15 {
		t.Fatalf("%d pages were found", len(found))
	}
	return found
}

// prose calls f with each line of a page that is not code, and its number.
func prose(page string, f func(n int, line string)) {
	code := false
	for i, line := range strings.Split(page, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
		} else if !code {
			f(i+1, line)
		}
	}
}

var unbreakable = regexp.MustCompile("`[^`]*`|\\]\\([^)]*\\)")

func TestLinesOfProseAreNoLongerThanAnEditorShows(t *testing.T) {
	const longest = 120
	for path, page := range pages(t) {
		prose(page, func(n int, line string) {
			if strings.HasPrefix(line, "|") || utf8.RuneCountInString(line) <= longest {
				return // a row of a table cannot be broken
			}
			if utf8.RuneCountInString(unbreakable.ReplaceAllString(line, "")) > longest/2 {
				t.Errorf("%s:%d is of %d characters: break it at %d", path, n, utf8.RuneCountInString(line), longest)
			}
		})
	}
}

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	linked   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	heading  = regexp.MustCompile(`^#+ +(.*)$`)
	codeSpan = regexp.MustCompile("`[^`]*`")
	notSlug  = regexp.MustCompile(`[^\p{L}\p{N}\p{M}_\- ]`)
)

// anchors returns what the headings of a page are linked by, as GitHub makes it.
func anchors(page string) map[string]bool {
	found := make(map[string]bool)
	prose(page, func(_ int, line string) {
		m := heading.FindStringSubmatch(line)
		if m == nil {
			return
		}
		text := linked.ReplaceAllString(m[1], "$1")
		slug := strings.ReplaceAll(notSlug.ReplaceAllString(cases.Lower(language.Und).String(text), ""), " ", "-")
		for i, at := 1, slug; ; i++ {
			if !found[at] {
				found[at] = true
				break
			}
			at = fmt.Sprintf("%s-%d", slug, i)
		}
	})
	return found
}

func TestLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	links := 0
	for path, page := range all {
		prose(page, func(n int, line string) {
			for _, m := range link.FindAllStringSubmatch(codeSpan.ReplaceAllString(line, ""), -1) {
				to, anchor, _ := strings.Cut(m[1], "#")
				if strings.Contains(to, ":") { // elsewhere
					continue
				}
				links++
				target := path
				if to != "" {
					target = filepath.Join(filepath.Dir(path), to)
				}
				if _, err := os.Stat(target); err != nil {
					t.Errorf("%s:%d: %s is not there", path, n, m[1])
				} else if anchor != "" && filepath.Ext(target) == ".md" && !anchors(all[target])[anchor] {
					t.Errorf("%s:%d: %s has no heading of #%s", path, n, target, anchor)
				}
			}
		})
	}
	if links < 50 {
		t.Errorf("%d links were followed", links)
	}
}
