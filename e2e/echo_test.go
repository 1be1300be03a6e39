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

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

var echoInManual = regexp.MustCompile("(?s)<!-- echo -->\n```python\n(.*?)```")

// The bot of docs/bots.md does what is said there, as it stands there.
func TestTheBotOfTheManualAnswers(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	manual, err := os.ReadFile("../docs/bots.md")
	if err != nil {
		t.Fatal(err)
	}
	script := echoInManual.FindSubmatch(manual)
	if script == nil {
		t.Fatal("docs/bots.md has no bot")
	}
	file := filepath.Join(t.TempDir(), "echo.py")
	if err := os.WriteFile(file, script[1], 0o600); err != nil {
		t.Fatal(err)
	}
	d := &door{t, oneProcess(t, noop.NewTracerProvider().Tracer(""), "WEBHOOK_PRIVATE", "true")}
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
	imtest.Run(t, []string{"TIDINGS_API=" + d.url + "/v1", "BOT_TOKEN=" + made.Token, "WEBHOOK_SECRET=" + hook.Secret, fmt.Sprint("PORT=", port)}, python, "-u", file)
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
