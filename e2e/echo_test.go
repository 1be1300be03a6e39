package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tidings-im/tidings/e2e/system"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// inManual returns the bot of docs/bots.md in a language, in a file.
func inManual(t *testing.T, language, name string) string {
	t.Helper()
	manual, err := os.ReadFile("../docs/bots.md")
	if err != nil {
		t.Fatal(err)
	}
	script := regexp.MustCompile("(?s)<!-- echo -->\n```" + language + "\n(.*?)```").FindSubmatch(manual)
	if script == nil {
		t.Fatalf("docs/bots.md has no bot in %s", language)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, script[1], 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The bots of docs/bots.md do what is said there, as they stand there.
func TestTheBotOfTheManualAnswers(t *testing.T) {
	t.Parallel()
	t.Run("in Python", func(t *testing.T) {
		file := inManual(t, "python", "echo.py")
		python, err := exec.LookPath("python3")
		if err != nil {
			imtest.NotExercised(t, "the bot in Python, for want of python3")
			return
		}
		answers(t, python, "-u", file)
	})
	t.Run("in Go", func(t *testing.T) {
		file := inManual(t, "go", "echo.go")
		program := filepath.Join(filepath.Dir(file), "echo")
		if said, err := exec.Command("go", "build", "-o", program, file).CombinedOutput(); err != nil {
			t.Fatalf("compiling it: %v\n%s", err, said)
		}
		answers(t, program)
	})
}

// answers runs a bot, which is to answer what it is told, and nothing else.
func answers(t *testing.T, program string, args ...string) {
	d := &door{t, system.OneProcess(t, noop.NewTracerProvider().Tracer(""), "WEBHOOK_PRIVATE", "true")}
	ann, bob := d.signUp("ann"), d.signUp("bob")
	var made struct {
		Bot   im.Bot
		Token string
	}
	if err := json.Unmarshal([]byte(ann.must("POST", "/v1/bots", request{"account": "echo", "name": "Echo", "scopes": []string{"messages:read", "messages:write"}})), &made); err != nil {
		t.Fatal(err)
	}
	port := imtest.FreePort(t)
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	var hook struct{ Secret string }
	if err := json.Unmarshal([]byte(ann.must("POST", "/v1/webhooks", request{"bot": made.Bot.ID, "url": url, "events": []string{"message"}})), &hook); err != nil {
		t.Fatal(err)
	}
	imtest.Run(t, []string{"TIDINGS_API=" + d.url + "/v1", "BOT_TOKEN=" + made.Token, "WEBHOOK_SECRET=" + hook.Secret, fmt.Sprint("PORT=", port)}, program, args...)
	imtest.Eventually(t, "the bot listens", func() error {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
		}
		return err
	})

	bob.must("POST", "/v1/messages", request{"to": "u:" + made.Bot.ID, "text": "hello, is anybody there?"})
	bob.gets("an answer", func(m im.Message) bool {
		return m.From == made.Bot.ID && m.Text == "You said: hello, is anybody there?"
	})
	group := ann.group("invite", bob, visitor{account: account{User: im.User{ID: made.Bot.ID}}})
	bob.must("POST", "/v1/messages", request{"to": "g:" + group, "text": "and here?"})
	ann.gets("an answer in a group", func(m im.Message) bool {
		return m.From == made.Bot.ID && m.Conversation == im.Group(group) && m.Text == "You said: and here?"
	})

	// What is not signed is not answered.
	resp, err := (&http.Client{Transport: &http.Transport{}}).Post(url, "application/json", strings.NewReader(`{"data":{"message":{}}}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("to what is not signed the bot says %s", resp.Status)
	}
}
