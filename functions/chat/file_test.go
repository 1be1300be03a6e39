package chat

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	photo  = "pppppppppppppppp" // ann's
	report = "rrrrrrrrrrrrrrrr" // ann has it of somebody
	secret = "xxxxxxxxxxxxxxxx" // nobody here has it
)

// shelf is where files are.
type shelf struct {
	files            map[string]im.File
	lookErr, noteErr error
	gone             map[string]bool // since they were looked at
	asked            int
	granted          []im.FileGrant
}

func newShelf() *shelf {
	return &shelf{
		files: map[string]im.File{
			photo: {
				ID: photo, Name: "a.png", Size: 3, Type: "image/png", SHA256: "00ff", State: im.FileComplete,
				Picture: im.Picture{Width: 4, Height: 2, Preview: "LEHV6n"}, Created: noon,
			},
			report: {ID: report, Name: "b.pdf", Size: 5, Type: "application/pdf", SHA256: "11", State: im.FileComplete},
		},
		gone: map[string]bool{},
	}
}

func (s *shelf) FilesFor(_ context.Context, ids []string, user string) (map[string]im.File, error) {
	s.asked++
	found := map[string]im.File{}
	for _, id := range ids {
		if f, ok := s.files[id]; ok && user == ann {
			found[id] = f
		}
	}
	return found, s.lookErr
}

func (s *shelf) GrantFiles(_ context.Context, grants []im.FileGrant) error {
	if s.noteErr != nil {
		return s.noteErr
	}
	for _, g := range grants {
		if s.gone[g.File] {
			return im.Errorf(im.NotFound, "gone")
		}
	}
	for _, g := range grants {
		if !slices.Contains(s.granted, g) {
			s.granted = append(s.granted, g)
		}
	}
	return nil
}

func attach(from, id, file, caption string) event.Submitted {
	s := text(from, "u:"+bob, id, caption)
	s.Kind, s.File = im.KindFile, file
	return s
}

func writtenOf(t *testing.T, f *fixture, i int) im.Message {
	t.Helper()
	var a event.Accepted
	if err := json.Unmarshal(f.book.written[i].Data, &a); err != nil {
		t.Fatal(err)
	}
	return a.Message
}

func TestAFileIsSentAsItWasFoundAndNotAsTheClientSays(t *testing.T) {
	f := newFixture(t)
	f.book.before = func() {
		if len(f.shelf.granted) != 1 {
			t.Error("the message is written before its file is granted")
		}
	}
	for range 2 { // a retry is the same message and grants no more
		reply := f.send(t, attach(ann, "1", photo, "look"))[0]
		if reply.Err != nil {
			t.Fatal(reply.Err)
		}
		want := im.FileGrant{File: photo, Conversation: im.Direct(ann, bob), Message: reply.Value.ID}
		if !slices.Equal(f.shelf.granted, []im.FileGrant{want}) {
			t.Errorf("granted %v", f.shelf.granted)
		}
	}
	m := writtenOf(t, f, 0)
	const data = `{"file":"pppppppppppppppp","name":"a.png","size":3,"type":"image/png","sha256":"00ff","width":4,"height":2,"preview":"LEHV6n"}`
	if m.Kind != im.KindFile || m.Text != "look" || string(m.Data) != data {
		t.Errorf("written is %s %q %s", m.Kind, m.Text, m.Data)
	}
	if m.FileOf() != photo {
		t.Errorf("it carries %q", m.FileOf())
	}
	if !slices.Equal(f.book.written[0].Data, f.book.written[1].Data) {
		t.Error("the retry is another message")
	}
}

func TestWhoMaySendWhichFile(t *testing.T) {
	for _, tt := range []struct {
		name string
		send event.Submitted
		want error // nil is accepted
	}{
		{"one's own", attach(ann, "1", photo, ""), nil},
		{"that of another which one has", attach(ann, "1", report, ""), nil},
		{"one that there is not", attach(ann, "1", secret, ""), im.NotFound},
		{"that of another which one does not have", attach(bob, "1", photo, ""), im.NotFound},
		{"none", attach(ann, "1", "", "text"), im.Invalid},
		{"what is no id", attach(ann, "1", "../../etc/passwd", ""), im.Invalid},
		{"without saying that it is one", func() event.Submitted { s := attach(ann, "1", photo, ""); s.Kind = ""; return s }(), nil},
		{"with a text that is one", func() event.Submitted { s := attach(ann, "1", photo, "hm"); s.Kind = im.KindText; return s }(), im.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			if tt.send.From == bob {
				tt.send.To = "u:" + ann
			}
			err := f.send(t, tt.send)[0].Err
			if tt.want == nil && err != nil || !errors.Is(err, tt.want) {
				t.Errorf("got %v", err)
			}
			if granted := len(f.shelf.granted) > 0; granted != (err == nil) {
				t.Errorf("granted %v", f.shelf.granted)
			}
			if written := len(f.book.written) > 0; written != (err == nil) {
				t.Error("what is refused is written, or what is not is not")
			}
		})
	}
}

func TestTextsDoNotAskForFiles(t *testing.T) {
	f := newFixture(t)
	f.shelf.lookErr, f.shelf.noteErr = down, down
	if err := f.send(t, text(ann, "u:"+bob, "1", "hello"))[0].Err; err != nil || f.shelf.asked > 0 {
		t.Errorf("asked %d times: %v", f.shelf.asked, err)
	}
}

func TestAFileThatCannotBeToldOfIsNotSentAndTextsBesideItAre(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wrong func(*shelf)
		want  error
	}{
		{"the database is down", func(s *shelf) { s.lookErr = down }, im.Unavailable},
		{"it is down when the file is to be granted", func(s *shelf) { s.noteErr = down }, im.Unavailable},
		{"the file is removed meanwhile", func(s *shelf) { s.gone[photo] = true }, im.NotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			tt.wrong(f.shelf)
			replies := f.send(t, text(ann, "u:"+bob, "1", "a"), attach(ann, "2", photo, "b"), text(ann, "u:"+bob, "3", "c"))
			if replies[0].Err != nil || replies[2].Err != nil || !errors.Is(replies[1].Err, tt.want) {
				t.Errorf("got %v", replies)
			}
			if len(f.book.written) != 2 {
				t.Errorf("%d messages are written", len(f.book.written))
			}
		})
	}
}

func TestAFileThatIsGoneKeepsNoOtherFromBeingSent(t *testing.T) {
	f := newFixture(t)
	f.shelf.gone[photo] = true
	replies := f.send(t, attach(ann, "1", photo, ""), attach(ann, "2", report, ""))
	if !errors.Is(replies[0].Err, im.NotFound) || replies[1].Err != nil {
		t.Errorf("got %v", replies)
	}
}

func TestP5AnotherFileUnderTheSameIDIsRefused(t *testing.T) {
	f := newFixture(t)
	if err := f.send(t, attach(ann, "1", photo, "x"))[0].Err; err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]event.Submitted{
		"another file": attach(ann, "1", report, "x"), "another caption": attach(ann, "1", photo, "y"), "a text": text(ann, "u:"+bob, "1", "x"),
	} {
		if err := f.send(t, s)[0].Err; !errors.Is(err, im.Conflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(f.shelf.granted) != 1 {
		t.Errorf("granted %v", f.shelf.granted)
	}
}
