package file

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

// However many complete a file at once, it is completed, as it was sent, and all
// of them are told so.
func TestAFileIsCompletedOnceHoweverManyDoItAtOnce(t *testing.T) {
	s := newSystem(t, map[string]string{"FILE_PART_BYTES": "5242880"}, ann)
	for name, b := range map[string][]byte{
		"sent whole":    []byte("hello"),
		"sent in parts": bytes.Repeat([]byte("hello, "), 5<<20/7+10),
	} {
		id := s.send(ann, "a.txt", "text/plain", b).ID
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for try := 1; ; try++ {
					f, err := s.complete(ann, id)
					if try < 20 && (im.KindOf(err).Transient() || errors.Is(err, im.Conflict)) { // another was about it
						continue
					}
					if err != nil || f.State != im.FileComplete || f.Type != "text/plain" {
						t.Errorf("%s: it is %+v, %v", name, f, err)
					}
					return
				}
			})
		}
		all.Wait()
		have, err := s.get(ann, id)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, got := s.follow(im.Link{Method: "GET", URL: have.URL}, nil); !bytes.Equal(got, b) {
			t.Errorf("%s: it has %d bytes", name, len(got))
		}
	}
	if left := s.keys(uploads); len(left) > 0 {
		t.Errorf("what was sent is still there: %q", left)
	}
}

// A file that runs out while it is completed is one or the other: there, with
// its bytes, or gone with them.
func TestAFileIsCompletedOrSweptAndNotBoth(t *testing.T) {
	s := newSystem(t, map[string]string{"FILE_PART_BYTES": "5242880"}, ann)
	parts := bytes.Repeat([]byte("hello, "), 5<<20/7+10)
	completed := 0
	const rounds = 12
	for i := range rounds {
		b := []byte("hello")
		if i%3 == 0 {
			b = parts
		}
		id := s.send(ann, "a.txt", "text/plain", b).ID
		var both sync.WaitGroup
		var err error
		both.Go(func() { _, err = s.complete(ann, id) })
		both.Go(func() {
			if i%2 == 0 { // at once; else when it is being completed, or is
				for range 3 {
					s.keys(uploads)
				}
			}
			if _, err := s.db.RefuseFile(t.Context(), id); err != nil { // as one that has run out
				t.Error(err)
			}
			sweepAll(t, s)
		})
		both.Wait()
		sweepAll(t, s)
		have, getErr := s.get(ann, id)
		switch {
		case getErr == nil:
			completed++
			if _, _, got := s.follow(im.Link{Method: "GET", URL: have.URL}, nil); !bytes.Equal(got, b) {
				t.Errorf("it is complete, and has %d bytes", len(got))
			}
		case !errors.Is(getErr, im.NotFound) || err == nil:
			t.Errorf("it is completed with %v and got with %v", err, getErr)
		}
		if n := len(s.keys(kept)); n != completed {
			t.Errorf("%d files are in the store, want %d: %q", n, completed, s.keys(kept))
		}
	}
	t.Logf("%d of %d were completed", completed, rounds)
}

// Whatever a file is called and holds, its link hands out that name and a type
// by which nothing in it runs.
func TestP6NothingRunsThatALinkHandsOut(t *testing.T) {
	s := newSystem(t, nil, ann)
	html := []byte("<!DOCTYPE html><html><script>alert(1)</script></html>")
	svg := []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`)
	for _, tt := range []struct {
		name, typ string
		body      []byte
		served    string
		shown     bool
	}{
		{`a"; filename="b.html`, "text/html", html, im.AnyType, false},
		{"a.html", "", html, im.AnyType, false},
		{"a.txt", "text/plain", html, "text/plain", false},
		{"a;b=c.svg", "image/svg+xml", svg, im.AnyType, false},
		{"ä, b%20.xml", "text/xml", []byte("<?xml version=\"1.0\"?><?xml-stylesheet href=\"#\"?><a/>"), im.AnyType, false},
		{"a.js", "text/javascript", []byte("alert(1)"), im.AnyType, false},
		{"a.eml", "message/rfc822", []byte("From: a\n\n<script>alert(1)</script>"), im.AnyType, false},
		{"日本\u2028語.png", "image/png", append(drawn(t, 8, 8, "image/png"), html...), "image/png", true},
	} {
		id := s.send(ann, tt.name, tt.typ, tt.body).ID
		if _, err := s.complete(ann, id); err != nil {
			t.Errorf("%s as %s: %v", tt.name, tt.typ, err)
			continue
		}
		have, err := s.get(ann, id)
		if err != nil {
			t.Fatal(err)
		}
		status, header, _ := s.opens(have.URL)
		how, params, err := mime.ParseMediaType(header.Get("Content-Disposition"))
		if status != http.StatusOK || header.Get("Content-Type") != tt.served || err != nil || params["filename"] != tt.name || (how == "inline") != tt.shown {
			t.Errorf("%s as %s: %d, %q, %q, %v", tt.name, tt.typ, status, header.Get("Content-Type"), header.Get("Content-Disposition"), err)
		}
	}
}

// What a decoder does not expect is a file still, if it begins as a picture, and
// no avatar.
func TestAPictureWithoutPixelsIsAFileAndNoAvatar(t *testing.T) {
	s := newSystem(t, nil, ann)
	b := []byte("GIF89a\x0a\x00\x0a\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x01\x2c\x00;")
	f := s.file(ann, "a.gif", "image/gif", b)
	if f.State != im.FileComplete || f.Width != 10 || f.Preview != "" {
		t.Errorf("it is %+v", f)
	}
	if _, err := call[im.Self](s, ann, SetAvatar, avatarRequest{File: f.ID}); !errors.Is(err, im.Invalid) {
		t.Errorf("as an avatar: %v", err)
	}
}

// An avatar is made of pixels: what is hidden behind or beside them stays where
// it is.
func TestP6AnAvatarHoldsNothingButPixels(t *testing.T) {
	s := newSystem(t, nil, ann)
	secret := []byte("GPSLatitude 52.5200 <script>alert(1)</script>")
	picture := append(drawn(t, 600, 300, "image/png"), secret...)
	f := s.file(ann, "a.png", "image/png", picture)
	me, err := call[im.Self](s, ann, SetAvatar, avatarRequest{File: f.ID})
	if err != nil {
		t.Fatal(err)
	}
	status, header, b := s.opens(me.Avatar)
	if status != http.StatusOK || header.Get("Content-Type") != "image/jpeg" || bytes.Contains(b, secret) || !strings.HasPrefix(http.DetectContentType(b), "image/jpeg") {
		t.Errorf("the avatar is %d, %q, %d bytes", status, header.Get("Content-Type"), len(b))
	}
}

// opens gets what is at a URL, with the header of the answer.
func (s *system) opens(url string) (status int, header http.Header, b []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err = io.ReadAll(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, b
}
