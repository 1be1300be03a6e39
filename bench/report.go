package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A report is a table in Markdown, a row for each thing measured.
type report struct {
	columns []string
	rows    [][]string
}

var (
	loadColumns = []string{"", "per second", "ack p50 / p99", "deliver p50 / p99", "CPU µs each, by process", ""}
	callColumns = []string{"the API", "alone: p50 / p99", fmt.Sprintf("per second, %d callers", apiCallers), "then: p50 / p99", "CPU µs each, by process", ""}
)

func (r *report) add(cells ...string) {
	r.rows = append(r.rows, append(cells, make([]string, len(r.columns)-len(cells))...))
}

func (r *report) load(res *result) {
	delivered := float64(res.delivered) / res.seconds
	accepted := float64(res.accepted) / res.seconds
	rate := fmt.Sprintf("**%s** delivered, %s accepted", count(delivered), count(accepted))
	if res.fanOut > 1 {
		rate = fmt.Sprintf("**%s** delivered (%s messages × %d)", count(delivered), count(delivered/float64(res.fanOut)), res.fanOut)
	}
	var notes []string
	if res.missed > 0 {
		notes = append(notes, fmt.Sprintf("%d pushes did not come and were in the inbox", res.missed))
	}
	if res.repeated > 0 {
		notes = append(notes, fmt.Sprintf("%d pushes came twice", res.repeated))
	}
	if res.late > 0 {
		notes = append(notes, fmt.Sprintf("%.2g %% of inbox entries came after a later message of their conversation", 100*res.late))
	}
	r.add(res.load.name, rate, spread(&res.ack), spread(&res.deliver), costs(res.cpu, float64(max(res.delivered, 1))), strings.Join(notes, "; "))
}

// call adds what one caller and several have measured.
func (r *report) call(name string, one, many *limit, note string) {
	rate := fmt.Sprintf("**%s**", count(float64(many.count)/many.seconds))
	r.add(name, spread(&one.took), rate, spread(&many.took), costs(many.spent, float64(max(many.count, 1))), note)
}

func (r *report) limit(l *limit) {
	r.add("limit: "+l.name, fmt.Sprintf("**%s** %s", count(float64(l.count)/l.seconds), l.per), spread(&l.took), "", costs(l.spent, float64(max(l.count, 1))), l.note)
}

// print writes the table, its columns aligned.
func (r *report) print(w io.Writer) {
	rows := append([][]string{r.columns}, r.rows...)
	width := make([]int, len(r.columns))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)), 3)
		}
	}
	line := func(row []string) {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString("| " + cell + strings.Repeat(" ", width[i]-len([]rune(cell))) + " ")
		}
		fmt.Fprintln(w, b.String()+"|")
	}
	line(rows[0])
	dashes := make([]string, len(r.columns))
	for i := range dashes {
		dashes[i] = strings.Repeat("-", width[i])
	}
	line(dashes)
	for _, row := range rows[1:] {
		line(row)
	}
}

// count writes a rate with as much of it as means something.
func count(v float64) string {
	switch {
	case v >= 1000:
		n := int64(v/10+0.5) * 10
		return fmt.Sprintf("%d,%03d", n/1000, n%1000)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

func spread(h *histogram) string {
	if h.n == 0 {
		return ""
	}
	return millis(h.quantile(0.5)) + " / " + millis(h.quantile(0.99)) + " ms"
}

func millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms >= 100:
		return fmt.Sprintf("%.0f", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.2f", ms)
}

func costs(spent map[string]time.Duration, n float64) string {
	var parts []string
	names := slices.SortedFunc(maps.Keys(spent), func(a, b string) int { return int(spent[b] - spent[a]) })
	for _, name := range names {
		if us := float64(spent[name].Microseconds()) / n; us >= 0.1 {
			parts = append(parts, fmt.Sprintf("%s %.1f", name, us))
		}
	}
	return strings.Join(parts, ", ")
}

// header says on what the numbers were measured.
func header(w io.Writer, url string, services []string, note string) {
	fmt.Fprintf(w, "%s, %d cores (%s), %s; %s %s", time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), cpuModel(), ram(), kernel(), runtime.Version())
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				fmt.Fprintf(w, "; commit %.12s", s.Value)
			}
		}
	}
	fmt.Fprintf(w, "\n%s; the load and the servers compared with run on the same machine. Read numbers as ratios.\n", url)
	if note != "" {
		services = append(services, note)
	}
	if len(services) == 0 {
		services = []string{"not known: set KAFKA_BROKERS and POSTGRES_URL, or say -note"}
	}
	fmt.Fprintf(w, "Services: %s.\n\n", strings.Join(services, "; "))
}

func cpuModel() string {
	for line := range strings.Lines(readProc("/proc/cpuinfo")) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}

func ram() string {
	for line := range strings.Lines(readProc("/proc/meminfo")) {
		var kib int64
		if _, err := fmt.Sscanf(line, "MemTotal: %d kB", &kib); err == nil {
			return fmt.Sprintf("%d GiB", (kib+1<<19)>>20)
		}
	}
	return "memory unknown"
}

func kernel() string {
	f := strings.Fields(readProc("/proc/version"))
	if len(f) < 3 {
		return runtime.GOOS
	}
	return f[0] + " " + f[2]
}

func readProc(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(b)
}
