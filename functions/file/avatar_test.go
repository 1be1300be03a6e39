package file

import (
	"bytes"
	"errors"
	"image/jpeg"
	"net/http"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func TestAnAvatarIsASquareThatAnybodyGetsByItsAddress(t *testing.T) {
	s := newSystem(t, nil, ann, bob)
	set := func(user, file string) (im.Self, error) {
		return call[im.Self](s, user, SetAvatar, avatarRequest{File: file})
	}
	get := func(url string) (int, []byte) {
		status, _, b := s.follow(im.Link{Method: http.MethodGet, URL: url}, nil)
		return status, b
	}
	wide := s.file(ann, "wide.jpg", "image/jpeg", drawn(t, 900, 300, "image/jpeg"))
	first, err := set(ann, wide.ID)
	if err != nil || !strings.Contains(first.Avatar, "/"+avatars) || strings.Contains(first.Avatar, "?") {
		t.Fatalf("she is %+v, %v", first, err)
	}
	status, b := get(first.Avatar)
	if status != http.StatusOK {
		t.Fatalf("anybody gets %d %s", status, b)
	}
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil || img.Bounds().Dx() != avatarSide || img.Bounds().Dy() != avatarSide {
		t.Errorf("it is %v, %v", img.Bounds(), err)
	}
	if r, _, _, _ := img.At(0, 256).RGBA(); r>>8 < 60 || r>>8 > 110 { // a third of the way from black to red
		t.Errorf("it is not of the middle: %d", r>>8)
	}

	small := s.file(ann, "small.png", "image/png", drawn(t, 10, 20, "image/png"))
	second, err := set(ann, small.ID)
	if err != nil || second.Avatar == first.Avatar {
		t.Fatalf("she is %+v, %v", second, err)
	}
	sweepAll(t, s)
	if status, _ := get(first.Avatar); status == http.StatusOK {
		t.Error("the one before is still there")
	}
	if status, _ := get(second.Avatar); status != http.StatusOK {
		t.Errorf("the new one is not there: %d", status)
	}

	if _, err := set(bob, small.ID); !errors.Is(err, im.NotFound) {
		t.Errorf("of another's picture: %v", err)
	}
	pending := s.send(bob, "b.png", "image/png", drawn(t, 4, 4, "image/png"))
	if _, err := set(bob, pending.ID); !errors.Is(err, im.Conflict) {
		t.Errorf("of what is not complete: %v", err)
	}
	text := s.file(bob, "b.txt", "text/plain", []byte("face"))
	if _, err := set(bob, text.ID); !errors.Is(err, im.Invalid) {
		t.Errorf("of a text: %v", err)
	}

	none, err := set(ann, "")
	if err != nil || none.Avatar != "" {
		t.Fatalf("she is %+v, %v", none, err)
	}
	sweepAll(t, s)
	if keys := s.keys(avatars); len(keys) > 0 {
		t.Errorf("there are %v", keys)
	}
}
