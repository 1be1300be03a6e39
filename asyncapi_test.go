package tidings_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tidings-im/tidings"
	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/kafka"
)

// asyncapi is asyncapi.yaml, and its schemas.
type asyncapi struct {
	t    *testing.T
	root any
	c    *jsonschema.Compiler
}

func readAsyncAPI(t *testing.T) *asyncapi {
	t.Helper()
	b, err := yaml.YAMLToJSON(tidings.AsyncAPI)
	if err != nil {
		t.Fatal(err)
	}
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7) // AsyncAPI 3.0, Schema Object
	c.AssertFormat()
	if err := c.AddResource("file:///asyncapi.json", root); err != nil {
		t.Fatal(err)
	}
	return &asyncapi{t, root, c}
}

// at returns what is at a path, and follows a reference there.
func (a *asyncapi) at(path ...string) any {
	a.t.Helper()
	v := a.root
	for _, key := range path {
		m, _ := v.(map[string]any)
		if v = m[key]; v == nil {
			a.t.Fatalf("asyncapi.yaml has no %s", strings.Join(path, "/"))
		}
		if m, _ := v.(map[string]any); m["$ref"] != nil {
			v = a.at(strings.Split(strings.TrimPrefix(m["$ref"].(string), "#/"), "/")...)
		}
	}
	return v
}

func (a *asyncapi) check(schema string, value any) error {
	s, err := a.c.Compile("file:///asyncapi.json#" + schema)
	if err != nil {
		a.t.Fatalf("%s: %v", schema, err)
	}
	b, ok := value.([]byte)
	if !ok {
		if b, err = json.Marshal(value); err != nil {
			a.t.Fatal(err)
		}
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// frames returns the schemas of the frames of an operation, by their type.
func (a *asyncapi) frames(operation string) map[string]string {
	a.t.Helper()
	frames := map[string]string{}
	for _, m := range a.at("operations", operation, "messages").([]any) {
		ref := strings.TrimPrefix(m.(map[string]any)["$ref"].(string), "#/")
		message := a.at(strings.Split(ref, "/")...).(map[string]any)
		schema := strings.TrimPrefix(message["payload"].(map[string]any)["$ref"].(string), "#")
		typ := a.at(append(strings.Split(schema, "/")[1:], "properties", "type", "const")...).(string)
		if frames[typ] != "" {
			a.t.Errorf("%s has two frames of type %s", operation, typ)
		}
		frames[typ] = schema
	}
	return frames
}

// constants returns the values of the string constants of a file, those of
// declarations whose comment has some words.
func constants(t *testing.T, file, words string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST || !strings.Contains(g.Doc.Text(), words) {
			continue
		}
		for _, s := range g.Specs {
			for _, v := range s.(*ast.ValueSpec).Values {
				if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					value, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, value)
				}
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s has no constants about %q", file, words)
	}
	return all
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: asyncapi.yaml has %q, the code %q", what, got, want)
	}
}

func TestAsyncAPIRefersToWhatIsThere(t *testing.T) {
	a := readAsyncAPI(t)
	if v := a.at("asyncapi"); v != "3.0.0" {
		t.Errorf("AsyncAPI %v", v)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				a.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			}
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	walk(a.root)
	for name := range a.at("components", "schemas").(map[string]any) {
		if _, err := a.c.Compile("file:///asyncapi.json#/components/schemas/" + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAsyncAPIHasAllThereIs(t *testing.T) {
	a := readAsyncAPI(t)
	client := constants(t, "shared/frame/frame.go", "a client sends")
	same(t, "frames of clients", slices.Collect(maps.Keys(a.frames("fromClients"))), client)
	server := append(constants(t, "shared/frame/frame.go", "a server sends"), frame.Typing, frame.Signal, frame.Token)
	same(t, "frames of servers", slices.Collect(maps.Keys(a.frames("toClients"))), server)

	var notices []string
	for _, part := range a.at("components", "schemas", "Notice", "allOf").([]any) {
		typ := part.(map[string]any)["if"].(map[string]any)["properties"].(map[string]any)["type"].(map[string]any)["const"].(string)
		then := part.(map[string]any)["then"].(map[string]any)["$ref"].(string)
		if got := a.at(append(strings.Split(strings.TrimPrefix(then, "#/"), "/"), "properties", "type", "const")...); got != typ {
			t.Errorf("the schema of notices %s is that of %v", typ, got)
		}
		notices = append(notices, typ)
	}
	same(t, "notices", notices, constants(t, "shared/im/notice.go", "The types of notice"))
	same(t, "kinds of error", strs(a.at("components", "schemas", "Kind", "enum")), constants(t, "shared/im/error.go", "The kinds of error"))

	topics := map[string]string{} // address → type of its events
	for name, c := range a.at("channels").(map[string]any) {
		for message := range c.(map[string]any)["messages"].(map[string]any) {
			m := a.at("channels", name, "messages", message).(map[string]any)
			typ, _ := m["name"].(string)
			topics[c.(map[string]any)["address"].(string)] = typ
		}
	}
	delete(topics, "/ws")
	want := map[string]string{event.TopicMessages: event.MessageAccepted, event.TopicDeliveries: event.InboxAppended, event.TopicDeadLetters: "", event.TopicAudit: event.SecurityRecorded}
	if !maps.Equal(topics, want) {
		t.Errorf("topics %v, want %v", topics, want)
	}
	events := make([]string, len(audit.Events))
	for i, e := range audit.Events {
		events[i] = string(e)
	}
	same(t, "events of the security log", strs(a.at("components", "schemas", "SecurityRecord", "properties", "event", "enum")), events)
	rec := audit.Record{Event: audit.LoginFail, Function: "user-login", Reason: "unauthenticated", User: "aaaaaaaaaaaaaaaa", Device: "d", Address: "192.0.2.1", Target: map[string]string{"user": "bbbbbbbbbbbbbbbb"}, Suppressed: 3}
	if err := a.check("/components/schemas/SecurityRecord", rec); err != nil {
		t.Error(err)
	}
	about := a.at("channels", "socket", "description").(string)
	for _, c := range frame.Closes {
		if !strings.Contains(about, fmt.Sprintf("- %d %s: ", c.Code, c.Reason)) {
			t.Errorf("close code %d %s is not told of", c.Code, c.Reason)
		}
	}
}

func strs(v any) []string {
	var all []string
	for _, s := range v.([]any) {
		all = append(all, s.(string))
	}
	return all
}

func TestFramesAreAsAsyncAPISays(t *testing.T) {
	a := readAsyncAPI(t)
	files, err := filepath.Glob("shared/frame/testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden frames", err)
	}
	schemas := a.frames("toClients")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		typ := strings.TrimSuffix(filepath.Base(file), ".json")
		if err := a.check(schemas[typ], b); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		delete(schemas, typ)
		if err := a.check(a.frames("toClients")[typ], []byte(`{"type":"`+typ+`x"}`)); err == nil {
			t.Errorf("the schema of %s takes anything", typ)
		}
	}
	if len(schemas) > 0 {
		t.Errorf("no golden frames of %v", slices.Collect(maps.Keys(schemas)))
	}
	for typ, schema := range a.frames("fromClients") {
		good := map[string]string{
			frame.Send:   `{"type":"send","id":"1","to":"u:aaaaaaaaaaaaaaaa","text":"hi","kind":"text"}`,
			frame.Typing: `{"type":"typing","to":"g:aaaaaaaaaaaaaaaa"}`,
			frame.Signal: `{"type":"signal","to":"u:aaaaaaaaaaaaaaaa","data":null}`,
			frame.Token:  `{"type":"token","token":"x"}`,
			frame.Ping:   `{"type":"ping"}`,
		}[typ]
		if _, err := frame.Parse([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
		if err := a.check(schema, []byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	send := a.frames("fromClients")[frame.Send]
	for said, want := range map[string]bool{
		`"file":"bbbbbbbbbbbbbbbb"`:                         true,
		`"file":"bbbbbbbbbbbbbbbb","text":"","kind":"file"`: true,
		`"file":"bbbbbbbbbbbbbbbb","text":"Here it is"`:     true,
		`"text":""`:                         false,
		`"kind":"file","text":"Here it is"`: false,
		`"kind":"notice","text":"It is so"`: false,
	} {
		b := []byte(`{"type":"send","id":"1","to":"u:aaaaaaaaaaaaaaaa",` + said + `}`)
		if err := a.check(send, b); (err == nil) != want {
			t.Errorf("%s: %v", b, err)
		}
	}
}

// sampleNotices is a notice of each type, as the functions write them.
func sampleNotices(now im.Time, message string) map[string]string {
	const user = `"user":"bbbbbbbbbbbbbbbb"`
	return map[string]string{
		im.FriendRequested:     `{` + user + `,"message":"hello","source":"search","requested_at":"` + now.String() + `"}`,
		im.FriendAccepted:      `{}`,
		im.FriendDeleted:       `{}`,
		im.FriendUpdated:       `{` + user + `,"remark":"Bobby"}`,
		im.BlockChanged:        `{` + user + `,"blocked":true}`,
		im.GroupCreated:        `{"name":"Lunch","version":1}`,
		im.GroupJoined:         `{"users":["bbbbbbbbbbbbbbbb"],"version":2}`,
		im.GroupLeft:           `{` + user + `,"version":3}`,
		im.GroupRemoved:        `{"users":["bbbbbbbbbbbbbbbb"],"version":4}`,
		im.GroupUpdated:        `{"name":"Dinner","policy":"open","version":5}`,
		im.GroupRole:           `{` + user + `,"role":"owner","version":6}`,
		im.GroupMuted:          `{` + user + `,"until":"` + now.String() + `","version":7}`,
		im.GroupDissolved:      `{"version":8}`,
		im.GroupJoinRequested:  `{` + user + `,"message":""}`,
		im.GroupJoinRefused:    `{}`,
		im.GroupBanned:         `{"user":"bbbbbbbbbbbbbbbb","reason":"Spam","until":"2099-01-02T03:04:05.678901Z"}`,
		im.GroupUnbanned:       `{"user":"bbbbbbbbbbbbbbbb"}`,
		im.MessageRecalled:     `{"message":"` + message + `"}`,
		im.MessageEdited:       `{"message":"` + message + `","text":"better","edited":"` + now.String() + `"}`,
		im.MessageReacted:      `{"message":"` + message + `","emoji":"👍","on":true}`,
		im.MessageRead:         `{"message":"` + message + `",` + user + `}`,
		im.MessageDeleted:      `{"messages":["` + message + `"]}`,
		im.ConversationUpdated: `{"pinned":true,"muted":false,"hidden":false}`,
		im.WebhookDisabled:     `{"webhook":"bbbbbbbbbbbbbbbb","reason":"failing","failing":"` + now.String() + `","failure":"it answers 500"}`,
	}
}

func TestEventsAreAsAsyncAPISays(t *testing.T) {
	const ann, bob = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
	a := readAsyncAPI(t)
	now := im.TimeOf(time.Date(2026, 1, 2, 3, 4, 5, 678_901_000, time.UTC))
	text := im.Message{
		ID: im.NewMessageID(now), Conversation: im.Direct(ann, bob), Time: now, From: ann, ClientID: "c1", Kind: im.KindText, Text: "hello",
	}
	recalled, deleted := text, text
	recalled.Text, recalled.Recalled, recalled.Revision = "", true, 1
	deleted.Text, deleted.ClientID, deleted.Kind, deleted.Revision = "", "", im.KindDeleted, 1<<30

	file, recalledFile := text, recalled
	file.Kind, file.Text, recalledFile.Kind = im.KindFile, "", im.KindFile
	var err error
	if file.Data, err = json.Marshal(im.File{ID: bob, Name: "lunch.png", Size: 70, Type: "image/png", SHA256: strings.Repeat("0a", 32), Picture: im.Picture{Width: 1, Height: 1, Preview: "LEHV6nWB2yk8"}}.Data()); err != nil {
		t.Fatal(err)
	}

	accepted := map[string]event.Accepted{
		"a file":                 {Message: file, Recipients: []string{ann, bob}},
		"a recall of a file":     {Message: file, Quiet: true, Amended: []im.Message{recalledFile}},
		"a text":                 {Message: text, Recipients: []string{ann, bob}},
		"a recall":               {Message: text, Quiet: true, Amended: []im.Message{recalled}},
		"a deletion for oneself": {Message: text, Recipients: []string{ann}, Quiet: true, Amended: []im.Message{deleted}},
	}
	samples := sampleNotices(now, text.ID)
	same(t, "samples", slices.Collect(maps.Keys(samples)), constants(t, "shared/im/notice.go", "The types of notice"))
	for typ, data := range samples {
		n, err := im.NewNotice(typ, im.Direct(ann, bob), ann, json.RawMessage(data))
		if err != nil {
			t.Fatal(err)
		}
		accepted[typ] = event.Accepted{Message: n.Message("notice-1", text.Place()), Recipients: []string{ann}, Quiet: true}
	}
	for name, data := range accepted {
		if err := a.check("/components/schemas/Accepted", data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		e, err := event.New(event.MessageAccepted, "test", string(text.Conversation), data)
		if err != nil {
			t.Fatal(err)
		}
		e.Seal = "k1:x"
		headers := map[string]string{}
		for _, h := range kafka.RecordOf(&e).Headers {
			headers[h.Key] = string(h.Value)
		}
		if err := a.check("/components/messages/MessageAccepted/headers", headers); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := a.check("/components/messages/InboxAppended/headers", headers); err == nil {
			t.Error("the type of an event is anything")
		}
		message, err := json.Marshal(data.Message)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.check("/components/schemas/Appended", event.Appended{Message: message, Entries: []event.Recipient{{User: ann, Seq: 1}}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string]im.Message{
		"a text without a text":     {ID: text.ID, Conversation: text.Conversation, Time: now, From: ann, Kind: im.KindText},
		"a file without data":       {ID: text.ID, Conversation: text.Conversation, Time: now, From: ann, Kind: im.KindFile},
		"a file without its hash":   {ID: text.ID, Conversation: text.Conversation, Time: now, From: ann, Kind: im.KindFile, Data: json.RawMessage(`{"file":"bbbbbbbbbbbbbbbb","name":"x","size":1,"type":"image/png"}`)},
		"a notice without data":     {ID: text.ID, Conversation: text.Conversation, Time: now, From: ann, Kind: im.KindNotice},
		"a notice without its data": {ID: text.ID, Conversation: text.Conversation, Time: now, From: ann, Kind: im.KindNotice, Data: json.RawMessage(`{"type":"group.role"}`)},
		"an id that is none":        {ID: "1", Conversation: text.Conversation, Time: now, From: ann, Kind: im.KindText, Text: "hello"},
	} {
		if err := a.check("/components/schemas/Accepted", event.Accepted{Message: bad}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// docs/protocol.md tells of all that can come over the socket.
func TestTheManualHasAllThereIs(t *testing.T) {
	b, err := os.ReadFile("docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	var want []string
	for _, words := range []string{"a client sends", "a server sends"} {
		for _, typ := range constants(t, "shared/frame/frame.go", words) {
			want = append(want, "| `"+typ+"`")
		}
	}
	for _, typ := range constants(t, "shared/im/notice.go", "The types of notice") {
		want = append(want, "| `"+typ+"` |")
	}
	for _, c := range frame.Closes {
		want = append(want, fmt.Sprintf("| %d | %s |", c.Code, c.Reason))
	}
	for _, row := range want {
		if !strings.Contains(page, row) {
			t.Errorf("docs/protocol.md has no row %q", row)
		}
	}
}
