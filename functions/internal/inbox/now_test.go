package inbox

import (
	"context"

	"github.com/tidings-im/tidings/shared/im"
)

// past is a history in memory.
type past struct {
	changed []im.Message
	deleted []im.EntryKey
	errs    []error // of the calls to come; nil is none
	calls   int
}

func (p *past) fails() (err error) {
	p.calls++
	if len(p.errs) > 0 {
		err, p.errs = p.errs[0], p.errs[1:]
	}
	return err
}

func (p *past) ChangedMessages(_ context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Message, error) {
	changed := make(map[im.EntryKey]im.Message)
	for _, k := range keys {
		for _, m := range p.changed {
			if m.ID == k.ID && m.Conversation == k.Conversation {
				changed[k] = m
			}
		}
	}
	return changed, p.fails()
}

func (p *past) DeletedMessages(_ context.Context, keys []im.EntryKey) (map[im.EntryKey]bool, error) {
	deleted := make(map[im.EntryKey]bool)
	for _, k := range keys {
		for _, d := range p.deleted {
			if d == k {
				deleted[k] = true
			}
		}
	}
	return deleted, p.fails()
}
