package file

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	maxParts   = 100 // of an upload: links to all of them are in one answer
	maxPending = 100 // files of a user that are not complete
)

type createStore interface {
	// CreateFile adds a pending file, unless there is one of its id, and
	// returns that which there is then. TooLarge: it is beyond the quota.
	CreateFile(ctx context.Context, f im.StoredFile, quota int64, pending int) (im.StoredFile, error)
	// SetUpload notes the upload of a pending file, unless it has one, and
	// returns that which it has then.
	SetUpload(ctx context.Context, id, upload string) (string, error)
}

type createLinker interface {
	linker
	lister
	// StartUpload begins an upload in parts and returns its id.
	StartUpload(ctx context.Context, key, typ string) (string, error)
	// AbortUpload ends an upload and removes its parts.
	AbortUpload(ctx context.Context, key, upload string) error
}

type limiter interface {
	// Allow counts that a user does it once more. Overloaded: that is too often.
	Allow(ctx context.Context, user string) error
}

type createRequest struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	Type   string `json:"type"`
	SHA256 string `json:"sha256"`
}

type creator struct {
	files    createStore
	store    createLinker
	limit    limiter
	max      int64 // bytes of a file
	part     int64 // bytes of a part; a file of no more is sent whole
	quota    int64 // bytes of all files of a user
	life     time.Duration
	linkLife time.Duration
	now      func() im.Time
	metrics  *metrics
}

// call notes that the caller is about to send a file, and hands out links to
// send it by. Called again with the same Idempotency-Key, it returns links for
// what has not arrived of the same file.
func (c *creator) call(ctx context.Context, caller im.Caller, in createRequest) (sending, error) {
	typ, err := im.CheckFile(in.Name, in.Size, c.max, in.Type, in.SHA256)
	if err != nil {
		return sending{}, err
	}
	if err := c.limit.Allow(ctx, caller.User); err != nil {
		return sending{}, err
	}
	now := c.now()
	f := im.StoredFile{
		File: im.File{
			ID: im.NewID(), Name: in.Name, Size: in.Size, Type: typ, SHA256: in.SHA256,
			State: im.FilePending, Created: now,
		},
		Owner: caller.User, PartSize: partSize(in.Size, c.part), Expires: im.TimeOf(now.Std().Add(c.life)),
	}
	if key := fn.KeyOf(ctx); key != "" {
		f.ID = im.FileID(caller.User, key)
	}
	stored, err := c.files.CreateFile(ctx, f, c.quota, maxPending)
	if err != nil {
		return sending{}, fmt.Errorf("creating a file: %w", err)
	}
	if stored.Created == now { // and not by a call before
		c.metrics.count("created")
	}
	switch {
	case stored.Owner != caller.User, stored.SHA256 != f.SHA256, stored.Size != f.Size, stored.Name != f.Name:
		return sending{}, im.Errorf(im.Conflict, "this %s was used for another file", fn.IdempotencyKey)
	case stored.State == im.FileComplete:
		return sending{File: stored.File}, nil
	case stored.State != im.FilePending:
		return sending{}, im.Errorf(im.Conflict, "this %s was used for a file that is not there any more", fn.IdempotencyKey)
	}
	var have []im.UploadPart
	if stored.PartSize > 0 {
		if have, err = c.upload(ctx, &stored); err != nil {
			return sending{}, fmt.Errorf("creating a file: %w", err)
		}
	}
	return links(ctx, c.store, stored, have, c.linkLife)
}

// upload sees to it that there is an upload for the parts of f, and returns
// those that have arrived.
func (c *creator) upload(ctx context.Context, f *im.StoredFile) ([]im.UploadPart, error) {
	if f.Upload != "" {
		return c.store.Parts(ctx, kept+f.ID, f.Upload)
	}
	begun, err := c.store.StartUpload(ctx, kept+f.ID, f.Type)
	if err != nil {
		return nil, err
	}
	if f.Upload, err = c.files.SetUpload(ctx, f.ID, begun); err != nil {
		return nil, err
	}
	if f.Upload != begun { // another call was first
		return nil, c.store.AbortUpload(ctx, kept+f.ID, begun)
	}
	return nil, nil
}

// partSize returns the size of the parts that a file is sent in, or 0 if it is
// sent whole: part, or as many MiB more as it takes for there not to be too many.
func partSize(size, part int64) int64 {
	const mebi = 1 << 20
	if size <= part {
		return 0
	}
	least := (size + maxParts - 1) / maxParts
	return max(part, (least+mebi-1)/mebi*mebi)
}

func sumOf(f im.File) ([]byte, error) {
	sum, err := hex.DecodeString(f.SHA256)
	return sum, im.Wrap(im.Internal, err, "the hash of the file cannot be read")
}
