package file

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidings-im/tidings/shared/im"
)

type completeStore interface {
	// File returns a file, in whatever state. NotFound: there is none.
	File(ctx context.Context, id string) (im.StoredFile, error)
	// CompleteFile notes that a pending file is complete, as it was found to
	// be, and returns the file, which stays as it is if it was complete before.
	// NotFound: there is none, or not any more.
	CompleteFile(ctx context.Context, f im.File) (im.File, error)
	// RefuseFile removes a file if it is pending.
	RefuseFile(ctx context.Context, id string) (bool, error)
}

type mover interface {
	lister
	// Stat returns what the store says of an object. NotFound: there is none.
	Stat(ctx context.Context, key string) (im.Object, error)
	// Copy makes an object of the bytes that another has. Conflict: they are
	// not there any more.
	Copy(ctx context.Context, o im.Object, key, typ string) error
	// CompleteUpload makes one object of the parts of an upload.
	CompleteUpload(ctx context.Context, key, upload string, parts []im.UploadPart) error
	// Remove removes an object, if it is there.
	Remove(ctx context.Context, key string) error
}

type completeRequest struct {
	File  string     `json:"file"`
	Parts []sentPart `json:"parts"`
}

type sentPart struct {
	Number int    `json:"number"`
	ETag   string `json:"etag"`
}

type completer struct {
	files completeStore
	store mover
	check func(context.Context, im.File, im.Object) (im.File, error) // see checker
	log   func(ctx context.Context, msg string, args ...any)

	metrics *metrics
}

// call looks at what has arrived of a file of the caller, and completes it if
// it is what it was said to be: of this size, hash and type. What is not is
// removed, and the file with it. Called again it gives the same answer.
func (c *completer) call(ctx context.Context, caller im.Caller, in completeRequest) (im.File, error) {
	if err := checkID(in.File); err != nil {
		return im.File{}, err
	}
	if slices.ContainsFunc(in.Parts, func(p sentPart) bool { return p.Number < 1 || p.ETag == "" }) {
		return im.File{}, im.Errorf(im.Invalid, `each of "parts" has a "number" from 1 and the "etag" of the answer to it`)
	}
	f, err := c.files.File(ctx, in.File)
	switch {
	case err != nil:
		return im.File{}, fmt.Errorf("completing a file: %w", err)
	case f.Owner != caller.User, f.State == im.FileRemoved:
		return im.File{}, errGone
	case f.State == im.FileComplete:
		return f.File, nil
	}
	done, err := c.complete(ctx, f, in.Parts)
	var refused refusal
	if errors.Is(err, im.NotFound) || errors.Is(err, im.Conflict) && !errors.As(err, &refused) {
		// What was there may be gone because another call was first.
		if now, readErr := c.files.File(ctx, f.ID); readErr == nil && now.State == im.FileComplete {
			return now.File, nil
		}
	}
	return done, err
}

// complete completes a file that is pending.
func (c *completer) complete(ctx context.Context, f im.StoredFile, said []sentPart) (im.File, error) {
	found, err := c.find(ctx, f, said)
	if err != nil {
		return im.File{}, fmt.Errorf("completing a file: %w", err)
	}
	checked, err := c.check(ctx, f.File, found)
	var refused refusal
	if errors.As(err, &refused) {
		return im.File{}, c.refuse(ctx, f, found.Key, err)
	}
	if err == nil && found.Key != kept+f.ID {
		err = c.store.Copy(ctx, found, kept+f.ID, checked.Type)
	}
	if err != nil {
		return im.File{}, fmt.Errorf("completing a file: %w", err)
	}
	done, err := c.files.CompleteFile(ctx, checked)
	if err != nil {
		return im.File{}, fmt.Errorf("completing a file: %w", err)
	}
	c.metrics.count("completed")
	c.metrics.bytes.Add(float64(done.Size))
	c.clear(ctx, f, found.Key)
	return done, nil
}

// find returns the object that arrived for f, which may be of any size.
func (c *completer) find(ctx context.Context, f im.StoredFile, said []sentPart) (im.Object, error) {
	if f.PartSize == 0 {
		if len(said) > 0 {
			return im.Object{}, im.Errorf(im.Invalid, "the file is not sent in parts")
		}
		return arrived(c.store.Stat(ctx, uploads+f.ID))
	}
	if f.Upload == "" {
		return im.Object{}, im.Errorf(im.Conflict, "the file was never begun to be sent: create it again")
	}
	parts, err := c.store.Parts(ctx, kept+f.ID, f.Upload)
	if errors.Is(err, im.NotFound) { // a call before this one has made one object of them, or is about it
		o, err := c.store.Stat(ctx, kept+f.ID)
		if errors.Is(err, im.NotFound) {
			err = im.Wrap(im.Conflict, err, "the parts of the file are being put together, or are gone: try again in a moment, or create it anew")
		}
		return o, err
	}
	if err != nil {
		return im.Object{}, err
	}
	if err := compare(partsOf(f), parts, said); err != nil {
		return im.Object{}, err
	}
	err = c.store.CompleteUpload(ctx, kept+f.ID, f.Upload, parts)
	if err != nil && !errors.Is(err, im.NotFound) { // which says that another call was first
		return im.Object{}, err
	}
	return arrived(c.store.Stat(ctx, kept+f.ID))
}

func arrived(o im.Object, err error) (im.Object, error) {
	if errors.Is(err, im.NotFound) {
		err = im.Wrap(im.Conflict, err, "nothing of the file has arrived: send it by its link, or get a new one from file-get")
	}
	return o, err
}

// compare reports what is not as it is to be of the parts that have arrived,
// and which of those differ that the client says it has sent.
func compare(want, have []im.UploadPart, said []sentPart) error {
	arrived := make(map[int]im.UploadPart, len(have))
	for _, p := range have {
		arrived[p.Number] = p
	}
	var missing []string
	for _, p := range want {
		if arrived[p.Number].Size != p.Size {
			missing = append(missing, strconv.Itoa(p.Number))
		}
	}
	if len(missing) > 0 {
		list := strings.Join(missing[:min(len(missing), 10)], ", ")
		return im.Errorf(im.Conflict, "%d parts have not arrived: %s; file-get has links for all of them", len(missing), list)
	}
	if len(have) > len(want) {
		return im.Errorf(im.Conflict, "the file has %d parts, and %d have arrived", len(want), len(have))
	}
	for _, p := range said {
		if strings.Trim(p.ETag, `"`) != strings.Trim(arrived[p.Number].ETag, `"`) {
			return im.Errorf(im.Conflict, "part %d that has arrived is another than the one with the ETag %.80q: send it again", p.Number, p.ETag)
		}
	}
	slices.SortFunc(have, func(a, b im.UploadPart) int { return a.Number - b.Number })
	return nil
}

// A refusal is why what arrived is not what the file was said to be.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func refuse(k im.Kind, format string, args ...any) error {
	return refusal{im.Errorf(k, format, args...)}
}

// refuse removes a file, unless another call has completed it meanwhile.
func (c *completer) refuse(ctx context.Context, f im.StoredFile, key string, why error) error {
	was, err := c.files.RefuseFile(ctx, f.ID)
	if err != nil {
		return fmt.Errorf("refusing a file: %w", err)
	}
	if was {
		c.metrics.count("refused")
		c.clear(ctx, f, key)
	}
	return why
}

// clear removes an object that is of no use any more. What it does not remove
// is left to file-sweep.
func (c *completer) clear(ctx context.Context, f im.StoredFile, key string) {
	if key == kept+f.ID && f.State == im.FilePending && f.PartSize > 0 {
		return // it is the file, or of one that was removed
	}
	if err := c.store.Remove(context.WithoutCancel(ctx), key); err != nil {
		c.log(ctx, "what has arrived of a file is left to file-sweep", "file", f.ID, "err", err)
	}
}
