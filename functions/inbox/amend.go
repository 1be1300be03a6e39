package inbox

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"github.com/tidings-im/tidings/shared/im"
)

// maxAmended is the most messages that one notice amends.
const maxAmended = 100

// readAmended reads the messages that a notice of a conversation amends, as
// they are now.
func readAmended(messages []json.RawMessage, of im.Conversation) ([]content, error) {
	if len(messages) > maxAmended {
		return nil, im.Errorf(im.Invalid, "%d messages are amended; %d are the most", len(messages), maxAmended)
	}
	var amended []content
	for _, m := range messages {
		c, err := read(m)
		switch {
		case err != nil:
			return nil, fmt.Errorf("what is amended: %w", err)
		case c.conversation != of:
			return nil, im.Errorf(im.Invalid, "a message of %s is amended from %s", c.conversation, of)
		case c.revision == 0:
			return nil, im.Errorf(im.Invalid, "a message is amended by what it was first")
		}
		amended = append(amended, c)
	}
	return amended, nil
}

// amends reports whether j amends the message of one of jobs.
func amends(j *job, jobs []job) bool {
	return slices.ContainsFunc(j.amended, func(c content) bool {
		return slices.ContainsFunc(jobs, func(other job) bool { return other.id == c.id })
	})
}

// amend puts what jobs amend into the inboxes of their recipients, in the place
// of what these hold under the same ids with a lesser revision. Done again, in
// whatever order, it ends the same. What an inbox does not hold stays absent.
func (p *persister) amend(ctx context.Context, jobs []job) error {
	return p.replace(ctx, func(yield func(im.Entry) bool) {
		for i := range jobs {
			for _, c := range jobs[i].amended {
				for _, user := range slices.Concat(jobs[i].recipients, jobs[i].former) {
					if !yield(c.entry(user, false)) {
						return
					}
				}
			}
		}
	})
}

// replace amends entries, in parts that the store can take.
func (p *persister) replace(ctx context.Context, all iter.Seq[im.Entry]) error {
	var entries []im.Entry
	size := 0
	flush := func() error {
		if len(entries) == 0 {
			return nil
		}
		err := p.appender.store.Amend(ctx, entries)
		entries, size = entries[:0], 0
		if err != nil {
			return fmt.Errorf("amending what inboxes hold: %w", err)
		}
		return nil
	}
	for e := range all {
		if len(entries) == p.appender.rows || len(entries) > 0 && size+len(e.Message) > maxInsertBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		entries = append(entries, e)
		size += len(e.Message)
	}
	return flush()
}
