package file

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

type getStore interface {
	// FileFor returns a file that user may have. NotFound: there is none that
	// they may.
	FileFor(ctx context.Context, id, user string) (im.StoredFile, error)
}

type getLinker interface {
	linker
	lister
}

type getRequest struct {
	File     string `json:"file"`
	Download bool   `json:"download"`
}

type got struct {
	File    im.File    `json:"file"`
	URL     string     `json:"url,omitempty"`     // of a complete one
	Expires im.Time    `json:"expires,omitempty"` // of all links here
	Upload  *im.Link   `json:"upload,omitempty"`  // of a pending one that is sent whole
	Parts   []partLink `json:"parts,omitempty"`   // of one that is sent in parts: those that have not arrived
}

// get returns a file and a link to get it by, to who may have it: its owner and
// who takes part in a conversation to which it was sent. The owner of one that
// is pending gets links to go on sending it.
func get(from getStore, store getLinker, life, sendLife time.Duration) func(context.Context, im.Caller, getRequest) (got, error) {
	return func(ctx context.Context, caller im.Caller, in getRequest) (got, error) {
		if err := checkID(in.File); err != nil {
			return got{}, err
		}
		f, err := from.FileFor(ctx, in.File, caller.User)
		if err != nil {
			return got{}, fmt.Errorf("reading a file: %w", err)
		}
		if f.State == im.FileComplete {
			link, err := store.GetLink(ctx, kept+f.ID, f.Name, served(f.Type), !in.Download && shown(f.Type), life)
			return got{File: f.File, URL: link.URL, Expires: link.Expires}, err
		}
		var have []im.UploadPart
		if f.PartSize > 0 {
			if f.Upload == "" {
				return got{}, im.Errorf(im.Conflict, "the file was never begun to be sent: create it again")
			}
			if have, err = store.Parts(ctx, kept+f.ID, f.Upload); err != nil {
				return got{}, fmt.Errorf("reading a file: %w", err)
			}
		}
		s, err := links(ctx, store, f, have, sendLife)
		if err != nil {
			return got{}, err
		}
		out := got{File: s.File, Upload: s.Upload, Parts: s.Parts, Expires: s.Expires}
		if s.Upload != nil {
			out.Expires = s.Upload.Expires
		}
		return out, nil
	}
}

// shown reports whether a browser may show a file of this type where it comes
// from: pictures, sounds and films can do nothing there.
func shown(typ string) bool {
	switch kind, _, _ := strings.Cut(typ, "/"); kind {
	case "audio", "video":
		return true
	case "image":
		return !active(typ)
	}
	return false
}

// active reports whether a browser may find a program in a file of this type.
func active(typ string) bool {
	return strings.HasSuffix(typ, "xml") || strings.HasSuffix(typ, "html") ||
		slices.Contains([]string{"text/javascript", "application/javascript", "application/ecmascript", "text/ecmascript", "text/xsl", "text/xslt", "multipart/x-mixed-replace", "message/rfc822"}, typ)
}

// served returns the media type that a file of this type is handed out under.
func served(typ string) string {
	if active(typ) {
		return im.AnyType
	}
	return typ
}
