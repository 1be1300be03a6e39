package file

import (
	"context"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// Where objects are in the store. What a client sends whole arrives under
// uploads/, where its link lets it send again, and is copied from there once it
// was looked at. What is sent in parts is under files/ as soon as it is one
// object, and its links are of no use any more.
const (
	uploads = "uploads/"
	kept    = "files/"
	avatars = "avatars/" // which anybody may get
)

// A linker hands out links to the store.
type linker interface {
	PutLink(ctx context.Context, key string, size int64, sum []byte, life time.Duration) (im.Link, error)
	PartLink(ctx context.Context, key, upload string, number int, size int64, life time.Duration) (im.Link, error)
	GetLink(ctx context.Context, key, name, typ string, inline bool, life time.Duration) (im.Link, error)
}

// A lister knows which parts of an upload have arrived.
type lister interface {
	// Parts returns those parts of an upload that the store has, in their
	// order. NotFound: there is no such upload, or not any more.
	Parts(ctx context.Context, key, upload string) ([]im.UploadPart, error)
}

// partsOf returns the parts that a file is to be sent in.
func partsOf(f im.StoredFile) []im.UploadPart {
	if f.PartSize == 0 {
		return nil
	}
	var parts []im.UploadPart
	for left := f.Size; left > 0; left -= f.PartSize {
		parts = append(parts, im.UploadPart{Number: len(parts) + 1, Size: min(left, f.PartSize)})
	}
	return parts
}

// partLink is one part of an upload, and how to send it.
type partLink struct {
	Number  int               `json:"number"`
	Offset  int64             `json:"offset"` // of its first byte in the file
	Size    int64             `json:"size"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"`
}

// sending is how a file that is pending is to be sent: by one request, or by
// one for each part that the store does not have.
type sending struct {
	File    im.File    `json:"file"`
	Upload  *im.Link   `json:"upload,omitempty"`
	Parts   []partLink `json:"parts,omitempty"`
	Expires im.Time    `json:"expires,omitempty"` // of the links to the parts
}

// links returns links for what the store does not have of a pending file.
func links(ctx context.Context, store linker, f im.StoredFile, have []im.UploadPart, life time.Duration) (sending, error) {
	out := sending{File: f.File}
	life = min(life, time.Until(f.Expires.Std())).Truncate(time.Second)
	if life <= 0 {
		return out, errGone
	}
	if f.PartSize == 0 {
		sum, err := sumOf(f.File)
		if err != nil {
			return out, err
		}
		link, err := store.PutLink(ctx, uploads+f.ID, f.Size, sum, life)
		out.Upload = &link
		return out, err
	}
	arrived := make(map[int]int64, len(have))
	for _, p := range have {
		arrived[p.Number] = p.Size
	}
	for _, p := range partsOf(f) {
		if arrived[p.Number] == p.Size {
			continue
		}
		link, err := store.PartLink(ctx, kept+f.ID, f.Upload, p.Number, p.Size, life)
		if err != nil {
			return out, err
		}
		out.Parts = append(out.Parts, partLink{p.Number, int64(p.Number-1) * f.PartSize, p.Size, link.URL, link.Headers})
		out.Expires = link.Expires
	}
	return out, nil
}

// errGone is of a file that there is not, not any more, or not for the caller.
var errGone = im.Errorf(im.NotFound, "there is no such file")

func checkID(id string) error {
	if !im.IsID(id) {
		return errGone
	}
	return nil
}
