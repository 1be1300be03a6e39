package abuse_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/tidings-im/tidings/e2e/system"
	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/token"
)

// A cage is a process that has as much memory as its manifest gives it, and is
// killed by the system if it takes more.
type cage struct {
	t       *testing.T
	name    string
	limit   int64
	url     string
	process *imtest.Process
	group   string // the folder of its control group; "" if none may be made
}

// prepared are settings of real services that are ready, for functions of which
// none can be reached from others.
func prepared(t *testing.T) map[string]string {
	t.Helper()
	vars := system.Settings(t, strings.Join(imtest.Kafka(t), ","), system.Database(t), imtest.Redis(t))
	vars["FUNCTION_URL"] = "http://127.0.0.1:1/{function}"
	system.Prepare(t, vars)
	return vars
}

// encage starts a program in a control group of its own. Where none may be made
// it is told its limit, and held to it by what it used. It is ready once it
// answers at the address that is in the setting of that name.
func encage(t *testing.T, name string, limit int64, command []string, vars map[string]string, address string, more ...string) *cage {
	t.Helper()
	port := imtest.FreePort(t)
	c := &cage{t: t, name: name, limit: limit, url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	c.group = controlGroup(t, limit)
	vars = maps.Clone(vars)
	for i := 0; i < len(more); i += 2 {
		vars[more[i]] = more[i+1]
	}
	vars[address] = strings.TrimPrefix(c.url, "http://")
	if address == "PORT" {
		vars[address] = fmt.Sprint(port)
	}
	if c.group == "" {
		vars["MEMORY_LIMIT"] = strconv.FormatInt(limit, 10)
	}
	var env []string
	for k, v := range vars {
		env = append(env, k+"="+v)
	}
	join := "/dev/null"
	if c.group != "" {
		join = filepath.Join(c.group, "cgroup.procs")
	}
	args := append([]string{"-c", `echo $$ > "$0" && exec "$@"`, join, system.Binary(t)}, command...)
	c.process = imtest.Run(t, env, "/bin/sh", args...)
	imtest.Eventually(t, name+" is ready", func() error {
		resp, err := http.Get(c.url + "/readyz")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	return c
}

// controlGroup makes a control group that may use so many bytes, of version 1
// or 2, whichever there is.
func controlGroup(t *testing.T, limit int64) string {
	t.Helper()
	const root = "/sys/fs/cgroup"
	for _, v := range []struct{ parent, file string }{
		{filepath.Join(root, "memory"), "memory.limit_in_bytes"},
		{root, "memory.max"},
	} {
		group, err := os.MkdirTemp(v.parent, "tidings-test-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(group) })
		if os.WriteFile(filepath.Join(group, v.file), strconv.AppendInt(nil, limit, 10), 0o644) == nil {
			return group
		}
	}
	return ""
}

// survived reports the most memory that the process used, and fails the test if
// that was too much or the process is gone.
func (c *cage) survived() {
	c.t.Helper()
	peak := c.peak()
	kills := c.kills()
	c.t.Logf("%-16s %6.1f MiB at most, of %d MiB; %d times killed", c.name, float64(peak)/(1<<20), c.limit>>20, kills)
	if peak == 0 || peak > c.limit || kills > 0 {
		c.t.Errorf("%s did not survive within its memory", c.name)
	}
	resp, err := http.Get(c.url + "/readyz")
	if err != nil {
		c.t.Errorf("%s answers no more: %v", c.name, err)
		return
	}
	resp.Body.Close()
}

// peak returns the most memory that was charged to the process or, outside a
// control group, that was resident, which counts pages of the program that others
// share; 0 if it is gone.
func (c *cage) peak() int64 {
	if c.group != "" && c.process.Pid() != 0 {
		for _, file := range []string{"memory.max_usage_in_bytes", "memory.peak"} {
			b, err := os.ReadFile(filepath.Join(c.group, file))
			if err != nil {
				continue
			}
			if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
				return n
			}
		}
	}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.process.Pid()))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// kills returns how often the system killed a process of the group.
func (c *cage) kills() (n int) {
	for _, file := range []string{"memory.oom_control", "memory.events"} {
		b, _ := os.ReadFile(filepath.Join(c.group, file))
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == "oom_kill" {
				n, _ = strconv.Atoi(f[1])
			}
		}
	}
	return n
}

// limitsOf returns the memory that stack.yml gives each function.
func limitsOf(t *testing.T) map[string]int64 {
	t.Helper()
	b, err := os.ReadFile("../../stack.yml")
	if err != nil {
		t.Fatal(err)
	}
	var stack struct {
		Functions map[string]struct {
			Limits struct {
				Memory string `yaml:"memory"`
			} `yaml:"limits"`
		} `yaml:"functions"`
	}
	if err := yaml.Unmarshal(b, &stack); err != nil {
		t.Fatal(err)
	}
	limits := make(map[string]int64)
	for name, f := range stack.Functions {
		mi, err := strconv.ParseInt(strings.TrimSuffix(f.Limits.Memory, "Mi"), 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		limits[name] = mi << 20
	}
	return limits
}

const attackers = 30

// A mob is users who talk to each other in texts that are long as JSON.
type mob struct {
	users  []string
	tokens []string
}

func (c *mob) conversation(i int) im.Conversation {
	return im.Direct(c.users[i], c.users[(i+1)%attackers])
}

// assemble makes a mob with messages in history and in inboxes.
func assemble(t *testing.T, vars map[string]string) *mob {
	t.Helper()
	env := imtest.Env(t, vars)
	db, err := pgtest.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	inboxes, err := inbox.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(vars["TOKEN_PRIVATE_KEY"]))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	issuer := token.NewIssuer(key.(ed25519.PrivateKey), "tidings", time.Hour)
	c := new(mob)
	for range attackers {
		who := im.Caller{User: im.NewID(), Session: im.NewID(), Device: "d", Platform: "web"}
		jwt, _, err := issuer.Issue(who)
		if err != nil {
			t.Fatal(err)
		}
		c.users, c.tokens = append(c.users, who.User), append(c.tokens, jwt)
	}
	text := strings.Repeat("<girafes> & <elegant> ", 800)[:16_000]
	for i, user := range c.users {
		var messages []im.Message
		var entries []im.Entry
		for n := range 70 {
			at := im.Now() - im.Time(70-n)
			m := im.Message{ID: im.NewMessageID(at), Conversation: c.conversation(i), Time: at, From: user, ClientID: "c", Kind: im.KindText, Text: text}
			b, err := im.JSON(m)
			if err != nil {
				t.Fatal(err)
			}
			messages = append(messages, m)
			entries = append(entries, im.Entry{User: user, Seq: int64(n + 1), ID: m.ID, Message: b, Conversation: m.Conversation, Class: im.ClassUnread})
		}
		if err := db.AppendHistory(t.Context(), messages); err != nil {
			t.Fatal(err)
		}
		if _, err := inboxes.Insert(t.Context(), entries); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// An attack is what is done to a process all the time, by many at once.
type attack struct {
	many int
	do   func(ctx context.Context, i int) (status int)
}

// during runs attacks for some seconds, and returns how many of each were
// answered 200.
func during(t *testing.T, span time.Duration, attacks ...attack) []int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	done := make([]atomic.Int64, len(attacks))
	var all sync.WaitGroup
	for a, attack := range attacks {
		for i := range attack.many {
			all.Go(func() {
				for ctx.Err() == nil {
					if attack.do(ctx, i) == http.StatusOK {
						done[a].Add(1)
					}
				}
			})
		}
	}
	all.Wait()
	counts := make([]int64, len(attacks))
	for i := range done {
		counts[i] = done[i].Load()
	}
	return counts
}

// crude is a client whose calls are no part of the contract's test.
var crude = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}}

// call posts JSON and reads the answer; 0 is none.
func call(ctx context.Context, url, jwt, media string, body io.Reader) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return 0
	}
	req.Header.Set("Content-Type", media)
	if jwt != "" {
		req.Header.Set("Authorization", "Bearer "+jwt)
	}
	return do(req)
}

// do makes a request and reads the answer; 0 is none.
func do(req *http.Request) int {
	resp, err := crude.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}

// flood is of strangers who send large bodies that nobody has asked for, as batches, of which it
// cannot be seen before they are read that nobody sealed them.
func flood(url, jwt string) attack {
	batch := bytes.Repeat([]byte(`{"specversion":"1.0","id":"x","type":"t","source":"s","data":{"text":"xxxxxxxxxxxxxxxxxxxxx"}},`), 45_000)
	batch[0], batch[len(batch)-1] = '[', ']'
	batch = append([]byte("["), batch...)
	return attack{100, func(ctx context.Context, i int) int {
		return call(ctx, url, jwt, "application/cloudevents-batch+json", bytes.NewReader(batch[:min(len(batch), 4<<20)]))
	}}
}

// Each of these, alone in the memory that its manifest gives it, outlives what
// those who mean it harm can send it, and serves others afterwards. They are what
// holds most of each kind: pages, a search, hashes (more at a time than fit are
// asked for), and bodies. That the largest calls of the others fit in their limits
// is a test of deploy.
// What decodes pictures, and what reads the archive, bounds itself and is
// attacked by the tests of its own.
func TestP7AProcessSurvivesItsAttackWithinItsMemory(t *testing.T) {
	vars := prepared(t)
	for _, free := range []string{"CALLS_PER_SECOND", "CALLS_BURST", "MESSAGE_SEARCHES_PER_MINUTE", "SIGN_INS_PER_MINUTE"} {
		vars[free] = "1000000"
	}
	people := assemble(t, vars)
	limits := limitsOf(t)
	const span = 5 * time.Second

	for _, tt := range []struct {
		function string
		many     int
		body     func(i int) string
		jwt      bool
	}{
		{"message-history", 2 * attackers, func(i int) string {
			return fmt.Sprintf(`{"conversation":%q,"limit":200}`, people.conversation(i%attackers))
		}, true},
		{"message-sync", 2 * attackers, func(int) string { return `{"after":0,"limit":1000}` }, true},
		{"message-search", 2 * attackers, func(int) string { return `{"q":"gigantism elephants"}` }, true},
		{"conversation-list", 2 * attackers, func(int) string { return `{"limit":100}` }, true},
		{"user-login", 40, func(i int) string {
			return fmt.Sprintf(`{"account":"nobody%d","password":%q,"device":"d","platform":"web"}`, i, strings.Repeat("x", 64))
		}, false},
		{"chat-ingest", 40, func(int) string { return `{}` }, false},
	} {
		t.Run(tt.function, func(t *testing.T) {
			c := encage(t, tt.function, limits[tt.function], []string{"function", tt.function}, vars, "PORT", "PASSWORD_PARALLEL", "64")
			url, some := c.url+"/"+tt.function, ""
			if tt.jwt {
				some = people.tokens[0]
			}
			counts := during(t, span, attack{tt.many, func(ctx context.Context, i int) int {
				jwt := ""
				if tt.jwt {
					jwt = people.tokens[i%attackers]
				}
				return call(ctx, url, jwt, "application/json", strings.NewReader(tt.body(i)))
			}}, flood(url, some))
			c.survived()
			t.Logf("%d calls were answered meanwhile", counts[0])
			imtest.Until(t, "others are served afterwards", func() bool { // what was under way may take its time
				return !tt.jwt || call(t.Context(), url, people.tokens[1], "application/json", strings.NewReader(tt.body(1))) == http.StatusOK
			})
		})
	}
	t.Run("gateway", func(t *testing.T) { attackGateway(t, vars, people, span) })
}

// A gateway has a container of 2 GiB, for its sockets; without any, 256 MiB are
// enough for the API.
func attackGateway(t *testing.T, vars map[string]string, people *mob, span time.Duration) {
	large := []byte(`{"messages":"` + strings.Repeat("x", 1<<20) + `"}`)
	functions := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(len(large)))
		w.Write(large)
	}))
	t.Cleanup(functions.Close)
	c := encage(t, "gateway", 256<<20, []string{"gateway"}, vars, "GATEWAY_ADDR", "FUNCTION_URL", functions.URL+"/{function}",
		"GATEWAY_INTERNAL_ADDR", fmt.Sprintf("127.0.0.1:%d", imtest.FreePort(t)), "CLIENT_ADDRESS_HEADER", "X-Forwarded-For")
	whole, err := json.Marshal(map[string]string{"account": strings.Repeat("x", 60<<10)})
	if err != nil {
		t.Fatal(err)
	}
	slowly := func(request string) func(context.Context, int) int {
		return func(ctx context.Context, i int) int {
			conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
			if err != nil {
				return 0
			}
			defer conn.Close()
			conn.(*net.TCPConn).SetReadBuffer(2 << 10)
			fmt.Fprintf(conn, request, i%200, people.tokens[i%attackers])
			<-ctx.Done()
			return 0
		}
	}
	other := func(ctx context.Context, i int) int {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/v1/users/"+people.users[0], nil)
		req.Header.Set("Authorization", "Bearer "+people.tokens[attackers-1-i%5])
		req.Header.Set("X-Forwarded-For", "198.51.100.1")
		return do(req)
	}
	counts := during(t, span,
		attack{20, other},
		attack{600, slowly("GET /v1/conversations HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.%d\r\nAuthorization: Bearer %s\r\n\r\n")},
		attack{200, slowly("GET /docs HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.3.%d\r\nX-Other: %s\r\n\r\n")},
		attack{200, func(ctx context.Context, i int) int {
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/sessions", bytes.NewReader(whole))
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("X-Forwarded-For", fmt.Sprintf("192.0.4.%d", i))
			return do(req)
		}})
	c.survived()
	t.Logf("%d calls of others were answered meanwhile", counts[0])
	imtest.Until(t, "others are served afterwards", func() bool { return other(t.Context(), 0) == http.StatusOK })
}

// Functions that share a process share its budget: one of compose's groups
// outlives what each of them is sent at the same time in the memory that compose
// gives it.
func TestP7AGroupOfFunctionsSurvivesItsAttacksWithinItsMemory(t *testing.T) {
	vars := prepared(t)
	people, parts := assemble(t, vars), composed(t)

	for _, tt := range []struct {
		group, functions string
		bodies           map[string]func(i int) string
	}{
		{"messages", "message-*,conversation-*", map[string]func(int) string{
			"message-history": func(i int) string {
				return fmt.Sprintf(`{"conversation":%q,"limit":200}`, people.conversation(i%attackers))
			},
			"message-sync":      func(int) string { return `{"after":0,"limit":1000}` },
			"message-search":    func(int) string { return `{"q":"gigantism elephants"}` },
			"conversation-list": func(int) string { return `{"limit":100}` },
		}},
		{"users", "user-*,token-*,session-*,password-*,presence-*", map[string]func(int) string{
			"user-login": func(i int) string {
				return fmt.Sprintf(`{"account":"nobody%d","password":%q,"device":"d","platform":"web"}`, i, strings.Repeat("x", 64))
			},
			"user-get":     func(i int) string { return fmt.Sprintf(`{"id":%q}`, people.users[i%attackers]) },
			"session-list": func(int) string { return `{}` },
		}},
	} {
		t.Run(tt.group, func(t *testing.T) {
			c := encage(t, tt.group, parts[tt.group].memory(t), []string{"functions", tt.functions}, vars, "PORT", "PASSWORD_PARALLEL", "64")
			var attacks []attack
			for function, body := range tt.bodies {
				url := c.url + "/" + function
				attacks = append(attacks, attack{attackers, func(ctx context.Context, i int) int {
					return call(ctx, url, people.tokens[i%attackers], "application/json", strings.NewReader(body(i)))
				}}, flood(url, people.tokens[0]))
			}
			during(t, 5*time.Second, attacks...)
			c.survived()
		})
	}
}

// Every deployable of compose that serves functions outlives bodies that nobody
// has asked for, sent to each of its functions at the same time.
func TestP7EveryGroupOfComposeSurvivesAFloodWithinItsMemory(t *testing.T) {
	vars := prepared(t)
	groups := 0
	for name, part := range composed(t) {
		if len(part.Command) != 2 || part.Command[0] != "functions" {
			continue
		}
		patterns := part.Command[1]
		groups++
		t.Run(name, func(t *testing.T) {
			c := encage(t, name, part.memory(t), part.Command, vars, "PORT")
			var attacks []attack
			for _, f := range functions.All {
				if !slices.ContainsFunc(strings.Split(patterns, ","), func(p string) bool { ok, _ := path.Match(p, f.Name); return ok }) {
					continue
				}
				a := flood(c.url+"/"+f.Name, "")
				a.many = 20
				attacks = append(attacks, a)
			}
			if len(attacks) == 0 {
				t.Fatalf("%s serves nothing by %q", name, patterns)
			}
			during(t, 2*time.Second, attacks...)
			c.survived()
		})
	}
	if groups < 14 {
		t.Errorf("%d groups were found", groups)
	}
}

// A connector that has far more to hand on than it may hold, to functions that
// take their time over each request, outlives that in the memory that compose
// gives it.
func TestP7AConnectorSurvivesABacklogWithinItsMemory(t *testing.T) {
	const messages = 1500 // of each topic, 96 MiB
	vars := prepared(t)
	producer, err := kafka.Open(t.Context(), imtest.Env(t, vars))
	if err != nil {
		t.Fatal(err)
	}
	large, err := json.Marshal(map[string]string{"text": strings.Repeat("<", 64<<10)})
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{event.TopicMessages, event.TopicDeliveries} {
		for i := 0; i < messages; i += 10 {
			var events []event.Event
			for n := i; n < i+10; n++ {
				events = append(events, event.Event{ID: fmt.Sprint(topic, n), Type: event.MessageAccepted, Source: "test", PartitionKey: fmt.Sprint(n), Data: large})
			}
			if err := producer.Publish(t.Context(), topic, events); err != nil {
				t.Fatal(err)
			}
		}
	}
	var posted atomic.Int64
	functions := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		posted.Add(n)
		select {
		case <-time.After(2 * time.Second):
			w.WriteHeader(http.StatusNoContent)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(functions.Close)
	c := encage(t, "connector", composed(t)["connector"].memory(t), []string{"connector"}, vars, "CONNECTOR_ADDR", "FUNCTION_URL", functions.URL+"/{function}")
	// More than the window has been held by then, and as much as it may be.
	imtest.Eventually(t, "the connector goes on", func() error {
		if n := posted.Load(); n < 64<<20 {
			return fmt.Errorf("%d MiB were posted", n>>20)
		}
		return nil
	})
	c.survived()
}

// A part is a service of compose.
type part struct {
	Command []string
	Memory  string `yaml:"mem_limit"`
}

// composed returns the parts of compose.
func composed(t *testing.T) map[string]part {
	t.Helper()
	b, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct{ Services map[string]part }
	if err := yaml.UnmarshalWithOptions(b, &compose, yaml.AllowDuplicateMapKey()); err != nil { // what is merged in is overridden
		t.Fatal(err)
	}
	return compose.Services
}

// memory returns how many bytes p may use.
func (p part) memory(t *testing.T) int64 {
	t.Helper()
	mi, err := strconv.ParseInt(strings.TrimSuffix(p.Memory, "M"), 10, 64)
	if err != nil {
		t.Fatalf("the memory of %q: %v", p.Command, err)
	}
	return mi << 20
}
