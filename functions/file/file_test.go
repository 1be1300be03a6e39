package file

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// drawn returns a picture of a size, as a PNG or a JPEG.
func drawn(t *testing.T, w, h int, typ string) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.Set(x, y, color.RGBA{uint8(255 * x / w), uint8(255 * y / h), 90, 255})
		}
	}
	var b bytes.Buffer
	var err error
	if typ == "image/png" {
		err = png.Encode(&b, img)
	} else {
		err = jpeg.Encode(&b, img, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAFileIsSentAndGot(t *testing.T) {
	s := newSystem(t, nil, ann)
	b := drawn(t, 40, 20, "image/png")
	in := newFile("día.png", "image/png", b)
	out := s.create(ann, in)
	if f := out.File; f.State != im.FilePending || f.Name != in.Name || f.Size != in.Size || f.Type != in.Type || f.SHA256 != in.SHA256 || f.Width != 0 || out.Upload == nil || out.Parts != nil {
		t.Fatalf("created %+v", out)
	}
	if _, err := s.complete(ann, out.File.ID); !errors.Is(err, im.Conflict) {
		t.Errorf("completing what was not sent: %v", err)
	}
	again, err := s.get(ann, out.File.ID)
	if err != nil || again.File.State != im.FilePending || again.URL != "" || again.Upload == nil {
		t.Fatalf("a pending file is %+v, %v", again, err)
	}
	if status, _, answer := s.follow(*again.Upload, b); status != http.StatusOK {
		t.Fatalf("sending it: %d %s", status, answer)
	}
	var first im.File
	for range 2 { // again is the same answer
		f, err := s.complete(ann, out.File.ID)
		if err != nil {
			t.Fatal(err)
		}
		if f.State != im.FileComplete || f.Width != 40 || f.Height != 20 || len(f.Preview) < 20 || len(f.Preview) > 40 {
			t.Errorf("complete it is %+v", f)
		}
		if first.ID != "" && f != first {
			t.Errorf("completed again it is %+v", f)
		}
		first = f
	}
	have, err := s.get(ann, first.ID)
	if err != nil || have.File != first || have.Expires < im.Now() {
		t.Fatalf("it is %+v, %v", have, err)
	}
	if status, _, got := s.follow(im.Link{Method: "GET", URL: have.URL}, nil); status != http.StatusOK || !bytes.Equal(got, b) {
		t.Errorf("its link gets %d, %d bytes", status, len(got))
	}
	// Its link to send by still works, and what it sends is of no use.
	if status, _, _ := s.follow(*out.Upload, b); status != http.StatusOK {
		t.Errorf("the link to send by: %d", status)
	}
	if status, _, got := s.follow(im.Link{Method: "GET", URL: have.URL}, nil); status != http.StatusOK || !bytes.Equal(got, b) {
		t.Errorf("its link gets %d, %d bytes", status, len(got))
	}
}

func TestP5CreatedAgainUnderItsKeyItIsTheSameFile(t *testing.T) {
	s := newSystem(t, nil, ann, bob)
	in := newFile("a.txt", "text/plain", []byte("hello"))
	first := s.create(ann, in, fn.IdempotencyKey, "k")
	// As if the gate had forgotten it.
	c := &creator{files: s.db, store: s.store, limit: anything{}, max: 1 << 20, part: minPart, quota: 1 << 20, life: maxLinkLife, linkLife: maxLinkLife, now: im.Now, metrics: newMetrics()}
	stored, err := s.db.CreateFile(t.Context(), im.StoredFile{
		File:  im.File{ID: im.FileID(ann, "k"), Name: in.Name, Size: in.Size, Type: in.Type, SHA256: in.SHA256, Created: im.Now()},
		Owner: ann, Expires: im.Now(),
	}, c.quota, 10)
	if err != nil || stored.ID != first.File.ID || stored.Created != first.File.Created {
		t.Errorf("again it is %+v, %v", stored, err)
	}
	if other := s.create(bob, in, fn.IdempotencyKey, "k"); other.File.ID == first.File.ID {
		t.Error("the key of another user is the same file")
	}
	if other := s.create(ann, in); other.File.ID == first.File.ID {
		t.Error("without a key it is the same file")
	}
}

type anything struct{}

func (anything) Allow(context.Context, string) error { return nil }

func TestWhatArrivesIsWhatWasSaidOrIsRefused(t *testing.T) {
	s := newSystem(t, nil, ann)
	text, picture := []byte("just a text, and no more than that"), drawn(t, 8, 8, "image/png")
	html := []byte("<!DOCTYPE html><html><script>alert(1)</script></html>")
	bomb := hugePNG()
	for _, tt := range []struct {
		name string
		typ  string
		body []byte
		want error // nil is accepted
		kept string
	}{
		{"a text", "text/plain", text, nil, "text/plain"},
		{"a text of which nothing was said", "", text, nil, "text/plain"},
		{"a picture of which nothing was said", "application/octet-stream", picture, nil, "image/png"},
		{"a table, which looks like a text", "text/csv", text, nil, "text/csv"},
		{"markdown, which is not known", "text/markdown", text, nil, "text/markdown"},
		{"what nobody knows", "application/x-tidings", []byte{0, 1, 2, 3}, nil, "application/x-tidings"},
		{"parameters are left out", "text/plain; charset=utf-8", text, nil, "text/plain"},
		{"a text that is said to be a picture", "image/png", text, im.Invalid, ""},
		{"a picture that is said to be another", "image/jpeg", picture, im.Invalid, ""},
		{"a picture that is said to be a text", "text/plain", picture, im.Invalid, ""},
		{"a page that is said to be a picture", "image/gif", html, im.Invalid, ""},
		{"a page that is said to be what nobody knows", "image/x-tidings", html, im.Invalid, ""},
		{"a picture that is cut off in its head", "image/png", picture[:20], im.Invalid, ""},
		{"a picture that is made to exhaust", "image/png", bomb, im.TooLarge, ""},
		{"noise that is said to be a film", "video/mp4", []byte{0, 1, 2, 3}, im.Invalid, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := s.send(ann, "a", tt.typ, tt.body).ID
			f, err := s.complete(ann, id)
			if !errors.Is(err, tt.want) || tt.want == nil && (err != nil || f.Type != tt.kept) {
				t.Fatalf("it is %+v, %v", f, err)
			}
			if tt.want == nil {
				return
			}
			if _, err := s.complete(ann, id); !errors.Is(err, im.NotFound) {
				t.Errorf("after it was refused: %v", err)
			}
			if _, err := s.get(ann, id); !errors.Is(err, im.NotFound) {
				t.Errorf("after it was refused: %v", err)
			}
			if keys := append(s.keys(uploads), s.keys(kept)...); slices.ContainsFunc(keys, func(k string) bool { return strings.HasSuffix(k, id) }) {
				t.Errorf("it is still there: %v", keys)
			}
		})
	}
}

// hugePNG returns the head of a PNG that says of itself that it has 100,000 by
// 100,000 pixels.
func hugePNG() []byte {
	head := binary.BigEndian.AppendUint32([]byte("IHDR"), 100_000)
	head = binary.BigEndian.AppendUint32(head, 100_000)
	head = append(head, 8, 2, 0, 0, 0)
	b := binary.BigEndian.AppendUint32([]byte("\x89PNG\r\n\x1a\n"), 13)
	return binary.BigEndian.AppendUint32(append(b, head...), crc32.ChecksumIEEE(head))
}

func TestWhatCannotBeAFileIsRefused(t *testing.T) {
	s := newSystem(t, map[string]string{"FILE_MAX_BYTES": "1000", "FILE_QUOTA_BYTES": "1500"}, ann, bob)
	good := newFile("a.txt", "text/plain", make([]byte, 1000))
	for _, tt := range []struct {
		name   string
		change func(*createRequest)
		want   error
	}{
		{"no name", func(r *createRequest) { r.Name = "" }, im.Invalid},
		{"a path", func(r *createRequest) { r.Name = "../a" }, im.Invalid},
		{"a path of Windows", func(r *createRequest) { r.Name = `c:\a` }, im.Invalid},
		{"dots", func(r *createRequest) { r.Name = ".." }, im.Invalid},
		{"control characters", func(r *createRequest) { r.Name = "a\nb" }, im.Invalid},
		{"a name that reads backwards", func(r *createRequest) { r.Name = "a\u202egpj.exe" }, im.Invalid},
		{"a long name", func(r *createRequest) { r.Name = strings.Repeat("a", 256) }, im.Invalid},
		{"no bytes", func(r *createRequest) { r.Size = 0 }, im.Invalid},
		{"less than none", func(r *createRequest) { r.Size = -1 }, im.Invalid},
		{"too many", func(r *createRequest) { r.Size = 1001 }, im.TooLarge},
		{"no hash", func(r *createRequest) { r.SHA256 = "" }, im.Invalid},
		{"half a hash", func(r *createRequest) { r.SHA256 = r.SHA256[:32] }, im.Invalid},
		{"another hash", func(r *createRequest) { r.SHA256 = strings.Repeat("z", 64) }, im.Invalid},
		{"a type that is none", func(r *createRequest) { r.Type = "picture" }, im.Invalid},
		{"a type that holds another header", func(r *createRequest) { r.Type = "text/plain\r\nX: y" }, im.Invalid},
		{"any type", func(r *createRequest) { r.Type = "image/*" }, im.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := good
			tt.change(&in)
			if _, err := call[sending](s, ann, Create, in); !errors.Is(err, tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	s.create(ann, good)
	if _, err := call[sending](s, ann, Create, good); !errors.Is(err, im.TooLarge) {
		t.Errorf("beyond the quota: %v", err)
	}
	s.create(bob, good)
	good.Size = 500
	s.create(ann, good)
}

func TestP6WhoMayHaveAFile(t *testing.T) {
	s := newSystem(t, nil, ann, bob, cleo)
	f := s.file(ann, "a.txt", "text/plain", []byte("hello"))
	pending := s.send(ann, "b.txt", "text/plain", []byte("pending"))
	may := func(user, id string) bool {
		t.Helper()
		out, err := s.get(user, id)
		if err != nil {
			if !errors.Is(err, im.NotFound) || err.Error() != errGone.Error() {
				t.Errorf("%s is told %v", user, err)
			}
			return false
		}
		if id == f.ID {
			if status, _, b := s.follow(im.Link{Method: "GET", URL: out.URL}, nil); status != http.StatusOK || string(b) != "hello" {
				t.Errorf("%s gets %d %s", user, status, b)
			}
		}
		return true
	}
	if !may(ann, f.ID) || !may(ann, pending.ID) {
		t.Error("the owner may not have it")
	}
	if may(bob, f.ID) || may(bob, pending.ID) {
		t.Error("anybody may have it")
	}
	if _, err := s.complete(bob, pending.ID); !errors.Is(err, im.NotFound) {
		t.Errorf("anybody completes it: %v", err)
	}
	grant := s.grant(f, im.Direct(bob, ann))
	if !may(bob, f.ID) {
		t.Error("to whom it was sent may not have it")
	}
	if may(cleo, f.ID) {
		t.Error("to whom it was not sent may have it")
	}
	forwarded := s.grant(f, im.Direct(bob, cleo))
	if !may(cleo, f.ID) {
		t.Error("to whom it was forwarded may not have it")
	}
	s.revoke(grant)
	if !may(bob, f.ID) {
		t.Error("recalling it here takes it away there")
	}
	s.revoke(forwarded)
	if may(bob, f.ID) || may(cleo, f.ID) || !may(ann, f.ID) {
		t.Error("it was recalled everywhere, and others than its owner may have it")
	}
	if err := s.db.GrantFiles(t.Context(), []im.FileGrant{grant}); err != nil {
		t.Fatal(err)
	}
	if may(bob, f.ID) {
		t.Error("to send a recalled message again grants its file again")
	}
	for _, id := range []string{im.NewID(), "", "../a", strings.Repeat("a", 1000)} {
		if may(ann, id) {
			t.Errorf("there is a file %.40q", id)
		}
	}
}

func TestAFileInPartsIsResumed(t *testing.T) {
	s := newSystem(t, map[string]string{"FILE_PART_BYTES": "5242880"}, ann)
	b := append(bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16), []byte("and the end")...)
	in := newFile("a.txt", "text/plain", b)
	out := s.create(ann, in)
	if len(out.Parts) != 2 || out.Upload != nil || out.Parts[0].Size != 5<<20 || out.Parts[1].Size != 11 || out.Expires == 0 {
		t.Fatalf("created %+v", out)
	}
	second := s.sendPart(out.Parts[1], b[5<<20:])
	if _, err := s.complete(ann, out.File.ID); !errors.Is(err, im.Conflict) || !strings.Contains(err.Error(), "1 parts have not arrived: 1") {
		t.Errorf("completing half of it: %v", err)
	}
	have, err := s.get(ann, out.File.ID)
	if err != nil || len(have.Parts) != 1 || have.Parts[0].Number != 1 {
		t.Fatalf("missing are %+v, %v", have, err)
	}
	first := s.sendPart(have.Parts[0], b[:5<<20])
	if _, err := call[im.File](s, ann, Complete, completeRequest{File: out.File.ID, Parts: []sentPart{{1, second}}}); !errors.Is(err, im.Conflict) {
		t.Errorf("completing it with another part: %v", err)
	}
	for range 2 {
		f, err := call[im.File](s, ann, Complete, completeRequest{File: out.File.ID, Parts: []sentPart{{1, first}, {2, second}}})
		if err != nil || f.State != im.FileComplete {
			t.Fatalf("complete it is %+v, %v", f, err)
		}
	}
	done, err := s.get(ann, out.File.ID)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, got := s.follow(im.Link{Method: "GET", URL: done.URL}, nil); status != http.StatusOK || !bytes.Equal(got, b) {
		t.Errorf("its link gets %d, %d bytes", status, len(got))
	}
	if status, _, _ := s.follow(im.Link{Method: "PUT", URL: out.Parts[1].URL, Headers: out.Parts[1].Headers}, []byte("and the ENd")); status == http.StatusOK {
		t.Error("a part is taken after the file is complete")
	}
}

func TestPartsOfAnotherHashAreRefused(t *testing.T) {
	s := newSystem(t, map[string]string{"FILE_PART_BYTES": "5242880"}, ann)
	b := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16+1)
	out := s.create(ann, newFile("a.txt", "text/plain", b))
	b[3] = 'X'
	s.sendPart(out.Parts[0], b[:5<<20])
	s.sendPart(out.Parts[1], b[5<<20:])
	if _, err := s.complete(ann, out.File.ID); !errors.Is(err, im.Invalid) {
		t.Errorf("it is %v", err)
	}
	if _, err := s.complete(ann, out.File.ID); !errors.Is(err, im.NotFound) {
		t.Errorf("after it was refused: %v", err)
	}
	if _, err := call[json.RawMessage](s, "", Sweep, struct{}{}); err != nil {
		t.Fatal(err)
	}
	if keys := s.keys(""); len(keys) > 0 {
		t.Errorf("it left %v", keys)
	}
}
