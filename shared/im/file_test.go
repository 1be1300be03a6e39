package im

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestCheckFile(t *testing.T) {
	hash := strings.Repeat("0f", 32)
	for _, tt := range []struct {
		name, file, typ, hash string
		size                  int64
		kept                  string
		want                  error // nil is accepted
	}{
		{"a picture", "a.png", "image/png", hash, 5, "image/png", nil},
		{"no type", "a", "", hash, 5, AnyType, nil},
		{"a type in other letters and with parameters", "a", "Text/Plain; charset=utf-8", hash, 5, "text/plain", nil},
		{"a name of another script", "会議の写真 (2).jpg", "image/jpeg", hash, 5, "image/jpeg", nil},
		{"as large as may be", "a", "", hash, 10, AnyType, nil},
		{"larger", "a", "", hash, 11, "", TooLarge},
		{"nothing", "a", "", hash, 0, "", Invalid},
		{"a hash in other letters", "a", "", strings.ToUpper(hash), 5, "", Invalid},
		{"a short hash", "a", "", hash[2:], 5, "", Invalid},
		{"a path", "a/b", "", hash, 5, "", Invalid},
		{"a name that is a folder", "..", "", hash, 5, "", Invalid},
		{"a name of spaces", " ", "", hash, 5, "", Invalid},
		{"a name that is not UTF-8", "a\xff", "", hash, 5, "", Invalid},
		{"a name that reads backwards", "a\u202egnp.exe", "", hash, 5, "", Invalid},
		{"half a type", "a", "image", hash, 5, "", Invalid},
		{"any picture", "a", "image/*", hash, 5, "", Invalid},
		{"more than a type", "a", "a/b/c", hash, 5, "", Invalid},
		{"a header", "a", "a/b\r\nc: d", hash, 5, "", Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kept, err := CheckFile(tt.file, tt.size, 10, tt.typ, tt.hash)
			if kept != tt.kept || tt.want == nil && err != nil || !errors.Is(err, tt.want) {
				t.Errorf("got %q, %v", kept, err)
			}
		})
	}
}

func TestAMessageCarriesTheFileOfItsDataIfItIsOfAFile(t *testing.T) {
	id := NewID()
	data, err := json.Marshal(File{ID: id, Name: "a"}.Data())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		m    Message
		want string
	}{
		"a file":                 {Message{Kind: KindFile, Data: data}, id},
		"a notice with its data": {Message{Kind: KindNotice, Data: data}, ""},
		"recalled":               {Message{Kind: KindFile, Recalled: true}, ""},
		"of no id":               {Message{Kind: KindFile, Data: json.RawMessage(`{"file":"../a"}`)}, ""},
		"of other data":          {Message{Kind: KindFile, Data: json.RawMessage(`[1]`)}, ""},
	} {
		if got := tt.m.FileOf(); got != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestDraftsOfFiles(t *testing.T) {
	from, to, file := NewID(), "u:"+NewID(), NewID()
	for _, tt := range []struct {
		name  string
		draft Draft
		kind  string
		want  error // nil is accepted
	}{
		{"a text", Draft{Text: "a"}, KindText, nil},
		{"a file", Draft{Kind: KindFile, File: file}, KindFile, nil},
		{"a file that is not said to be one", Draft{File: file, Text: "a"}, KindFile, nil},
		{"no text", Draft{}, KindText, Invalid},
		{"a file that is a text", Draft{Kind: KindText, Text: "a", File: file}, KindText, Invalid},
		{"a file without one", Draft{Kind: KindFile, Text: "a"}, KindFile, Invalid},
		{"a file of no id", Draft{File: "a"}, KindFile, Invalid},
		{"a caption that is too long", Draft{File: file, Text: strings.Repeat("a", MaxText+1)}, KindFile, TooLarge},
		{"a caption that cannot be stored", Draft{File: file, Text: "\x00"}, KindFile, Invalid},
		{"a notice", Draft{Kind: KindNotice, Text: "a"}, KindNotice, Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.draft.ClientID, tt.draft.To = "1", to
			if err := tt.draft.Check(from); tt.want == nil && err != nil || !errors.Is(err, tt.want) {
				t.Errorf("got %v", err)
			}
			if got := tt.draft.KindOf(); got != tt.kind {
				t.Errorf("of kind %q", got)
			}
		})
	}
	c := Direct(from, to[2:])
	a, b := Draft{File: file, Text: "a"}, Draft{File: NewID(), Text: "a"}
	if a.Digest(c) == b.Digest(c) || a.Digest(c) == (Draft{Text: "a"}).Digest(c) || a.Digest(c) != (Draft{Kind: KindFile, File: file, Text: "a"}).Digest(c) {
		t.Error("drafts are not told apart by their files")
	}
}
