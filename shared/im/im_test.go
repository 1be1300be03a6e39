package im

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

const (
	ann = "aaaaaaaaaaaaaaaa"
	bob = "bbbbbbbbbbbbbbbb"
	cat = "cccccccccccccccc"
)

func TestIDs(t *testing.T) {
	a, b := NewID(), NewID()
	if !IsID(a) || a == b {
		t.Errorf("ids %q, %q", a, b)
	}
	for _, s := range []string{"", "a", strings.Repeat("A", 16), strings.Repeat("1", 16), a + "a", "aaaaaaaa:aaaaaaa"} {
		if IsID(s) {
			t.Errorf("%q is taken for an id", s)
		}
	}
}

func TestAMessageIDIsAUUIDv7OfItsTime(t *testing.T) {
	at := TimeOf(time.Date(2026, 11, 23, 4, 5, 6, 789_012_000, time.UTC))
	id := NewMessageID(at)
	if !IsMessageID(id) || id[14] != '7' || !strings.ContainsRune("89ab", rune(id[19])) {
		t.Fatalf("%s is no UUIDv7", id)
	}
	var ms int64
	for _, c := range strings.ReplaceAll(id[:13], "-", "") {
		ms = ms<<4 | int64(strings.IndexRune("0123456789abcdef", c))
	}
	if ms != int64(at)/1000 {
		t.Errorf("%s has time %d ms, want %d", id, ms, int64(at)/1000)
	}
	if later := NewMessageID(at + 1); later <= id[:18] || id[:18] >= later[:18] {
		t.Errorf("a microsecond later %s does not sort after %s", later, id)
	}
}

func TestTimesSortAsText(t *testing.T) {
	early := TimeOf(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	b, err := json.Marshal(early)
	if err != nil || string(b) != `"2026-01-02T03:04:05.000000Z"` {
		t.Errorf("%s, %v", b, err)
	}
	if early.String() >= (early + 1).String() {
		t.Error("a later time sorts earlier")
	}
	var back Time
	if err := json.Unmarshal([]byte(`"2026-01-02T05:04:05.0000019+02:00"`), &back); err != nil || back != early+1 {
		t.Errorf("%v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`"yesterday"`), &back); err == nil {
		t.Error("yesterday was read")
	}
}

func TestConversations(t *testing.T) {
	if Direct(ann, bob) != Direct(bob, ann) {
		t.Error("a direct conversation depends on who begins it")
	}
	c := Direct(bob, ann)
	if c.Peer(ann) != bob || c.Peer(bob) != ann || c.Peer(cat) != "" || c.Peer("") != "" || c.Group() != "" {
		t.Errorf("peers of %s", c)
	}
	if g := Group(cat); g.Group() != cat || g.Peer(ann) != "" || g.Check() != nil {
		t.Errorf("group %s", g)
	}
	for _, bad := range []Conversation{"", "d:", "g:", "g:x", "d:" + bob + ":" + ann, "d:" + ann + ":" + ann, "d:" + ann, "d:" + ann + ":" + bob + ":" + cat, "x:" + ann} {
		if err := bad.Check(); !errors.Is(err, Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestDrafts(t *testing.T) {
	good := Draft{ClientID: "1", To: "u:" + bob, Text: "hello"}
	for _, tt := range []struct {
		name   string
		change func(*Draft)
		want   error
	}{
		{"to a user", func(*Draft) {}, nil},
		{"to a group", func(d *Draft) { d.To = "g:" + cat }, nil},
		{"to a conversation one is in", func(d *Draft) { d.To = string(Direct(ann, bob)) }, nil},
		{"to a conversation one is not in", func(d *Draft) { d.To = string(Direct(cat, bob)) }, Denied},
		{"to oneself", func(d *Draft) { d.To = "u:" + ann }, Invalid},
		{"to nobody", func(d *Draft) { d.To = "" }, Invalid},
		{"to no user", func(d *Draft) { d.To = "u:bob" }, Invalid},
		{"without an id", func(d *Draft) { d.ClientID = "" }, Invalid},
		{"with a long id", func(d *Draft) { d.ClientID = strings.Repeat("x", 65) }, Invalid},
		{"with an id of spaces", func(d *Draft) { d.ClientID = "a b" }, Invalid},
		{"without text", func(d *Draft) { d.Text = "" }, Invalid},
		{"with the most text", func(d *Draft) { d.Text = strings.Repeat("x", MaxText) }, nil},
		{"with too much text", func(d *Draft) { d.Text = strings.Repeat("x", MaxText+1) }, TooLarge},
		{"with broken text", func(d *Draft) { d.Text = "\xff" }, Invalid},
		{"with a NUL", func(d *Draft) { d.Text = "a\x00b" }, Invalid},
		{"of a kind of its own", func(d *Draft) { d.Kind = KindNotice }, Invalid},
		{"in reply to nonsense", func(d *Draft) { d.ReplyTo = "x" }, Invalid},
		{"in reply to a message", func(d *Draft) { d.ReplyTo = NewMessageID(Now()) }, nil},
	} {
		d := good
		tt.change(&d)
		if err := d.Check(ann); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestADigestTellsContentApart(t *testing.T) {
	c := Direct(ann, bob)
	d := Draft{ClientID: "1", To: "u:" + bob, Text: "hello"}
	same := d
	same.To, same.Kind = string(c), KindText
	if d.Digest(c) != same.Digest(c) {
		t.Error("the same content has two digests")
	}
	other := d
	other.Text = "hello!"
	if d.Digest(c) == other.Digest(c) || d.Digest(c) == d.Digest(Direct(ann, cat)) {
		t.Error("different content has one digest")
	}
}

func TestErrorsKeepTheirKindAndHideTheirCause(t *testing.T) {
	cause := errors.New("dial tcp 10.0.0.1: refused")
	err := Wrap(Unavailable, cause, "history is resting")
	if !errors.Is(err, Unavailable) || !errors.Is(err, cause) || errors.Is(err, Invalid) || KindOf(err) != Unavailable {
		t.Errorf("%v", err)
	}
	if p := ProblemOf(err); p.Detail != "history is resting" || p.Kind != Unavailable || p.Title == "" {
		t.Errorf("%+v", p)
	}
	if p := ProblemOf(cause); p.Kind != Internal || strings.Contains(p.Detail, "10.0.0.1") {
		t.Errorf("%+v", p)
	}
	if Wrap(Internal, nil, "x") != nil {
		t.Error("nil became an error")
	}
}

func TestNames(t *testing.T) {
	for in, ok := range map[string]bool{"ann": true, "a.b-c_9": true, "an": false, "9ann": false, "Ann": false, "ann bob": false, "änn": false, "": false} {
		if (CheckAccount(in) == nil) != ok {
			t.Errorf("account %q: ok is %t", in, !ok)
		}
	}
	for in, ok := range map[string]bool{"Ann 安": true, "": false, " Ann": false, "a\nb": false, "\u202eevil": false, "\u200b": false, "👩\u200d🚀": true, "\xff": false, strings.Repeat("x", 65): false} {
		if (CheckName(in) == nil) != ok {
			t.Errorf("name %q: ok is %t", in, !ok)
		}
	}
	for in, ok := range map[string]bool{"correct horse": true, "short": false, strings.Repeat("x", 257): false} {
		if (CheckPassword(in) == nil) != ok {
			t.Errorf("password of %d: ok is %t", len(in), !ok)
		}
	}
	for in, ok := range map[string]bool{"web": true, "fridge": false, "": false} {
		if (CheckPlatform(in) == nil) != ok {
			t.Errorf("platform %q: ok is %t", in, !ok)
		}
	}
}

func TestAMessageIDSaysItsTime(t *testing.T) {
	for us := range Time(2000) {
		at := TimeOf(time.Date(2026, 11, 23, 4, 5, 6, 0, time.UTC)) + us
		if got, ok := TimeOfMessageID(NewMessageID(at)); !ok || got != at {
			t.Fatalf("%s says %s, %t", at, got, ok)
		}
	}
	for _, bad := range []string{"", "x", "019b7d5f-1c2e-4e66-8000-000000000001", "019b7d5f-1c2e-7fff-8000-000000000001"} {
		if at, ok := TimeOfMessageID(bad); ok {
			t.Errorf("%q says %s", bad, at)
		}
	}
}

func TestANoticeIsAMessage(t *testing.T) {
	for _, tt := range []struct {
		data any
		want string
	}{
		{nil, `{"type":"group.left"}`},
		{map[string]int{"version": 3}, `{"type":"group.left","version":3}`},
	} {
		n, err := NewNotice(GroupLeft, Group(cat), ann, tt.data)
		if err != nil {
			t.Fatal(err)
		}
		m := n.Message("n1", Place{1, "x"})
		if string(m.Data) != tt.want || m.Kind != KindNotice || m.From != ann || m.ClientID != "n1" {
			t.Errorf("%s, want %s", m.Data, tt.want)
		}
	}
}

func TestOnlyWhatOthersSayIsUnread(t *testing.T) {
	for _, tt := range []struct {
		name            string
		kind, from      string
		recalled, quiet bool
		want            Class
	}{
		{"what another says", KindText, bob, false, false, ClassUnread},
		{"what one says oneself", KindText, ann, false, false, ClassShown},
		{"what was recalled", KindText, bob, true, false, ClassShown},
		{"a notice", KindNotice, bob, false, false, ClassShown},
		{"a quiet notice", KindNotice, bob, false, true, ClassQuiet},
		{"what one deleted", KindDeleted, bob, false, false, ClassQuiet},
	} {
		if got := ClassOf(tt.kind, tt.from, ann, tt.recalled, tt.quiet); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
