// Package picture looks at pictures that strangers have made: how large they
// are, what they look like in 30 characters, what is left of them in a square.
// What it is to decode is bounded before it is decoded, in pixels, in memory
// and in time. It does not know where pictures come from.
package picture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"time"

	"github.com/bbrks/go-blurhash"
	"golang.org/x/image/draw"
	"golang.org/x/image/webp"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	// MaxPixels is the most pixels of a picture: what has more is made to
	// exhaust whoever decodes it.
	MaxPixels = 250_000_000

	// MaxBytes is the most bytes of a picture that is decoded.
	MaxBytes = 32 << 20

	maxDecoded = 160 << 20       // bytes of memory that decoding one may take
	decodeTime = 4 * time.Second // that decoding one may take
)

// A codec is what reads the pictures of a type.
type codec struct {
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
}

var codecs = map[string]codec{
	"image/jpeg": {jpeg.DecodeConfig, jpeg.Decode},
	"image/png":  {png.DecodeConfig, png.Decode},
	"image/gif":  {gif.DecodeConfig, gif.Decode}, // the first of its frames
	"image/webp": {webp.DecodeConfig, webp.Decode},
}

// Is reports whether a media type is one of pictures that Look knows.
func Is(typ string) bool {
	_, coded := codecs[typ]
	_, measured := measured[typ]
	return coded || measured
}

// Look returns the size of a picture of a type, as it is to be shown, and its
// preview if it can be decoded for one. b is the picture, or the beginning of
// it, which has no preview. Invalid: it is not such a picture. TooLarge: it has
// too many pixels.
func Look(ctx context.Context, b []byte, typ string, whole bool) (im.Picture, error) {
	c, coded := codecs[typ]
	if !coded {
		return measure(b, typ)
	}
	config, err := c.size(b)
	if err != nil {
		return im.Picture{}, err
	}
	turned := orientation(b, typ)
	p := im.Picture{Width: config.Width, Height: config.Height}
	if turned.sideways() {
		p.Width, p.Height = p.Height, p.Width
	}
	if !whole || cost(config, b, typ) > maxDecoded {
		return p, nil
	}
	img, err := c.read(ctx, b)
	if err != nil { // what is cut short, animated or too slow to read is a picture still
		return p, nil
	}
	p.Preview, err = preview(turned.apply(small(img, previewSide)))
	return p, err
}

// Square returns a JPEG of this many pixels on each side: the middle of a
// picture, upright, on white where it is transparent, and nothing besides its
// pixels. Invalid: it is not such a picture, or cannot be read. TooLarge: it
// has too many pixels.
func Square(ctx context.Context, b []byte, typ string, side int) ([]byte, error) {
	c, ok := codecs[typ]
	if !ok {
		return nil, im.Errorf(im.Invalid, "the picture is %s: use image/jpeg, image/png, image/gif or image/webp", typ)
	}
	config, err := c.size(b)
	if err != nil {
		return nil, err
	}
	if len(b) > MaxBytes || cost(config, b, typ) > maxDecoded {
		return nil, im.Errorf(im.TooLarge, "the picture of %d by %d pixels is too large: make it smaller", config.Width, config.Height)
	}
	img, err := c.read(ctx, b)
	if err != nil {
		return nil, im.Wrap(im.Invalid, err, "the picture cannot be read")
	}
	from := middle(img.Bounds())
	if from.Dx() > 2*side { // the finer way takes memory for what it is from
		img, from = scaled(draw.ApproxBiLinear, img, from, 2*side, 2*side), image.Rect(0, 0, 2*side, 2*side)
	}
	square := orientation(b, typ).apply(scaled(draw.CatmullRom, img, from, side, side))
	var out bytes.Buffer
	if err := jpeg.Encode(&out, square, &jpeg.Options{Quality: 85}); err != nil {
		return nil, fmt.Errorf("writing a picture: %w", err)
	}
	return out.Bytes(), nil
}

// size returns the size of a picture without decoding it.
func (c codec) size(b []byte) (image.Config, error) {
	config, err := c.config(bytes.NewReader(b))
	if err != nil {
		return config, im.Wrap(im.Invalid, err, "the picture cannot be read")
	}
	return config, checkSize(config.Width, config.Height)
}

func checkSize(width, height int) error {
	switch {
	case width < 1 || height < 1:
		return im.Errorf(im.Invalid, "the picture has no pixels")
	case width > MaxPixels/height:
		return im.Errorf(im.TooLarge, "the picture has %d by %d pixels; %d are the most", width, height, MaxPixels)
	}
	return nil
}

// cost returns how many bytes of memory it may take to decode a picture.
func cost(config image.Config, b []byte, typ string) int {
	perPixel := 4
	switch config.ColorModel {
	case color.NRGBA64Model, color.RGBA64Model:
		perPixel = 8
	case color.GrayModel:
		perPixel = 1
	case color.YCbCrModel:
		perPixel = 3
	}
	switch {
	case typ == "image/webp": // which may be lossless, or have a layer that is
		perPixel = 8
	case typ == "image/jpeg" && (config.ColorModel == color.CMYKModel || config.ColorModel == color.RGBAModel):
		perPixel *= 2 // it is decoded by component, and put together then
	}
	if typ == "image/jpeg" && progressive(b) {
		perPixel += 16 // it keeps the coefficients of each component, 4 bytes each
	}
	if typ == "image/png" && perPixel < 8 {
		perPixel *= 2 // of an interlaced one each pass is an image
	}
	return config.Width * config.Height * perPixel
}

var errTime = errors.New("decoding it takes too long")

// read decodes a picture, while there is time.
func (c codec) read(ctx context.Context, b []byte) (image.Image, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, decodeTime, errTime)
	defer cancel()
	img, err := c.decode(&timed{ctx, bytes.NewReader(b)})
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", errTime, context.Cause(ctx))
	}
	if err == nil && img.Bounds().Empty() { // the frame of a GIF may be, whatever its size
		err = errors.New("there are no pixels in it")
	}
	return img, err
}

// timed is a reader that fails when its time is over, for decoders that cannot
// be told. It hands out a little at a time, as little may be much to do.
type timed struct {
	ctx context.Context
	r   io.Reader
}

func (t *timed) Read(b []byte) (int, error) {
	if t.ctx.Err() != nil {
		return 0, context.Cause(t.ctx)
	}
	return t.r.Read(b[:min(len(b), 512)])
}

const previewSide = 64 // pixels that a preview is made of

// preview returns the BlurHash of a small picture.
func preview(img image.Image) (string, error) {
	x, y := 4, 3
	if b := img.Bounds(); b.Dy() > b.Dx() {
		x, y = y, x
	}
	hash, err := blurhash.Encode(x, y, img)
	if err != nil {
		return "", fmt.Errorf("making the preview of a picture: %w", err)
	}
	return hash, nil
}

// small returns img in a size of at most side by side, on white.
func small(img image.Image, side int) image.Image {
	b := img.Bounds()
	w, h := side, side
	if b.Dx() > b.Dy() {
		h = max(1, side*b.Dy()/b.Dx())
	} else {
		w = max(1, side*b.Dx()/b.Dy())
	}
	return scaled(draw.ApproxBiLinear, img, b, w, h)
}

// scaled returns a part of img in a size, on white.
func scaled(by draw.Scaler, img image.Image, part image.Rectangle, w, h int) image.Image {
	to := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(to, to.Bounds(), image.White, image.Point{}, draw.Src)
	by.Scale(to, to.Bounds(), img, part, draw.Over, nil)
	return to
}

// middle returns the largest square in the middle of r.
func middle(r image.Rectangle) image.Rectangle {
	side := min(r.Dx(), r.Dy())
	x, y := r.Min.X+(r.Dx()-side)/2, r.Min.Y+(r.Dy()-side)/2
	return image.Rect(x, y, x+side, y+side)
}
