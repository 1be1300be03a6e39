package frame

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	ann = "aaaaaaaaaaaaaaaa"
	bob = "bbbbbbbbbbbbbbbb"
)

var at = im.TimeOf(time.Date(2026, 1, 2, 3, 4, 5, 678_901_000, time.UTC))

// Each golden file is one frame as it goes over the wire. They are the
// contract with clients that exist: to change one is to break them.
func TestFramesOfTheServerAreAsTheyAlwaysWere(t *testing.T) {
	msg, err := json.Marshal(im.Message{
		ID: "019b7d5f-1c2e-7e66-8000-000000000001", Conversation: im.Direct(ann, bob), Time: at,
		From: ann, ClientID: "c1", Kind: im.KindText, Text: "hello <b> 安",
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{
		"welcome":  FromServer{Type: Welcome, User: ann, Device: "d1", Conn: bob, Head: 7, IdleSecs: 60, Time: at, Expires: at}.Encode(),
		"accepted": AppendAccepted(nil, `c"1`, "019b7d5f-1c2e-7e66-8000-000000000001", im.Direct(ann, bob), at),
		"refused":  NewRefused("c1", im.ProblemOf(im.Errorf(im.Overloaded, "too fast")), 1500*time.Millisecond).Encode(),
		"message":  AppendMessage(nil, 8, msg),
		"presence": AppendPresence(nil, im.Presence{User: bob, LastSeen: at}),
		"behind":   FromServer{Type: Behind, Head: 9}.Encode(),
		"typing":   FromServer{Type: Typing, Conversation: im.Direct(ann, bob), From: ann}.Encode(),
		"signal":   FromServer{Type: Signal, Conversation: im.Direct(ann, bob), From: ann, Device: "d1", Data: json.RawMessage(`{"sdp":"x"}`)}.Encode(),
		"token":    FromServer{Type: Token, Expires: at}.Encode(),
		"pong":     FromServer{Type: Pong}.Encode(),
		"error":    FromServer{Type: Error, Kind: im.Invalid, Detail: "no"}.Encode(),
		"bye":      FromServer{Type: Bye, Code: CloseDraining.Code, Reason: CloseDraining.Reason, Reconnect: CloseDraining.Reconnect(), RetryAfterMS: 3000}.Encode(),
	} {
		file := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSuffix(string(want), "\n") != string(got) {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
		var back FromServer
		if err := json.Unmarshal(got, &back); err != nil || back.Type != name {
			t.Errorf("%s comes back as %+v, %v", name, back, err)
		}
	}
}

func TestFramesOfClients(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     FromClient
		err      error
	}{
		{"send", `{"type":"send","id":"1","to":"u:x","text":"hi"}`, FromClient{Type: Send, Draft: im.Draft{ClientID: "1", To: "u:x", Text: "hi"}}, nil},
		{"a field of a later version", `{"type":"ping","mood":"good"}`, FromClient{Type: Ping}, nil},
		{"typing", `{"type":"typing","to":"u:x"}`, FromClient{Type: Typing, Draft: im.Draft{To: "u:x"}}, nil},
		{"typing to nobody", `{"type":"typing"}`, FromClient{Type: Typing}, im.Invalid},
		{"a signal without data", `{"type":"signal","to":"u:x"}`, FromClient{Type: Signal, Draft: im.Draft{To: "u:x"}}, im.Invalid},
		{"a signal with a name twice", `{"type":"signal","to":"u:x","data":{"a":1,"a":2}}`, FromClient{Type: Signal, Draft: im.Draft{To: "u:x"}, Data: json.RawMessage(`{"a":1,"a":2}`)}, im.Invalid},
		{"a signal with half a surrogate", `{"type":"signal","to":"u:x","data":"\ud800"}`, FromClient{Type: Signal, Draft: im.Draft{To: "u:x"}, Data: json.RawMessage(`"\ud800"`)}, im.Invalid},
		{"a token that is none", `{"type":"token"}`, FromClient{Type: Token}, im.Invalid},
		{"an unknown type", `{"type":"shout","id":"7"}`, FromClient{Type: "shout", Draft: im.Draft{ClientID: "7"}}, im.Invalid},
		{"no type", `{}`, FromClient{}, im.Invalid},
		{"a list", `[]`, FromClient{}, im.Invalid},
		{"no JSON", `hello`, FromClient{}, im.Invalid},
		{"a wrong field, and its id is known", `{"type":"send","id":"7","text":5}`, FromClient{Type: Send, Draft: im.Draft{ClientID: "7"}}, im.Invalid},
		{"a name twice", `{"type":"ping","type":"ping"}`, FromClient{Type: Ping}, im.Invalid},
		{"a name twice, of no field", `{"type":"ping","x":1,"x":2}`, FromClient{Type: Ping}, im.Invalid},
		{"a name twice within a field", `{"type":"ping","x":{"a":1,"a":2}}`, FromClient{Type: Ping}, im.Invalid},
		{"a name twice, and its id is known", `{"type":"send","id":"7","to":"u:x","text":"a","text":"b"}`, FromClient{Type: Send, Draft: im.Draft{ClientID: "7", To: "u:x", Text: "b"}}, im.Invalid},
		{"a name twice, once escaped", `{"type":"ping","t\u0079pe":"send"}`, FromClient{Type: Send}, im.Invalid},
		{"a name in other letters", `{"Type":"ping"}`, FromClient{}, im.Invalid},
		{"a name in other letters, too", `{"type":"ping","TYPE":"send"}`, FromClient{Type: Ping}, im.Invalid},
		{"a name in other letters beside something else that is wrong", `{"Type":"ping","x":"\ud800"}`, FromClient{Type: Ping}, im.Invalid},
		{"the text in other letters", `{"type":"send","id":"7","to":"u:x","Text":"a"}`, FromClient{Type: Send, Draft: im.Draft{ClientID: "7", To: "u:x"}}, im.Invalid},
		{"a name with another letter that folds to it", `{"type":"send","id":"7","to":"u:x","text":"a","to\u212aen":"b"}`, FromClient{Type: Send, Draft: im.Draft{ClientID: "7", To: "u:x", Text: "a"}}, im.Invalid},
		{"a text with half a surrogate", `{"type":"send","id":"7","to":"u:x","text":"\ud800"}`, FromClient{Type: Send, Draft: im.Draft{ClientID: "7", To: "u:x", Text: "\ufffd"}}, im.Invalid},
		{"something behind it", `{"type":"ping"}{"type":"ping"}`, FromClient{}, im.Invalid},
		{"broken UTF-8", "{\"type\":\"ping\",\"x\":\"\xff\"}", FromClient{}, im.Invalid},
		{"an empty frame", ``, FromClient{}, im.Invalid},
	} {
		got, err := Parse([]byte(tt.in))
		if !errors.Is(err, tt.err) || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
		if err != nil && strings.Contains(im.ProblemOf(err).Detail, "Go ") {
			t.Errorf("%s: the detail speaks of Go: %v", tt.name, err)
		}
	}
	big := `{"type":"signal","to":"u:x","data":"` + strings.Repeat("x", MaxSignal) + `"}`
	if _, err := Parse([]byte(big)); !errors.Is(err, im.TooLarge) {
		t.Errorf("a large signal: %v", err)
	}
}

func TestTheCodeOfACloseSaysWhatToDo(t *testing.T) {
	seen := map[int]bool{}
	for _, c := range Closes {
		if seen[c.Code] {
			t.Errorf("code %d stands twice", c.Code)
		}
		seen[c.Code] = true
		if got, ok := CloseFor(c.Reason); !ok || got != c {
			t.Errorf("%s is found as %v", c.Reason, got)
		}
		want := map[int]string{40: ReconnectYes, 41: ReconnectRefresh, 42: ReconnectNo}[c.Code/100]
		if c.Reconnect() != want {
			t.Errorf("%d %s: reconnect %s, want %s", c.Code, c.Reason, c.Reconnect(), want)
		}
	}
	if _, ok := CloseFor("boredom"); ok {
		t.Error("boredom is a reason")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"type":"send","id":"1","to":"u:aaaaaaaaaaaaaaaa","text":"hi"}`, `{"type":"signal","to":"g:x","data":{"a":[1,2]}}`, `{`, `null`, "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Parse(b)
		if err != nil {
			if k := im.KindOf(err); k != im.Invalid && k != im.TooLarge {
				t.Errorf("error of kind %s: %v", k, err)
			}
			return
		}
		if err := got.Draft.Check(ann); err == nil {
			if _, err := got.Draft.Conversation(ann); err != nil {
				t.Errorf("a good draft goes nowhere: %v", err)
			}
		}
		if got.Type == Signal && !json.Valid(got.Data) {
			t.Error("a signal with data that is no JSON")
		}
	})
}
