package up

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidings-im/tidings/functions"
)

// describe says what runs where, and what to try, in one piece.
func (s *system) describe(to io.Writer, took time.Duration) {
	out := new(bytes.Buffer)
	defer out.WriteTo(to)
	fmt.Fprintf(out, "Tidings is ready on http://%s, after %.1f s. Ctrl-C stops it.\n\n", s.opt.addr, took.Seconds())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(what, where, remark string) { fmt.Fprintf(w, "  %s\t%s\t%s\n", what, where, remark) }
	line("gateway", "http://"+s.opt.addr, "HTTP API at /v1, socket at /ws")
	line("functions", strings.TrimSuffix(s.vars["FUNCTION_URL"], "{function}"), fmt.Sprintf("%d of them, and the connector from Kafka to them", len(functions.All)))
	for _, svc := range s.services {
		if svc.server == nil {
			line(label[svc.name], "", "the one that "+svc.setting+" names")
			continue
		}
		remark := svc.server.Name
		if svc.server.StandIn {
			remark += ", a stand-in"
		}
		if svc.name == "s3" && !s.apart.serves() {
			remark += ", which is compiled and started in the background"
		}
		if rel, err := filepath.Rel(s.home.dir, svc.server.Dir); svc.server.Dir != "" && (err != nil || !filepath.IsLocal(rel)) {
			remark += ", its data in " + svc.server.Dir
		}
		line(label[svc.name], address(svc.server.URL), remark)
	}
	store := "in MongoDB"
	if s.inbox() == "postgres" {
		store = "in PostgreSQL"
	}
	line("inboxes", store, "")
	line("data", relative(s.home.dir), "kept; remove it to start anew")
	line("log", relative(s.home.path("log.jsonl")), "")
	w.Flush()

	chat := program() + " chat"
	if s.opt.addr != defaultAddr {
		chat += " --url http://" + s.opt.addr
	}
	if s.opt.dir != defaultDir {
		chat += " --data " + shellWord(s.opt.dir)
	}
	fmt.Fprintf(out, `
Try it, each in a terminal of its own:
  %[1]s --as ann --to bob
  %[1]s --as bob --to ann
or by hand:
  curl -s http://%[2]s/v1/users --json '{"account":"eve","name":"Eve","password":"correct horse battery"}'
`, chat, s.opt.addr)
}

// label is what people call the services.
var label = map[string]string{"postgresql": "PostgreSQL", "kafka": "Kafka", "redis": "Redis", "s3": "S3", "mail": "mail"}

// inbox returns where inboxes are kept.
func (s *system) inbox() string {
	if v, ok := s.vars["INBOX_STORE"]; ok {
		return v
	}
	return os.Getenv("INBOX_STORE")
}

// address returns the host:port of a URL, or of itself.
func address(at string) string {
	if u, err := url.Parse(at); err == nil && u.Host != "" {
		return u.Host
	}
	return at
}

// relative returns path as it may be written in this folder.
func relative(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

// program returns how this program was called, for printing commands. The
// launcher passes on how it was called itself.
func program() string {
	// go run builds in a folder named so, or takes what it has in its cache of that name.
	isGoRun := func(element string) bool { return strings.HasPrefix(element, "go-build") }
	if slices.ContainsFunc(strings.Split(filepath.ToSlash(os.Args[0]), "/"), isGoRun) {
		return "go run ./local"
	}
	return shellWord(os.Args[0])
}

// shellWord quotes s if a shell would not take it for one word.
func shellWord(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
