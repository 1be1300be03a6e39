package chat

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/shared/im"
)

func TestWhatOthersWriteDoesNotCommandTheTerminal(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"words stay", "schön, 你好 🙂", "schön, 你好 🙂"},
		{"lines become one", "a\nb\tc", "a b c"},
		{"escapes are taken away", "\x1b[31mred\x1b]0;title\x07", "�[31mred�]0;title�"},
		{"so are those of eight bits", "\u009b31m", "�31m"},
		{"and what turns the direction", "a\u202eb", "a�b"},
		{"a carriage return does not overwrite the name", "x\r12:00:00 bob: y", "x�12:00:00 bob: y"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := clean(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestTheStoreKeepsWhatTheClientGaveIt(t *testing.T) {
	ctx, folder := t.Context(), t.TempDir()
	s, err := openStore(folder, "ann")
	if err != nil {
		t.Fatal(err)
	}
	device := s.device()
	if s.signedIn() || im.CheckDevice(device) != nil {
		t.Errorf("a new store is signed in: %t, on the device %q", s.signedIn(), device)
	}
	first := client.Unsettled{Draft: im.Draft{ClientID: "1", To: "u:b", Text: "x"}, After: 7}
	second := client.Unsettled{Draft: im.Draft{ClientID: "2", To: "u:b", Text: "y"}, After: 7}
	for _, err := range []error{
		s.SaveSession(ctx, "user", "refresh"), s.SaveCursor(ctx, 8),
		s.AddUnsettled(ctx, first), s.AddUnsettled(ctx, second), s.RemoveUnsettled(ctx, "1"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := client.State{User: "user", RefreshToken: "refresh", Cursor: 8, Unsettled: []client.Unsettled{second}}

	if _, err := openStore(folder, "ann"); err == nil {
		t.Error("it can be opened twice")
	}
	s.close()
	if s, err = openStore(folder, "ann"); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	got, err := s.Load(ctx)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if s.device() != device || !s.signedIn() {
		t.Errorf("it is on the device %q instead of %q, signed in: %t", s.device(), device, s.signedIn())
	}
	if info, err := os.Stat(filepath.Join(folder, "ann.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the refresh token: %v, %v", info.Mode(), err)
	}
}

func TestABrokenStoreSaysWhichFileItIs(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "ann.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(folder, "ann"); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

func TestPeopleAreKnownByTheirAccount(t *testing.T) {
	p := people{filepath.Join(t.TempDir(), "people")}
	ann := im.User{ID: im.NewID(), Account: "ann"}
	if err := p.remember(ann); err != nil {
		t.Fatal(err)
	}
	if err := p.remember(im.User{ID: "../elsewhere", Account: "eve"}); err == nil {
		t.Error("a server can have files written anywhere")
	}
	stranger := im.NewID()
	for user, want := range map[string]string{ann.ID: "ann", stranger: "u:" + stranger, "../ann": "../ann"} {
		if got := p.account(user); got != want {
			t.Errorf("%s is called %q, want %q", user, got, want)
		}
	}
}

func TestWhatIsSaidOfAMessage(t *testing.T) {
	p := people{filepath.Join(t.TempDir(), "people")}
	ann, bob := im.User{ID: im.NewID(), Account: "ann"}, im.User{ID: im.NewID(), Account: "bob"}
	for _, u := range []im.User{ann, bob} {
		if err := p.remember(u); err != nil {
			t.Fatal(err)
		}
	}
	s := &session{people: p}
	notice := func(typ, data string) im.Message {
		n, err := im.NewNotice(typ, im.Direct(ann.ID, bob.ID), ann.ID, json.RawMessage(data))
		if err != nil {
			t.Fatal(err)
		}
		return n.Message("n", im.Place{})
	}
	direct := im.Direct(ann.ID, bob.ID)
	for _, test := range []struct {
		m    im.Message
		want string // after the time
	}{
		{im.Message{Conversation: direct, From: ann.ID, Kind: im.KindText, Text: "hello"}, "ann: hello"},
		{im.Message{Conversation: im.Group(ann.ID), From: ann.ID, Kind: im.KindText, Text: "hello"}, "g:" + ann.ID + " ann: hello"},
		{im.Message{Conversation: direct, From: ann.ID, Kind: im.KindText, Recalled: true}, "* ann took this back"},
		{im.Message{Conversation: direct, From: ann.ID, Kind: im.KindDeleted}, ""},
		{im.Message{Conversation: direct, From: ann.ID, Kind: im.KindNotice}, ""},
		{notice("moon.rose", `{}`), ""},
		{notice(im.MessageRead, `{"message":"m","user":"`+bob.ID+`"}`), ""},
		{notice(im.FriendRequested, `{"user":"`+bob.ID+`","message":"hi\u001b[31m"}`), "* ann asks to be friends: hi�[31m"},
		{notice(im.GroupCreated, `{"name":"Lunch","version":1}`), "* ann made the group Lunch"},
		{notice(im.GroupJoined, `{"users":["`+bob.ID+`"],"version":2}`), "* bob joined"},
		{notice(im.GroupMuted, `{"all":false,"version":3}`), "* ann lets everybody speak again"},
		{notice(im.GroupMuted, `{"user":"`+bob.ID+`","version":3}`), "* ann lets bob speak again"},
		{notice(im.MessageReacted, `{"message":"m","emoji":"👍","on":false}`), ""},
	} {
		got := s.line(test.m)
		if got != "" {
			got = got[len("15:04:05 "):]
		}
		if got != test.want {
			t.Errorf("%s %s: got %q, want %q", test.m.Kind, test.m.Data, got, test.want)
		}
	}
}

func TestAPipeReadsLinesOfTheLongestMessage(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", im.MaxText)
	go func() {
		fmt.Fprintf(w, "short\n%s\nlast", long)
		w.Close()
	}()
	s, person := openScreen(r, w)
	if person {
		t.Error("a pipe is taken for a person")
	}
	for _, want := range []string{"short", long, "last"} {
		if got, err := s.read(); got != want || err != nil {
			t.Fatalf("read %d bytes, %v; want %d", len(got), err, len(want))
		}
	}
	if _, err := s.read(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}
