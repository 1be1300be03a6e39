package picture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"
	"time"

	"github.com/bbrks/go-blurhash"
	"golang.org/x/image/draw"

	"github.com/tidings-im/tidings/shared/im"
)

// flag is a picture whose left half is red and whose right half is blue, with a
// green strip along its upper edge.
func flag(w, h int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(img, image.Rect(0, 0, w/2, h), image.NewUniform(color.RGBA{255, 0, 0, 255}), image.Point{}, draw.Src)
	draw.Draw(img, image.Rect(w/2, 0, w, h), image.NewUniform(color.RGBA{0, 0, 255, 255}), image.Point{}, draw.Src)
	draw.Draw(img, image.Rect(0, 0, w, h/5), image.NewUniform(color.RGBA{0, 255, 0, 255}), image.Point{}, draw.Src)
	return img
}

func encoded(t testing.TB, img image.Image, typ string) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch typ {
	case "image/png":
		err = png.Encode(&b, img)
	case "image/jpeg":
		err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 95})
	case "image/gif":
		err = gif.Encode(&b, img, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// turned returns a JPEG that says that it is to be turned (Exif in APP1).
func turned(b []byte, orientation uint16) []byte {
	tiff := []byte("MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01")
	tiff = binary.BigEndian.AppendUint16(tiff, orientation)
	tiff = append(tiff, 0, 0, 0, 0, 0, 0)
	app := append([]byte("Exif\x00\x00"), tiff...)
	out := append([]byte{}, b[:2]...)
	out = append(out, 0xff, 0xe1)
	out = binary.BigEndian.AppendUint16(out, uint16(len(app)+2))
	return append(append(out, app...), b[2:]...)
}

func TestAPictureHasItsSizeAndAPreview(t *testing.T) {
	for _, typ := range []string{"image/png", "image/jpeg", "image/gif"} {
		t.Run(typ, func(t *testing.T) {
			b := encoded(t, flag(300, 100), typ)
			p, err := Look(t.Context(), b, typ, true)
			if err != nil || p.Width != 300 || p.Height != 100 {
				t.Fatalf("it is %+v, %v", p, err)
			}
			shown, err := blurhash.Decode(p.Preview, 30, 10, 1)
			if err != nil || len(p.Preview) > 60 {
				t.Fatalf("its preview is %q: %v", p.Preview, err)
			}
			left, right := shown.At(3, 7), shown.At(27, 7)
			if r, _, b, _ := left.RGBA(); r < 2*b {
				t.Errorf("its left is %v", left)
			}
			if r, _, b, _ := right.RGBA(); b < 2*r {
				t.Errorf("its right is %v", right)
			}
			if half, err := Look(t.Context(), b[:len(b)*9/10], typ, false); err != nil || half.Width != 300 || half.Preview != "" {
				t.Errorf("its beginning is %+v, %v", half, err)
			}
			if cut, err := Look(t.Context(), b[:len(b)-20], typ, true); err != nil || cut.Width != 300 {
				t.Errorf("cut off it is %+v, %v", cut, err)
			}
		})
	}
}

// Corners of what flag is when it is shown as each orientation says: where the
// green edge is, and the red half.
func TestPicturesAreShownUpright(t *testing.T) {
	img := encoded(t, flag(80, 40), "image/jpeg")
	for orientation, want := range map[uint16]struct {
		sideways   bool
		green, red image.Point // of a picture of 100 by 100
	}{
		1: {false, image.Pt(50, 4), image.Pt(10, 60)},
		2: {false, image.Pt(50, 4), image.Pt(90, 60)},
		3: {false, image.Pt(50, 96), image.Pt(90, 40)},
		4: {false, image.Pt(50, 96), image.Pt(10, 40)},
		5: {true, image.Pt(4, 50), image.Pt(60, 10)},
		6: {true, image.Pt(96, 50), image.Pt(40, 10)},
		7: {true, image.Pt(96, 50), image.Pt(40, 90)},
		8: {true, image.Pt(4, 50), image.Pt(60, 90)},
	} {
		b := turned(img, orientation)
		p, err := Look(t.Context(), b, "image/jpeg", true)
		if err != nil || (p.Width == 40) != want.sideways || (p.Height == 80) != want.sideways {
			t.Errorf("orientation %d: %+v, %v", orientation, p, err)
		}
		square, err := Square(t.Context(), b, "image/jpeg", 100)
		if err != nil {
			t.Fatal(err)
		}
		shown, err := jpeg.Decode(bytes.NewReader(square))
		if err != nil {
			t.Fatal(err)
		}
		if r, g, b, _ := shown.At(want.green.X, want.green.Y).RGBA(); g < 2*r || g < 2*b {
			t.Errorf("orientation %d: at %v it is %v", orientation, want.green, shown.At(want.green.X, want.green.Y))
		}
		if r, g, b, _ := shown.At(want.red.X, want.red.Y).RGBA(); r < 2*g || r < 2*b {
			t.Errorf("orientation %d: at %v it is %v", orientation, want.red, shown.At(want.red.X, want.red.Y))
		}
		if bytes.Contains(square, []byte("Exif")) {
			t.Error("it keeps what the camera wrote")
		}
	}
}

func TestWhatIsTransparentIsOnWhite(t *testing.T) {
	square, err := Square(t.Context(), encoded(t, image.NewNRGBA(image.Rect(0, 0, 20, 20)), "image/png"), "image/png", 10)
	if err != nil {
		t.Fatal(err)
	}
	img, err := jpeg.Decode(bytes.NewReader(square))
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b, _ := img.At(5, 5).RGBA(); r < 0xf000 || g < 0xf000 || b < 0xf000 {
		t.Errorf("it is %v", img.At(5, 5))
	}
}

// head returns the head of a PNG that says how large it is.
func head(w, h uint32, depth, kind byte) []byte {
	chunk := binary.BigEndian.AppendUint32([]byte("IHDR"), w)
	chunk = binary.BigEndian.AppendUint32(chunk, h)
	chunk = append(chunk, depth, kind, 0, 0, 0)
	b := binary.BigEndian.AppendUint32([]byte("\x89PNG\r\n\x1a\n"), 13)
	return binary.BigEndian.AppendUint32(append(b, chunk...), crc32.ChecksumIEEE(chunk))
}

func TestWhatIsMadeToExhaustIsRefusedBeforeItIsDecoded(t *testing.T) {
	for _, tt := range []struct {
		name string
		w, h uint32
		want error
	}{
		{"many pixels", 100_000, 100_000, im.TooLarge},
		{"a line of them", 1 << 30, 1, im.TooLarge},
		{"so many that their number does not fit", 1<<31 - 1, 1<<31 - 1, im.TooLarge},
		{"none", 0, 10, im.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := head(tt.w, tt.h, 8, 2)
			if _, err := Look(t.Context(), b, "image/png", true); !errors.Is(err, tt.want) && !errors.Is(err, im.Invalid) {
				t.Errorf("looking: %v", err)
			}
			if _, err := Square(t.Context(), b, "image/png", 100); err == nil {
				t.Error("a square is made of it")
			}
		})
	}
	// Not so many as to be refused, and more than are decoded.
	b := head(12_000, 12_000, 16, 6)
	if p, err := Look(t.Context(), b, "image/png", true); err != nil || p.Width != 12_000 || p.Preview != "" {
		t.Errorf("a large one is %+v, %v", p, err)
	}
	if _, err := Square(t.Context(), b, "image/png", 100); !errors.Is(err, im.TooLarge) {
		t.Errorf("a square of a large one: %v", err)
	}
}

func TestDecodingEndsWithItsTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	b := encoded(t, flag(100, 100), "image/png")
	if p, err := Look(ctx, b, "image/png", true); err != nil || p.Width != 100 || p.Preview != "" {
		t.Errorf("it is %+v, %v", p, err)
	}
	if _, err := Square(ctx, b, "image/png", 10); err == nil {
		t.Error("a square is made after the time is over")
	}
}

// A JPEG in several scans takes far more memory, so it is not to pass for
// another.
func TestProgressiveIsToldAndWhatCannotBeToldCountsAsIt(t *testing.T) {
	sof := func(marker byte) []byte { return []byte{0xff, 0xd8, 0xff, marker, 0, 4, 0, 0} }
	for name, tt := range map[string]struct {
		b    []byte
		want bool
	}{
		"baseline":                      {encoded(t, flag(8, 8), "image/jpeg"), false},
		"baseline after Exif":           {turned(encoded(t, flag(8, 8), "image/jpeg"), 3), false},
		"progressive":                   {sof(0xc2), true},
		"extended":                      {sof(0xc1), false},
		"nothing":                       {nil, true},
		"no frame":                      {[]byte{0xff, 0xd8, 0xff, 0xe0, 0, 2}, true},
		"a marker without a length":     {append([]byte{0xff, 0xd8, 0xff, 0xd0, 0, 6, 0, 0, 0, 0}, sof(0xc0)[2:]...), true},
		"a length that is none":         {append([]byte{0xff, 0xd8, 0xff, 0xe0, 0, 0}, sof(0xc0)[2:]...), true},
		"bytes where a marker is to be": {append([]byte{0xff, 0xd8, 0, 1}, sof(0xc0)[2:]...), true},
	} {
		if got := progressive(tt.b); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWhatIsNoPictureHasNoSize(t *testing.T) {
	for _, typ := range []string{"image/png", "image/jpeg", "image/gif", "image/webp"} {
		if _, err := Look(t.Context(), []byte("not a picture"), typ, true); !errors.Is(err, im.Invalid) {
			t.Errorf("%s: %v", typ, err)
		}
	}
	for _, typ := range []string{"image/heic", "image/avif"} {
		if p, err := Look(t.Context(), []byte("not a picture"), typ, true); err != nil || p != (im.Picture{}) {
			t.Errorf("%s: %+v, %v", typ, p, err)
		}
	}
	if _, err := Square(t.Context(), []byte("text"), "text/plain", 10); !errors.Is(err, im.Invalid) {
		t.Errorf("a square of a text: %v", err)
	}
	if Is("text/plain") || !Is("image/heic") || !Is("image/webp") {
		t.Error("it does not know what is a picture")
	}
}

func FuzzLook(f *testing.F) {
	types := []string{"image/png", "image/jpeg", "image/gif", "image/webp", "image/heic", "image/avif"}
	for i, typ := range types[:3] {
		f.Add(encoded(f, flag(16, 8), typ), i)
	}
	f.Add(turned(encoded(f, flag(16, 8), "image/jpeg"), 6), 1)
	f.Add([]byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"), 3)
	f.Fuzz(func(t *testing.T, b []byte, of int) {
		typ := types[((of%len(types))+len(types))%len(types)]
		p, err := Look(t.Context(), b, typ, true)
		if err == nil && (p.Width < 0 || p.Height < 0 || p.Height > 0 && p.Width > MaxPixels/p.Height || len(p.Preview) > 100) {
			t.Errorf("it is %+v", p)
		}
		if err != nil && im.KindOf(err) != im.Invalid && im.KindOf(err) != im.TooLarge {
			t.Errorf("it is %v", err)
		}
	})
}

// What a decoder needs besides the picture itself counts.
func TestWhatTakesMoreMemoryThanItsPixelsIsNotDecoded(t *testing.T) {
	const w, h = 6000, 5000 // of 4 bytes, 120 MB
	cmyk := []byte{0xff, 0xd8, 0xff, 0xc0, 0, 20, 8, h >> 8, h & 0xff, w >> 8, w & 0xff, 4,
		1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0, 0xff, 0xda, 0, 14, 4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0}
	lossless := append([]byte("RIFF\x30\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x10\x00\x00\x00"),
		(w-1)&0xff, (w-1)>>8, 0, (h-1)&0xff, (h-1)>>8, 0)
	for typ, b := range map[string][]byte{"image/jpeg": cmyk, "image/webp": lossless} {
		if p, err := Look(t.Context(), b, typ, true); err != nil || p.Width != w || p.Height != h || p.Preview != "" {
			t.Errorf("%s: looking at it: %+v, %v", typ, p, err)
		}
		if _, err := Square(t.Context(), b, typ, 100); !errors.Is(err, im.TooLarge) {
			t.Errorf("%s: a square of it: %v", typ, err)
		}
	}
}

func TestAFrameWithoutPixelsIsNoPicture(t *testing.T) {
	b := []byte("GIF89a\x0a\x00\x0a\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff" + // 10 by 10, two colours
		",\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x01\x2c\x00;") // of which a frame has 0 by 0
	if p, err := Look(t.Context(), b, "image/gif", true); err != nil || p.Width != 10 || p.Preview != "" {
		t.Errorf("looking at it: %+v, %v", p, err)
	}
	if _, err := Square(t.Context(), b, "image/gif", 100); !errors.Is(err, im.Invalid) {
		t.Errorf("a square of it: %v", err)
	}
}
