package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidings-im/tidings/local/internal/embedded"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/child"
)

// The test binary is the program under test too.
func TestMain(m *testing.M) {
	if how := os.Getenv("RUN_LOCAL"); how != "" {
		if how == "as if PostgreSQL were not installed" {
			embedded.Packaged = nil
		}
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func local(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "RUN_LOCAL=1", "SIGN_INS_PER_MINUTE=1000")
	return cmd
}

// A tidings is a "local up" with a folder of its own.
type tidings struct {
	*child.Process
	t    *testing.T
	dir  string
	addr string
	env  []string
	out  *output
}

func newTidings(t *testing.T, env ...string) *tidings {
	t.Helper()
	// t.TempDir is closed to the user that PostgreSQL runs as under root.
	dir, err := os.MkdirTemp("", "local-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	l := &tidings{t: t, dir: dir, addr: fmt.Sprintf("127.0.0.1:%d", imtest.FreePort(t)), env: env}
	t.Cleanup(func() {
		if l.Process != nil {
			l.Kill()
		}
		if t.Failed() && l.out != nil {
			t.Logf("it said:\n%s", l.out)
			b, _ := os.ReadFile(filepath.Join(dir, "data", "log.jsonl"))
			t.Logf("the log ends:\n%s", b[max(0, len(b)-8<<10):])
		}
		os.RemoveAll(dir)
	})
	return l
}

// up starts it and waits until it says that it is ready.
func (l *tidings) up() {
	l.t.Helper()
	l.out = new(output)
	cmd := local("--addr", l.addr, "--data", filepath.Join(l.dir, "data"))
	cmd.Env = append(cmd.Env, l.env...)
	cmd.Stdout, cmd.Stderr = l.out, l.out
	p, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		l.t.Fatal(err)
	}
	l.Process = p
	l.out.await(l.t, "Tidings is ready", p.Done())
}

// fails starts it and returns what it says before it ends with an error.
func (l *tidings) fails() string {
	l.t.Helper()
	cmd := local("--addr", l.addr, "--data", filepath.Join(l.dir, "data"))
	cmd.Env = append(cmd.Env, l.env...)
	out, err := cmd.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); !failed {
		l.t.Fatalf("it ended with %v:\n%s", err, out)
	}
	return string(out)
}

// An output is what a program has said. It is safe for concurrent use.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// await waits until the program has said what it should.
func (o *output) await(t *testing.T, want string, ended <-chan struct{}) {
	t.Helper()
	deadline := time.After(imtest.Patience(t))
	for !strings.Contains(o.String(), want) {
		select {
		case <-ended:
			if !strings.Contains(o.String(), want) {
				t.Fatalf("it ended without saying %q:\n%s", want, o)
			}
		case <-deadline:
			t.Fatalf("it does not say %q:\n%s", want, o)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// A chatter is somebody at a chat.
type chatter struct {
	*child.Process
	t   *testing.T
	in  io.WriteCloser
	out *output
}

func (l *tidings) chat(args ...string) *chatter {
	l.t.Helper()
	return l.run(append([]string{"chat", "--url", "http://" + l.addr, "--data", l.dir}, args...)...)
}

// run starts a chat by its whole command.
func (l *tidings) run(args ...string) *chatter {
	l.t.Helper()
	cmd := local(args...)
	c := &chatter{t: l.t, out: new(output)}
	cmd.Stdout, cmd.Stderr = c.out, c.out
	var err error
	if c.in, err = cmd.StdinPipe(); err != nil {
		l.t.Fatal(err)
	}
	if c.Process, err = child.Start(cmd, syscall.SIGKILL); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		c.Kill()
		if l.t.Failed() {
			l.t.Logf("%v said:\n%s", args, c.out)
		}
	})
	return c
}

func (c *chatter) types(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		c.t.Fatal(err)
	}
}

func (c *chatter) sees(what string) {
	c.t.Helper()
	c.out.await(c.t, what, c.Done())
}

// leaves ends the input and returns how the chat ended.
func (c *chatter) leaves() error {
	c.t.Helper()
	c.in.Close()
	select {
	case <-c.Done():
	case <-time.After(imtest.Patience(c.t)):
		c.t.Fatalf("the chat does not end with its input:\n%s", c.out)
	}
	return c.Err()
}

// said returns the texts that somebody said, in the order in which they were seen.
func (c *chatter) said(account string) []string {
	line := regexp.MustCompile(`^\d\d:\d\d:\d\d ` + account + `: (.*)$`)
	var texts []string
	for s := bufio.NewScanner(strings.NewReader(c.out.String())); s.Scan(); {
		if m := line.FindStringSubmatch(s.Text()); m != nil {
			texts = append(texts, m[1])
		}
	}
	return texts
}

func TestTheCommandsItPrintsMakeTwoPeopleChat(t *testing.T) {
	l := newTidings(t)
	l.up()
	var chats []string
	for _, m := range regexp.MustCompile(`(?m)^  .* (chat --url .*)$`).FindAllStringSubmatch(l.out.String(), -1) {
		chats = append(chats, m[1])
	}
	if len(chats) != 2 {
		t.Fatalf("it prints %d commands to chat:\n%s", len(chats), l.out)
	}
	var people []*chatter
	for _, command := range chats {
		c := l.run(strings.Fields(command)...)
		c.sees("you are ")
		people = append(people, c)
	}
	people[0].types("hello bob")
	people[1].sees("ann: hello bob")
	people[1].types("hello ann")
	people[0].sees("bob: hello ann")
	for _, c := range people {
		if err := c.leaves(); err != nil {
			t.Errorf("leaving: %v\n%s", err, c.out)
		}
	}

	curl := regexp.MustCompile(`curl -s (\S+) --json '(.*)'`).FindStringSubmatch(l.out.String())
	if curl == nil {
		t.Fatalf("it prints no curl command:\n%s", l.out)
	}
	resp, err := http.Post(curl[1], "application/json", strings.NewReader(curl[2]))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode >= 300 {
		t.Errorf("what curl is to say is answered by %s %s", resp.Status, b)
	}
}

// P1, P2, P3, P4: whatever is killed, what was accepted arrives, once and in order.
func TestNothingIsLostWhenAllIsKilledInMidSentence(t *testing.T) {
	l := newTidings(t)
	l.up()
	bob := l.chat("--as", "bob")
	bob.sees("you are ")
	ann := l.chat("--as", "ann", "--to", "bob")
	ann.sees("you are ")
	const kills, lines = 3, 40
	var want []string
	for kill := range kills {
		for i := range lines {
			text := fmt.Sprintf("%d.%d", kill, i)
			want = append(want, text)
			ann.types(text)
			if i == lines/2 {
				l.Kill()
				l.up()
			}
		}
	}
	for _, c := range []*chatter{bob, ann} {
		c.sees("ann: " + want[len(want)-1] + "\n")
	}
	if err := ann.leaves(); err != nil {
		t.Errorf("ann's chat ended with %v", err)
	}
	for name, c := range map[string]*chatter{"bob": bob, "ann": ann} {
		if got := c.said("ann"); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s saw\n%v\nand should have seen\n%v", name, got, want)
		}
	}
}

func TestAChatThatIsKilledGoesOnWhereItWas(t *testing.T) {
	l := newTidings(t)
	l.up()
	bob := l.chat("--as", "bob")
	bob.sees("you are ")
	ann := l.chat("--as", "ann", "--to", "bob")
	ann.types("one")
	bob.sees("ann: one")
	bob.Kill()
	ann.types("two")
	ann.sees("ann: two")
	bob = l.chat("--as", "bob")
	bob.sees("ann: two")
	if got := fmt.Sprint(bob.said("ann")); got != "[two]" && got != "[one two]" { // killed between seeing and noting it
		t.Errorf("after coming back bob saw %s", got)
	}
}

func TestASecondStartKeepsAllThatThereWas(t *testing.T) {
	l := newTidings(t)
	l.up()
	ann := l.chat("--as", "ann")
	ann.sees("you are ")
	bob := l.chat("--as", "bob", "--to", "ann")
	bob.types("are you there?")
	ann.sees("bob: are you there?")
	services := regexp.MustCompile(`(?m)^  (functions|PostgreSQL|Kafka|Redis) .*$`)
	first := services.FindAllString(l.out.String(), -1)
	kept := files(t, filepath.Join(l.dir, "data"), "seal-keys", "token-private-key")
	if l.Stop(syscall.SIGTERM, 30*time.Second) {
		t.Fatal("it does not stop")
	}
	if l.Err() != nil {
		t.Errorf("it stopped with %v", l.Err())
	}

	l.up()
	if again := services.FindAllString(l.out.String(), -1); fmt.Sprint(first) != fmt.Sprint(again) || len(first) != 4 {
		t.Errorf("first it started\n%v\nand then\n%v", first, again)
	}
	if again := files(t, filepath.Join(l.dir, "data"), "seal-keys", "token-private-key"); kept != again {
		t.Error("the secrets are others")
	}
	ann.types("/to bob")
	ann.types("/history")
	ann.types("yes")
	bob.sees("ann: yes")
	if err := ann.leaves(); err != nil {
		t.Errorf("ann's chat ended with %v", err)
	}
	if got := fmt.Sprint(ann.said("bob")); got != "[are you there? are you there?]" {
		t.Errorf("of bob, ann saw %s", got)
	}
}

// files returns what files in a folder hold, and holds them to being ours alone.
func files(t *testing.T, dir string, names ...string) string {
	t.Helper()
	var all strings.Builder
	for _, name := range names {
		name = filepath.Join(dir, name)
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", name, info.Mode())
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

// It is another process that has the stand-in for S3, and starts when all else
// is ready. Who is early waits for it.
func TestFilesHaveAStoreFromTheFirstMoment(t *testing.T) {
	l := newTidings(t)
	l.up()
	at := regexp.MustCompile(`(?m)^  S3 +(\S+) `).FindStringSubmatch(l.out.String())
	if at == nil {
		t.Fatalf("it does not say where S3 is:\n%s", l.out)
	}
	resp, err := http.Get("http://" + at[1] + "/tidings")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusForbidden || !strings.Contains(string(b), "<Code>AccessDenied</Code>") {
		t.Errorf("anybody is answered %s %s", resp.Status, b)
	}
}

// Nobody who tries Tidings has a mail server.
func TestMailsAreThereToBeRead(t *testing.T) {
	l := newTidings(t)
	l.up()
	var token string
	call := func(method, path, body string) string {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+l.addr+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode >= 300 {
			t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, b, err)
		}
		return string(b)
	}
	call("POST", "/v1/users", `{"account":"ann","name":"Ann","password":"correct horse"}`)
	in := call("POST", "/v1/sessions", `{"account":"ann","password":"correct horse","device":"d","platform":"desktop"}`)
	token = regexp.MustCompile(`"access_token": ?"([^"]+)"`).FindStringSubmatch(in)[1]
	call("PATCH", "/v1/users/me", `{"email":"ann@example.org"}`)
	call("POST", "/v1/users/me/email/verify", `{"password":"correct horse"}`)

	folder, code := filepath.Join(l.dir, "data", "mail"), ""
	imtest.Eventually(t, "a mail comes", func() error {
		mails, err := filepath.Glob(filepath.Join(folder, "*-ann@example.org.eml"))
		if err == nil && len(mails) == 0 {
			err = errors.New("there is none")
		}
		if err == nil {
			code = regexp.MustCompile(`\b[a-z2-9]{4}-[a-z2-9]{4}\b`).FindString(files(t, folder, filepath.Base(mails[0])))
		}
		return err
	})
	if self := call("POST", "/v1/users/me/email/confirm", `{"code":"`+code+`"}`); !strings.Contains(self, `"email_verified"`) {
		t.Errorf("the code %q makes of her %s", code, self)
	}
}

func TestGroupsChat(t *testing.T) {
	l := newTidings(t)
	l.up()
	var people []*chatter
	for _, name := range []string{"ann", "bob", "cyd"} {
		c := l.chat("--as", name)
		c.sees("you are ")
		people = append(people, c)
	}
	people[0].types("/group lunch bob cyd")
	people[0].types("who is hungry?")
	for _, c := range people {
		c.sees(": who is hungry?")
	}
}

func TestWhatCannotBeSentIsSaidAndTheChatFails(t *testing.T) {
	l := newTidings(t)
	l.up()
	for _, test := range []struct{ name, line, want string }{
		{"a line to nobody", "hello", "to whom?"},
		{"somebody who does not exist", "/to nobody-has-this", "nobody has the account"},
		{"oneself", "/to ann", "that is you"},
		{"what is no command", "/frob", "is not understood"},
		{"a group of somebody who does not exist", "/group lunch nobody-has-this", "nobody has the account"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ann := l.chat("--as", "ann")
			ann.types(test.line)
			if err := ann.leaves(); err == nil {
				t.Error("the chat ends as if all had been sent")
			}
			if !strings.Contains(ann.out.String(), test.want) {
				t.Errorf("it said:\n%s", ann.out)
			}
		})
	}
	t.Run("another's account", func(t *testing.T) {
		eve := l.chat("--as", "ann", "--password", "not that of ann", "--data", t.TempDir())
		if err := eve.leaves(); err == nil || !strings.Contains(eve.out.String(), "another password") {
			t.Errorf("it ended with %v and said:\n%s", err, eve.out)
		}
	})
	t.Run("a chat beside one's own", func(t *testing.T) {
		first := l.chat("--as", "bob")
		first.sees("you are ")
		second := l.chat("--as", "bob")
		if err := second.leaves(); err == nil || !strings.Contains(second.out.String(), "already in another terminal") {
			t.Errorf("it ended with %v and said:\n%s", err, second.out)
		}
	})
}

func TestAChatWithNoServerSaysSo(t *testing.T) {
	l := newTidings(t) // and does not start it
	ann := l.chat("--as", "ann")
	if err := ann.leaves(); err == nil || !strings.Contains(ann.out.String(), "no Tidings answers at http://"+l.addr) {
		t.Errorf("it ended with %v and said:\n%s", err, ann.out)
	}
}

func TestServicesThatTheEnvironmentNamesAreUsed(t *testing.T) {
	for _, test := range []struct {
		name     string
		env      func(*testing.T) []string
		says     []string
		starts   []string
		startsNo []string
	}{
		{"PostgreSQL and Redis",
			func(t *testing.T) []string {
				return []string{"POSTGRES_URL=" + imtest.Postgres(t), "REDIS_URL=" + imtest.Redis(t)}
			},
			[]string{"the one that POSTGRES_URL names", "the one that REDIS_URL names", "kfake, a stand-in", "in PostgreSQL"},
			[]string{"kafka"}, []string{"postgresql", "redis"}},
		{"Kafka and MongoDB",
			func(t *testing.T) []string {
				return []string{"KAFKA_BROKERS=" + imtest.Kafka(t)[0], "MONGODB_URL=" + imtest.Mongo(t)}
			},
			[]string{"the one that KAFKA_BROKERS names", "in MongoDB"},
			[]string{"postgresql"}, []string{"kafka"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newTidings(t, test.env(t)...)
			l.up()
			for _, want := range test.says {
				if !strings.Contains(l.out.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, l.out)
				}
			}
			for _, name := range test.starts {
				if _, err := os.Stat(filepath.Join(l.dir, "data", name)); err != nil {
					t.Errorf("there is no data of %s: %v", name, err)
				}
			}
			for _, name := range test.startsNo {
				if _, err := os.Stat(filepath.Join(l.dir, "data", name)); err == nil {
					t.Errorf("there is data of a %s of its own", name)
				}
			}
			ann := l.chat("--as", "ann")
			ann.sees("you are ")
			bob := l.chat("--as", "bob", "--to", "ann")
			bob.types("hello")
			ann.sees("bob: hello")
		})
	}
}

func TestWithoutRedisServerAStandInDoes(t *testing.T) {
	l := newTidings(t, "PATH="+t.TempDir())
	l.up()
	if !strings.Contains(l.out.String(), "miniredis, a stand-in") {
		t.Fatalf("it does not say that there is a stand-in:\n%s", l.out)
	}
	ann := l.chat("--as", "ann")
	ann.sees("you are ")
	bob := l.chat("--as", "bob", "--to", "ann")
	bob.types("before")
	ann.sees("bob: before")
	l.Kill() // and with it all that miniredis had
	l.up()
	bob.types("after")
	ann.sees("bob: after")
}

func TestNothingOutlivesItsDeath(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*tidings)
	}{
		{"when it is killed", func(l *tidings) { l.Signal(syscall.SIGKILL) }},
		{"when it is interrupted", func(l *tidings) { l.Signal(syscall.SIGINT) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newTidings(t)
			l.up()
			all := child.Tree(l.Pid)
			if len(all) < 2 {
				t.Fatalf("it started no processes: %v", all)
			}
			test.end(l)
			<-l.Done()
			for _, pid := range all {
				imtest.Until(t, fmt.Sprintf("process %d has ended", pid), func() bool { return child.CommandLine(pid) == "" })
			}
		})
	}
}

func TestKilledWhileItStartsItStartsAgain(t *testing.T) {
	l := newTidings(t)
	for _, after := range []time.Duration{100, 300, 500, 700, 900, 1300} { // at the first start and the next ones
		cmd := local("--addr", l.addr, "--data", filepath.Join(l.dir, "data"))
		p, err := child.Start(cmd, syscall.SIGKILL)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.Done():
			t.Errorf("it ended by itself: %s", p.Said())
		case <-time.After(after * time.Millisecond):
		}
		p.Signal(syscall.SIGKILL)
		<-p.Done()
	}
	l.up()
	ann := l.chat("--as", "ann")
	ann.sees("you are ")
}

func TestASecondInterruptEndsItAtOnce(t *testing.T) {
	l := newTidings(t)
	l.up()
	var frozen []int
	for _, pid := range child.Tree(l.Pid)[1:] {
		syscall.Kill(pid, syscall.SIGSTOP) // so that it cannot stop
		frozen = append(frozen, pid)
	}
	defer func() {
		for _, pid := range frozen {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}()
	l.Signal(syscall.SIGINT)
	l.out.await(t, "once more to stop at once", l.Done())
	l.Signal(syscall.SIGINT)
	select {
	case <-l.Done():
	case <-time.After(14 * time.Second): // what is frozen would hold it up for 15 s
		t.Error("it goes on")
	}
}

func TestItEndsAndSaysWhyWhenAServiceDies(t *testing.T) {
	for _, service := range []struct{ program, says string }{
		{"postgres", `PostgreSQL \d+ ended`},
		{"redis-server", `redis-server ended`},
	} {
		t.Run(service.program, func(t *testing.T) {
			if service.program == "redis-server" && !imtest.RealRedis(t) { // the stand-in is in the process itself
				return
			}
			l := newTidings(t)
			l.up()
			for _, pid := range child.Tree(l.Pid) {
				if program, _, _ := strings.Cut(child.CommandLine(pid), " "); filepath.Base(program) == service.program {
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			select {
			case <-l.Done():
			case <-time.After(imtest.Patience(t)):
				t.Fatal("it goes on without it")
			}
			if out := l.out.String(); l.Err() == nil || !regexp.MustCompile(service.says).MatchString(out) || !strings.Contains(out, "log.jsonl") {
				t.Errorf("it ended with %v and said:\n%s", l.Err(), out)
			}
		})
	}
}

func TestWhatKeepsItFromStartingIsSaid(t *testing.T) {
	t.Run("an address that is taken", func(t *testing.T) {
		l := newTidings(t)
		ln, err := net.Listen("tcp", l.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if out := l.fails(); !strings.Contains(out, "another program listens on "+l.addr) || !strings.Contains(out, "--addr") {
			t.Errorf("it said:\n%s", out)
		}
	})
	t.Run("another that runs with the same data", func(t *testing.T) {
		l := newTidings(t)
		l.up()
		if out := l.fails(); !strings.Contains(out, fmt.Sprintf("the data in %s/data is in use by Tidings, as process %d", l.dir, l.Pid)) {
			t.Errorf("it said:\n%s", out)
		}
	})
	t.Run("data of a PostgreSQL that is gone", func(t *testing.T) {
		l := newTidings(t)
		if err := os.MkdirAll(filepath.Join(l.dir, "data", "postgresql", "postgresql-99"), 0o755); err != nil {
			t.Fatal(err)
		}
		if out := l.fails(); !strings.Contains(out, "written by PostgreSQL 99") {
			t.Errorf("it said:\n%s", out)
		}
	})
	t.Run("no PostgreSQL, and no network to fetch it", func(t *testing.T) {
		l := newTidings(t)
		cmd := local("--addr", l.addr, "--data", filepath.Join(l.dir, "data"))
		cmd.Dir = t.TempDir()
		cmd.Env = append(cmd.Env, "RUN_LOCAL=as if PostgreSQL were not installed", "PATH="+cmd.Dir,
			"HTTPS_PROXY=http://127.0.0.1:1", "HOME="+cmd.Dir, "XDG_CACHE_HOME="+cmd.Dir) // there is no network
		out := new(strings.Builder)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer time.AfterFunc(imtest.Patience(t), func() { cmd.Process.Kill() }).Stop()
		if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), "sudo apt-get install postgresql") {
			t.Errorf("it ended with %v and said:\n%s", err, out)
		}
	})
	for _, args := range [][]string{{"frob"}, {"up", "frob"}, {"chat"}, {"chat", "--as", "X Y"}, {"chat", "--as", "ann", "--url", "nowhere"}, {"kafka", "frob"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			if out, err := local(args...).CombinedOutput(); err == nil || len(out) == 0 {
				t.Errorf("it ended with %v and said %q", err, out)
			}
		})
	}
}
