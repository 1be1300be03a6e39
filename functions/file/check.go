package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"

	"github.com/gabriel-vasile/mimetype"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/picture"
)

const (
	headSize    = 3072    // bytes by which a type is told
	measureSize = 1 << 20 // bytes at the beginning of a picture by which its size is told
)

type reader interface {
	// Read returns the bytes of an object from the first on, or the first of
	// them if most is not 0.
	Read(ctx context.Context, o im.Object, most int64) (io.ReadCloser, error)
}

// A checker looks at what has arrived of files, at a few at a time.
type checker struct {
	store reader
	slots chan struct{} // held while the bytes of a file are read
	queue chan struct{} // held while they are, or wait to be
}

// newChecker returns a checker that looks at parallel files at a time, while
// others wait.
func newChecker(store reader, parallel, waiting int) *checker {
	return &checker{store, make(chan struct{}, parallel), make(chan struct{}, parallel+waiting)}
}

// check returns f as the object shows it to be. The error is a refusal if it is
// not what f says.
//
// The hash is taken from the store where it has checked it while the object
// arrived. All bytes are read otherwise, and of a picture that is small enough
// to be decoded.
func (c *checker) check(ctx context.Context, f im.File, o im.Object) (im.File, error) {
	if o.Size != f.Size {
		return f, refuse(im.Invalid, "%d bytes have arrived instead of %d", o.Size, f.Size)
	}
	if o.SHA256 != nil && hex.EncodeToString(o.SHA256) != f.SHA256 {
		return f, errHash
	}
	select {
	case c.queue <- struct{}{}:
		defer func() { <-c.queue }()
	default:
		return f, im.Errorf(im.Overloaded, "too many files at once: try again")
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return f, im.Wrap(im.Unavailable, ctx.Err(), "too many files at once: try again")
	}
	head, err := c.read(ctx, f, o)
	if err != nil {
		return f, err
	}
	if f.Type, err = typeOf(f.Type, head[:min(len(head), headSize)]); err != nil {
		return f, err
	}
	if picture.Is(f.Type) {
		f.Picture, err = picture.Look(ctx, head, f.Type, int64(len(head)) == o.Size)
		if errors.Is(err, im.Invalid) || errors.Is(err, im.TooLarge) {
			err = refusal{err}
		}
	}
	return f, err
}

var errHash = refuse(im.Invalid, "what has arrived has another SHA-256 than the file was said to have")

// read returns the beginning of an object, all of a picture that can be
// decoded, after it has checked the hash.
func (c *checker) read(ctx context.Context, f im.File, o im.Object) ([]byte, error) {
	var most int64
	if o.SHA256 != nil {
		if most = headSize; strings.HasPrefix(f.Type, "image/") || f.Type == im.AnyType {
			most = measureSize
			if o.Size <= picture.MaxBytes && f.Type != im.AnyType {
				most = o.Size
			}
		}
	}
	body, err := c.store.Read(ctx, o, most)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	keep := int64(measureSize)
	if o.Size <= picture.MaxBytes && strings.HasPrefix(f.Type, "image/") {
		keep = o.Size
	}
	hash := sha256.New()
	all := io.TeeReader(io.LimitReader(body, f.Size+1), hash)
	head, err := io.ReadAll(io.LimitReader(all, keep))
	if err != nil || o.SHA256 != nil {
		return head, err
	}
	rest, err := io.Copy(io.Discard, all)
	if err != nil {
		return nil, fmt.Errorf("checking the hash of a file: %w", err)
	}
	if int64(len(head))+rest != f.Size || hex.EncodeToString(hash.Sum(nil)) != f.SHA256 {
		return nil, errHash
	}
	return head, nil
}

// typeOf returns the type of a file that begins with head and is said to be of
// a type. The error is a refusal if it cannot be of it: if it is of another that
// is told by what it begins with, or does not begin as what is said does.
//
// Much cannot be told apart: what is said stands if it is a special kind of what
// is found, as a comma-separated table is of text and most formats of offices
// are of zip. What nothing is said of is of the type that is found.
func typeOf(said string, head []byte) (string, error) {
	found := mimetype.Detect(head)
	plain, _, err := mime.ParseMediaType(found.String())
	if err != nil {
		return said, fmt.Errorf("finding the type of a file: %w", err)
	}
	switch {
	case said == im.AnyType:
		return plain, nil
	case found.Is(said) || canonical[said] != "" && found.Is(canonical[said]):
		return said, nil
	}
	for m := found.Parent(); m != nil; m = m.Parent() { // what is found is a special kind of what is said
		if m.Is(said) {
			return said, nil
		}
	}
	known := mimetype.Lookup(said)
	if known == nil {
		known = mimetype.Lookup(canonical[said])
	}
	switch {
	case known == nil && vague(plain, said):
		return said, nil
	case known != nil && plain != im.AnyType:
		for m := known.Parent(); m != nil; m = m.Parent() {
			if m.Is(plain) && special(known, plain) {
				return said, nil
			}
		}
	}
	return said, refuse(im.Invalid, "what has arrived is %s and not %s", plain, said)
}

// vague reports whether a file of which no more is found than plain may be of a
// type that is not known here.
func vague(plain, said string) bool {
	text := strings.HasPrefix(said, "text/") || strings.HasPrefix(said, "application/")
	kind, _, _ := strings.Cut(said, "/")
	switch plain {
	case im.AnyType:
		return true
	case "text/plain", "application/json", "text/xml":
		return text
	case "application/zip", "application/x-ole-storage", "application/gzip":
		return kind == "application"
	}
	return false
}

// special reports whether a special kind of plain may be found to be no more
// than plain. HTML and XML cannot: a browser finds them where we do.
func special(known *mimetype.MIME, plain string) bool {
	switch plain {
	case "text/plain", "application/zip", "application/x-ole-storage", "application/json", "text/xml", "application/ogg":
		return true
	}
	return false
}

// canonical are names of types that are in use beside the one by which the
// library knows them.
var canonical = map[string]string{
	"image/jpg":              "image/jpeg",
	"image/heif":             "image/heic",
	"audio/mp3":              "audio/mpeg",
	"audio/x-m4a":            "audio/mp4",
	"audio/m4a":              "audio/mp4",
	"audio/ogg":              "application/ogg",
	"audio/opus":             "audio/ogg",
	"video/ogg":              "application/ogg",
	"audio/webm":             "video/webm",
	"application/xml":        "text/xml",
	"application/javascript": "text/javascript",
	"text/markdown":          "text/plain",
}
