package server

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/imtest"
)

// An idle connection costs its gateway 12 KiB at most, all told: a gateway in a
// process of its own holds some thousand, and its resident memory is compared
// with what it was before.
func TestP7AnIdleConnectionCostsLittle(t *testing.T) {
	const n, most = 2000, 12 << 10
	s := newSystem(t)
	s.vars["GATEWAY_ADDR"], s.vars["METRICS_ADDR"] = freeAddr(t), freeAddr(t)
	var env []string
	for k, v := range s.vars {
		env = append(env, k+"="+v)
	}
	p := imtest.Run(t, env, imtest.Build(t, "cmd/tidings"), "gateway")
	g := &gate{Server: &Server{URL: "http://" + s.vars["GATEWAY_ADDR"]}}
	imtest.Eventually(t, "the gateway is ready", func() error {
		resp, err := http.Get(g.URL + "/readyz")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	for range 50 { // what is made once is made before
		s.dial(g, someone("web")).ws.Close()
	}
	before := resident(t, p.Pid())
	for range n {
		s.dial(g, someone("web"))
	}
	got := 0
	imtest.Eventually(t, "an idle connection costs little", func() error {
		got = (resident(t, p.Pid()) - before) / n
		if got > most {
			return fmt.Errorf("it costs %d bytes, %d at most", got, most)
		}
		return nil
	})
	m := metrics(t, "http://"+s.vars["METRICS_ADDR"]+"/metrics")
	if held := m["tidings_gateway_connections"]; held != n {
		t.Errorf("it holds %v connections, want %d", held, n)
	}
	t.Logf("%.1f KiB of resident memory per idle connection; heap in use %.1f, stacks %.1f KiB", float64(got)/1024,
		m["go_memstats_heap_inuse_bytes"]/n/1024, m["go_memstats_stack_inuse_bytes"]/n/1024)
}

// resident returns the resident memory of a process in bytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("the process has no resident memory")
	return 0
}

// metrics returns the metrics without labels that are served at url.
func metrics(t *testing.T, url string) map[string]float64 {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	m := make(map[string]float64)
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			m[name] = v
		}
	}
	return m
}
