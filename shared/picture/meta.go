package picture

import (
	"bytes"
	"image"
	"time"

	"github.com/bep/imagemeta"

	"github.com/tidings-im/tidings/shared/im"
)

// measured are the types of picture of which the size is known and no more.
var measured = map[string]imagemeta.ImageFormat{
	"image/avif": imagemeta.AVIF,
	"image/heic": imagemeta.HEIF,
	"image/heif": imagemeta.HEIF,
}

// oriented are the types of picture that may say how they are to be turned.
var oriented = map[string]imagemeta.ImageFormat{
	"image/jpeg": imagemeta.JPEG,
	"image/png":  imagemeta.PNG,
	"image/webp": imagemeta.WebP,
}

const metaTime = time.Second // that reading what is beside the pixels may take

// measure returns the size of a picture that cannot be decoded here; none if
// it does not say.
func measure(b []byte, typ string) (im.Picture, error) {
	found, err := imagemeta.Decode(imagemeta.Options{
		R: bytes.NewReader(b), ImageFormat: measured[typ], Sources: imagemeta.CONFIG, Timeout: metaTime,
		Warnf: func(string, ...any) {},
	})
	size := found.ImageConfig
	if err != nil || size == (imagemeta.ImageConfig{}) {
		return im.Picture{}, nil
	}
	return im.Picture{Width: size.Width, Height: size.Height}, checkSize(size.Width, size.Height)
}

// A turn is what has to be done to a picture for it to be upright: a value of
// the tag Orientation of Exif (CIPA DC-008, 4.6.5.1.6), or 0 for nothing.
type turn uint16

func orientation(b []byte, typ string) (t turn) {
	format, ok := oriented[typ]
	if !ok {
		return 0
	}
	// What it reads of a broken picture counts as much as if it was whole.
	imagemeta.Decode(imagemeta.Options{
		R: bytes.NewReader(b), ImageFormat: format, Sources: imagemeta.EXIF, Timeout: metaTime,
		Warnf:           func(string, ...any) {},
		ShouldHandleTag: func(tag imagemeta.TagInfo) bool { return tag.Tag == "Orientation" && tag.Namespace == "IFD0" },
		HandleTag: func(tag imagemeta.TagInfo) error {
			if v, ok := tag.Value.(uint16); ok && v <= 8 {
				t = turn(v)
			}
			return imagemeta.ErrStopWalking
		},
	})
	return t
}

// sideways reports whether width and height change places.
func (t turn) sideways() bool { return t >= 5 }

// apply returns a picture, which is small, as it is to be shown.
func (t turn) apply(img image.Image) image.Image {
	if t < 2 {
		return img
	}
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	to := image.NewRGBA(image.Rect(0, 0, w, h))
	if t.sideways() {
		to = image.NewRGBA(image.Rect(0, 0, h, w))
	}
	for y := range h {
		for x := range w {
			u, v := x, y
			switch t {
			case 2:
				u = w - 1 - x
			case 3:
				u, v = w-1-x, h-1-y
			case 4:
				v = h - 1 - y
			case 5:
				u, v = y, x
			case 6:
				u, v = h-1-y, x
			case 7:
				u, v = h-1-y, w-1-x
			case 8:
				u, v = y, w-1-x
			}
			to.Set(u, v, img.At(b.Min.X+x, b.Min.Y+y))
		}
	}
	return to
}

// progressive reports whether a JPEG is built up in several scans: whether its
// frame is one of SOF2 (ITU-T T.81, B.2.2), or cannot be found.
func progressive(b []byte) bool {
	for b = b[min(2, len(b)):]; len(b) >= 4 && b[0] == 0xff; {
		switch marker := b[1]; {
		case marker == 0xff: // fill
			b = b[1:]
			continue
		case marker == 0xc0, marker == 0xc1:
			return false
		case marker == 0xc2, marker < 0xc0, marker >= 0xd0 && marker <= 0xd9: // it, or what has no length to go on by
			return true
		}
		length := int(b[2])<<8 | int(b[3])
		if length < 2 {
			return true
		}
		b = b[min(len(b), 2+length):]
	}
	return true
}
