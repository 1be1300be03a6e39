package chat

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// grantTime bounds noting which messages carry files: other messages of their
// conversations wait for it.
const grantTime = 2 * time.Second

type fileStore interface {
	// FilesFor returns those of files that user may have and that are
	// complete, by id.
	FilesFor(ctx context.Context, ids []string, user string) (map[string]im.File, error)
	// GrantFiles notes which messages carry files, all or none of them. To
	// note one again changes nothing. NotFound: one is not there any more.
	GrantFiles(ctx context.Context, grants []im.FileGrant) error
}

// look gives each message that carries a file what is known of it, and sets the
// error of those whose sender may not have the file. Messages without files cost
// nothing.
func (in *ingest) look(ctx context.Context, messages []*message) {
	of := map[string][]*message{} // by sender
	for _, m := range messages {
		if m.err == nil && m.File != "" {
			of[m.From] = append(of[m.From], m)
		}
	}
	for sender, messages := range of {
		var ids []string
		for _, m := range messages {
			ids = append(ids, m.File)
		}
		slices.Sort(ids)
		found, err := in.files.FilesFor(ctx, slices.Compact(ids), sender)
		for _, m := range messages {
			f, ok := found[m.File]
			switch {
			case err != nil:
				m.err = fmt.Errorf("asking whether %s may send file %s: %w", m.From, m.File, err)
			case !ok:
				m.err = im.Errorf(im.NotFound, "you have no file %s that is complete", m.File)
			default:
				m.data, m.err = im.JSON(f.Data())
			}
		}
	}
}

// grant lets those who are to read placed messages have the files that these
// carry, before anybody can read them. Those of which it cannot be noted are
// not written.
func (in *ingest) grant(ctx context.Context, messages []*message) {
	var carriers []*message
	var grants []im.FileGrant
	for _, m := range messages {
		if m.err == nil && m.File != "" {
			carriers = append(carriers, m)
			grants = append(grants, im.FileGrant{File: m.File, Conversation: m.conversation, Message: m.place.ID})
		}
	}
	if len(grants) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, grantTime)
	defer cancel()
	if err := in.files.GrantFiles(ctx, grants); err != nil {
		for i, m := range carriers {
			// One that is gone would fail the others: alone they may not.
			err := err
			if len(grants) > 1 && im.KindOf(err) == im.NotFound {
				err = in.files.GrantFiles(ctx, grants[i:i+1])
			}
			if err != nil {
				m.err = fmt.Errorf("granting file %s: %w", m.File, err)
			}
		}
	}
}
