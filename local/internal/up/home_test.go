package up

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/token"
)

func open(t *testing.T, dir string) *home {
	t.Helper()
	h, err := openHome(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.close() })
	return h
}

func TestPortsStayUnlessTheyAreTaken(t *testing.T) {
	h := open(t, t.TempDir())
	names := []string{"a", "b", "c"}
	first, err := h.ports("127.0.0.1:1", names...)
	if err != nil {
		t.Fatal(err)
	}
	if first["a"] == first["b"] || first["b"] == first["c"] || first["a"] == first["c"] {
		t.Errorf("two got the same: %v", first)
	}
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first["b"]))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	again, err := h.ports(fmt.Sprintf("0.0.0.0:%d", first["c"]), names...)
	if err != nil {
		t.Fatal(err)
	}
	if again["a"] != first["a"] {
		t.Errorf("a free port changed from %d to %d", first["a"], again["a"])
	}
	if again["b"] == first["b"] {
		t.Error("a port that is taken was given out")
	}
	if again["c"] == first["c"] {
		t.Error("the port of the gateway was given out")
	}
}

func TestSecretsAreGoodAndStay(t *testing.T) {
	h := open(t, t.TempDir())
	secrets, err := h.secrets()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := event.ParseKeyring(secrets["SEAL_KEYS"]); err != nil {
		t.Error(err)
	}
	env := imtest.Env(t, secrets)
	issuer, err := token.OpenIssuer(env)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := token.OpenVerifier(env)
	if err != nil {
		t.Fatal(err)
	}
	caller := im.Caller{User: im.NewID(), Session: im.NewID(), Device: "d", Platform: "web"}
	tok, _, err := issuer.Issue(caller)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := verifier.Verify(tok); got != caller || err != nil {
		t.Errorf("a token of %v is one of %v, %v", caller, got, err)
	}
	again, err := h.secrets()
	if err != nil || fmt.Sprint(again) != fmt.Sprint(secrets) {
		t.Errorf("the next time they are others, %v", err)
	}
}

func TestAHomeBelongsToOneProcess(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	_, err := openHome(dir, time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("as process %d", os.Getpid())) {
		t.Errorf("opening it twice: %v", err)
	}
	h.close()
	open(t, dir)
}

func TestTheLogDoesNotGrowWithoutLimit(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	l, err := openLog(name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	piece := make([]byte, maxLog/4+1)
	for i := range 9 {
		piece[0] = byte(i)
		if _, err := l.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(name + "*")
	if err != nil || len(files) != 2 {
		t.Fatalf("there are %v, %v", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > maxLog {
			t.Errorf("%s has %d bytes, %v", f, info.Size(), err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil || len(b) < len(piece) || b[len(b)-len(piece)] != 8 {
		t.Errorf("the newest is not in %s, %v", name, err)
	}
}

func TestCommandsArePrintedForAShell(t *testing.T) {
	for in, want := range map[string]string{
		"/tmp/a-b_c.d": "/tmp/a-b_c.d",
		"/tmp/a b":     "'/tmp/a b'",
		"it's":         `'it'\''s'`,
		"":             "''",
		"$HOME":        "'$HOME'",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("%q is printed as %s, want %s", in, got, want)
		}
	}
}
