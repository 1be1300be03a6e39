package shell

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/interp"

	"github.com/tidings-im/tidings/shared/imtest"
)

// scripts have one line for each thing that sessions of the manual do.
var scripts = []struct{ name, sh string }{
	{"a function with arguments", `f() { echo "$1" "${@:2}"; }; f a b "c d"`},
	{"what a pipe ends with", `false | true || echo "it ends with $?"`},
	{"digits of a number in base 16", `x=0123456789abcdef; echo $((0x${x:$((0x${x:3:1} * 2)):8} % 0x80000000 % 1000000))`},
	{"bytes that are no text", `printf "$(printf '%016x' 58210 | sed 's/../\\x&/g')" | od -An -v -tx1`},
	{"base32 decodes", `echo JBSWY3DPEHPK3PXP | base32 -d | od -An -v -tx1 | tr -d ' \n'`},
	{"base32 of what is none", `echo '!' | base32 -d 2>/dev/null || echo "it ends with $?"`},
	{"cmp of the same", `cmp - a < a && echo same`},
	{"cmp of what differs", `printf 'Soup\nx' | cmp - a || echo "it ends with $?"`},
	{"cmp of what ends earlier", `printf So | cmp - a 2>/dev/null || echo "it ends with $?"`},
	{"cmp of a file that is not there", `cmp - b 2>/dev/null < a || echo "it ends with $?"`},
	{"cut takes a field", `printf 'a b  c\nd\ne f\n' | cut -d ' ' -f 3`},
	{"cut takes characters", `printf 'abcdef\nab\n\n' | cut -c 2-4`},
	{"grep prints lines", `printf 'a+b\nab\naab\n' | grep 'a+b'`},
	{"grep without a match", `echo a | grep b || echo "it ends with $?"`},
	{"grep of nothing", `printf '' | grep '' || echo "it ends with $?"`},
	{"grep of an empty line", `echo | grep '^$' | wc -c | tr -d ' '`},
	{"grep -o prints matches", `echo '{"id":"a","of":{"id":"b\\u0026"}}' | grep -o "\"id\":\"[^\"]*\""`},
	{"grep -o of a number of characters", `echo 'ab2-cd7 abcdefgh' | grep -o '[a-z2-7-]\{4\}'`},
	{"grep of stars and anchors", `printf '*a\nba*\n' | grep '*a'; printf 'ab\nbaa\n^$c\n' | grep -o 'ba*$'; echo 'b^$c' | grep -o 'b^$c'`},
	{"head of more and of less", `printf 'a\nb\nc' | head -n 2; printf a | head -n 2`},
	{"openssl dgst of a file", `openssl dgst -sha256 -r a | cut -d ' ' -f 1`},
	{"openssl dgst of what is read", `openssl dgst -sha256 -r < a`},
	{"openssl with a key", `printf x | openssl dgst -sha1 -mac HMAC -macopt hexkey:00ff10 -r`},
	{"sed replaces all", `echo 'a\u0026b\u0026c' | sed 's/\\u0026/\&/g'`},
	{"sed replaces the first", `printf 'abab\ncab' | sed 's/ab/[&]/'`},
	{"sed prints a line", `printf 'a\nb\nc\n' | sed -n 2p; printf 'a\nb' | sed -n 2p; printf 'a\n' | sed -n 2p`},
	{"tr removes", `printf 'a b\nc ' | tr -d ' \n'`},
	{"wc counts", `echo $(($(wc -c < a)))`},
	{"seconds", `n=$(date +%s); sleep 0.01; [ "$n" -gt 1700000000 ] && echo later`},
	{"an until with a pipe", `n=0; until echo $n | grep 3; do n=$((n + 1)); done`},
	{"what is not set", `(echo "$nothing") 2>/dev/null || echo "it fails"`},
}

func folder(t *testing.T) string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("Soup\nand fish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What is written here in Go says what the real programs say. Those are asked
// where they are installed; what they said on Debian 12 is in testdata.
func TestItSaysWhatBashAndItsProgramsSay(t *testing.T) {
	golden, err := os.ReadFile("testdata/bash.txt")
	if err != nil {
		t.Fatal(err)
	}
	bash, missing := "", []string(nil)
	for _, name := range append(names(), "bash") {
		path, err := exec.LookPath(name)
		if err != nil {
			missing = append(missing, name)
		}
		if name == "bash" {
			bash = path
		}
	}
	if missing != nil {
		imtest.NotExercised(t, "whether bash and its programs say what testdata/bash.txt has, for want of "+strings.Join(missing, ", "))
	}
	var all strings.Builder
	for _, tt := range scripts {
		t.Run(tt.name, func(t *testing.T) {
			dir := folder(t)
			var got, errs strings.Builder
			if err := Run(t.Context(), tt.sh, dir, &got, &errs); err != nil {
				t.Errorf("%v\n%s", err, errs.String())
			}
			fmt.Fprintf(&all, "=== %s\n%s\n", tt.name, got.String())
			if missing != nil {
				return
			}
			cmd := exec.Command(bash, "-euo", "pipefail", "-c", tt.sh)
			cmd.Dir = dir
			want, err := cmd.CombinedOutput()
			if err != nil || got.String() != string(want) {
				t.Errorf("%s\nsays %q and with bash %q, %v", tt.sh, got.String(), want, err)
			}
		})
	}
	if all.String() != string(golden) {
		t.Errorf("all of them say\n%s\nand testdata/bash.txt has\n%s", all.String(), golden)
	}
}

func names() (all []string) {
	for name := range programs {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func TestWhatIsNotKnownFailsWhereverItIs(t *testing.T) {
	for _, sh := range []string{
		"awk", "echo $(awk)", "awk || true", "if ! awk; then true; fi", "awk | wc -c", "(awk) || true",
		"grep -v a", "grep 'a\\(b\\)'", "grep '[[:alpha:]]'", "grep '\\w'", "sed -e s/a/b/", "sed 's/a/b/i'", "sed 's/a/\\n/'", "sed -n p", "sed 1d",
		"cut -f 1", "cut -d , -f 1-2", "cut -c 2-", "head", "head -c 1", "tr a b", "tr -d a-z", "tr -d '[:space:]'", "wc", "wc -l", "od -c", "date", "date -u",
		"base32", "base32 -di", "openssl rand 1", "openssl dgst -sha256", "openssl dgst -md5 -r", "cmp a", "cmp -s a a", "sleep", "sleep 1m",
		"curl http://127.0.0.1:1/", "curl -s -v http://127.0.0.1:1/", "curl -s -L http://127.0.0.1:1/", "curl -s -d @a http://127.0.0.1:1/", "curl -s -H a http://127.0.0.1:1/", "curl -s",
	} {
		t.Run(sh, func(t *testing.T) {
			var out strings.Builder
			err := Run(t.Context(), sh+" < a || true", folder(t), &out, &out)
			if _, ended := errors.AsType[interp.ExitStatus](err); err == nil || ended {
				t.Errorf("error = %v; it says %q", err, out.String())
			}
		})
	}
}

func TestAScriptEndsWhereACommandFails(t *testing.T) {
	var out strings.Builder
	err := Run(t.Context(), "echo a\ngrep b < a\necho c", folder(t), &out, &out)
	if code, ok := errors.AsType[interp.ExitStatus](err); !ok || code != 1 || out.String() != "a\n" {
		t.Errorf("error = %v; it says %q", err, out.String())
	}
}

func TestAScriptEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, "sleep 1000", t.TempDir(), nil, nil); err == nil {
		t.Error("it slept")
	}
}

// A server that says what it was asked.
func mirror(w http.ResponseWriter, r *http.Request) {
	body := new(strings.Builder)
	if _, err := fmt.Fprint(body, r.Method, " ", r.RequestURI, " ", r.ContentLength, "\n"); err != nil {
		panic(err)
	}
	for _, name := range []string{"Accept", "Authorization", "Content-Type", "Range", "X-A"} {
		for _, v := range r.Header.Values(name) {
			fmt.Fprintf(body, "%s: %s\n", name, v)
		}
	}
	buf := make([]byte, 1024)
	for {
		n, err := r.Body.Read(buf)
		body.Write(buf[:n])
		if err != nil {
			break
		}
	}
	switch r.URL.Path {
	case "/moved":
		http.Redirect(w, r, "/", http.StatusFound)
		return
	case "/denied":
		w.WriteHeader(http.StatusForbidden)
	case "/broken":
		w.Header().Set("Content-Length", "1000")
	}
	fmt.Fprintln(w, body.String())
}

func TestCurlSendsAndEndsAsCurlDoes(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(mirror))
	defer server.Close()
	down := httptest.NewServer(nil)
	down.Close()
	curl, err := exec.LookPath("curl")
	bash, err2 := exec.LookPath("bash")
	if err != nil || err2 != nil {
		imtest.NotExercised(t, "whether curl itself does the same, for want of curl or bash")
	}
	for _, tt := range []struct{ args, want string }{
		{`URL/x?a=b%2Fc`, "GET /x?a=b%2Fc 0\nAccept: */*\n\n0"},
		{`-X DELETE URL/ -H 'Authorization: Bearer t' -H 'X-A: 1' -H 'X-B: 2'`, "DELETE / 0\nAccept: */*\nAuthorization: Bearer t\nX-A: 1\n\n0"},
		{`URL/ -d '{"a":1}'`, "POST / 7\nAccept: */*\nContent-Type: application/x-www-form-urlencoded\n{\"a\":1}\n0"},
		{`-X PATCH URL/ -H 'Content-Type: application/json' -d 'ü'`, "PATCH / 2\nAccept: */*\nContent-Type: application/json\nü\n0"},
		{`-T a URL/to`, "PUT /to 14\nAccept: */*\nSoup\nand fish\n\n0"},
		{`-T nothing URL/to`, "26"},
		{`-r 0-3 URL/`, "GET / 0\nAccept: */*\nRange: bytes=0-3\n\n0"},
		{`URL/denied`, "GET /denied 0\nAccept: */*\n\n0"},
		{`--fail-with-body URL/denied`, "GET /denied 0\nAccept: */*\n\n22"},
		{`--fail-with-body URL/moved`, "<a href=\"/\">Found</a>.\n\n0"},
		{`DOWN/`, "7"},
		{`URL/broken`, "GET /broken 0\nAccept: */*\n\n18"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			dir := folder(t)
			sh := strings.NewReplacer("URL", server.URL, "DOWN", down.URL).Replace("e=0; curl -s " + tt.args + " || e=$?; printf $e")
			var out strings.Builder
			if err := Run(t.Context(), sh, dir, &out, &out); err != nil || out.String() != tt.want {
				t.Errorf("it says %q, %v; want %q", out.String(), err, tt.want)
			}
			if curl == "" || bash == "" {
				return
			}
			cmd := exec.Command(bash, "-euo", "pipefail", "-c", sh)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "no_proxy=127.0.0.1", "NO_PROXY=127.0.0.1")
			if out, err := cmd.Output(); err != nil || string(out) != tt.want {
				t.Errorf("curl says %q, %v; want %q", out, err, tt.want)
			}
		})
	}
}
