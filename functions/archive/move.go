package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	ahead      = 13 // months of which there are partitions, this one among them
	strayMost  = 24 // months that partitions are made of in one run, because something of them is there
	partRows   = 1 << 16
	partBytes  = 32 << 20 // of messages, which a part is made of in memory
	lateAtOnce = 500
)

// A store is where history is, and the catalog of what was moved from there.
type store interface {
	finder

	// Partitions returns the partitions of history, the earliest first.
	Partitions(ctx context.Context) ([]im.Span, error)
	// StrayMonths returns when months start of which there are messages that no
	// partition takes.
	StrayMonths(ctx context.Context, before im.Time, limit int) ([]im.Time, error)
	// MakePartition makes one, and moves into it what is there of its time. If its
	// time has one, or is archived, nothing is made.
	MakePartition(ctx context.Context, span im.Span) (moved int64, err error)
	// MoveLate moves what no partition takes, and whose time is archived, to what
	// came late.
	MoveLate(ctx context.Context) (int64, error)
	// Unseen returns messages that came late of which the archive was not asked.
	Unseen(ctx context.Context, limit int) ([]im.Message, error)
	// Seen deletes those of them that the archive has, and notes that it has not
	// the others.
	Seen(ctx context.Context, messages []im.Message, archived func(im.Message) bool) error

	// Detach makes a span of a partition: nothing is changed in it any more.
	Detach(ctx context.Context, span im.Span) error
	// Detached returns the spans of which something is in no object.
	Detached(ctx context.Context) ([]im.Span, error)
	// NextPart returns the number of the next part of a span, and after which
	// message it begins.
	NextPart(ctx context.Context, span im.Span) (number int, after im.Key, err error)
	// ReadSource returns the messages of a span that follow one, as they are now:
	// at most so many, and no more once they hold so many bytes. NotFound: all of
	// it is in objects by now.
	ReadSource(ctx context.Context, span im.Span, after im.Key, most, bytes int) ([]im.Message, error)
	// AddPart notes a part, with those of its messages that were recalled.
	// Conflict: another did.
	AddPart(ctx context.Context, part im.Part, recalled []im.Message) error
	// PartKeys returns the names of the objects of a span.
	PartKeys(ctx context.Context, span im.Time) ([]string, error)
	// Drop drops the source of a span, all of which is in parts. Conflict: it is
	// not.
	Drop(ctx context.Context, span im.Span) error
}

// cold is where objects are.
type cold interface {
	objects
	// Check reports whether objects can be written at all.
	Check(ctx context.Context) error
	// Write writes messages of a span, which stand in their order, into a new
	// object.
	Write(ctx context.Context, span im.Time, number int, messages []im.Message) (im.Part, error)
	// Verify reads an object and reports what is not as its part says.
	Verify(ctx context.Context, part im.Part) error
	// List returns the names of all objects of a span.
	List(ctx context.Context, span im.Time) ([]string, error)
	Delete(ctx context.Context, key string) error
}

// A mover makes partitions and archives them.
type mover struct {
	store   store
	objects cold          // nil if there are none
	read    *reader       // of objects
	after   time.Duration // how old what is archived is; 0 is nothing
	rows    int           // messages in a part
	log     *slog.Logger
	metrics *metrics
}

// run makes partitions ahead, then moves old ones, a part at a time, for as
// long as ctx lasts; what is left is of the next run. It may be done twice at
// once, and be cut off at any step: a month leaves history, and its rows leave
// the database, each in one transaction, and in between whatever has been written
// and is in the catalog is not written again.
func (m *mover) run(ctx context.Context) error {
	now := time.Now()
	err := m.partitions(ctx, now)
	if m.objects == nil {
		return err
	}
	// What was begun is finished, even if no more is to be archived.
	parts, archiveErr := m.archive(ctx, now)
	err = errors.Join(err, archiveErr, m.late(ctx))
	if ctx.Err() != nil && parts > 0 {
		return nil
	}
	return err
}

// month returns the span of the month, in UTC, that holds t, n months later.
func month(t time.Time, n int) im.Span {
	first := time.Date(t.UTC().Year(), t.UTC().Month()+time.Month(n), 1, 0, 0, 0, 0, time.UTC)
	return im.Span{Starts: im.TimeOf(first), Ends: im.TimeOf(first.AddDate(0, 1, 0)), Source: "messages_" + first.Format("2006_01")}
}

// partitions makes the partitions of this month and those after it, and of
// earlier ones of which something has come.
func (m *mover) partitions(ctx context.Context, now time.Time) error {
	if n, err := m.store.MoveLate(ctx); err != nil {
		return err
	} else if n > 0 {
		m.log.InfoContext(ctx, "messages came after their month was archived", "count", n)
	}
	have, err := m.store.Partitions(ctx)
	if err != nil {
		return err
	}
	var wanted []im.Span
	for n := range ahead {
		wanted = append(wanted, month(now, n))
	}
	stray, err := m.store.StrayMonths(ctx, month(now, ahead).Starts, strayMost)
	if err != nil {
		return err
	}
	for _, at := range stray {
		wanted = append(wanted, month(at.Std(), 0))
	}
	for _, span := range wanted {
		if slices.ContainsFunc(have, func(p im.Span) bool { return p.Starts < span.Ends && p.Ends > span.Starts }) {
			continue
		}
		moved, err := m.store.MakePartition(ctx, span)
		if err != nil {
			return err
		}
		have = append(have, span)
		m.log.InfoContext(ctx, "a partition of messages was made", "partition", span.Source, "moved", moved)
	}
	return nil
}

// archive archives the partitions that are old enough, the earliest first, and
// returns how many parts it has written.
func (m *mover) archive(ctx context.Context, now time.Time) (parts int, err error) {
	begun, err := m.store.Detached(ctx)
	if err != nil {
		return 0, err
	}
	m.metrics.waiting.Set(float64(len(begun)))
	old := im.TimeOf(now.Add(-m.after))
	for _, span := range begun {
		m.behind(span, old)
		n, err := m.span(ctx, span)
		if parts += n; err != nil {
			return parts, err
		}
		m.metrics.waiting.Dec()
	}
	if m.after == 0 {
		m.metrics.behind.Set(0)
		return parts, nil
	}
	have, err := m.store.Partitions(ctx)
	if err != nil {
		return parts, err
	}
	for _, span := range have {
		if span.Ends > old {
			break
		}
		m.behind(span, old)
		// While nothing can be written the database keeps it.
		if err := m.objects.Check(ctx); err != nil {
			return parts, err
		}
		if err := m.store.Detach(ctx, span); err != nil {
			return parts, err
		}
		m.log.InfoContext(ctx, "a month is being archived", "partition", span.Source)
		m.metrics.waiting.Inc()
		n, err := m.span(ctx, span)
		if parts += n; err != nil {
			return parts, err
		}
		m.metrics.waiting.Dec()
	}
	m.metrics.behind.Set(0)
	return parts, nil
}

// behind notes that a span is yet to be archived of which all messages are to be
// that are before old.
func (m *mover) behind(span im.Span, old im.Time) {
	m.metrics.behind.Set(max(0, old.Std().Sub(span.Ends.Std()).Seconds()))
}

// span writes what of a span is in no object yet, reads it back, and drops its
// rows.
func (m *mover) span(ctx context.Context, span im.Span) (parts int, err error) {
	for done := false; !done; parts++ {
		if err := ctx.Err(); err != nil {
			return parts, im.Wrap(im.Unavailable, err, "there is no time left to archive %s", span.Source)
		}
		done, err = m.part(ctx, span)
		if err != nil && !errors.Is(err, im.Conflict) { // another run has written the same
			return parts, err
		}
	}
	if err := m.clean(ctx, span); err != nil {
		return parts, err
	}
	if err := m.store.Drop(ctx, span); err != nil {
		return parts, err
	}
	m.log.InfoContext(ctx, "a month is archived", "partition", span.Source)
	return parts, nil
}

// part writes the next part of a span, reads it back and notes it, or reports
// that there is none.
func (m *mover) part(ctx context.Context, span im.Span) (done bool, err error) {
	number, after, err := m.store.NextPart(ctx, span)
	if err != nil {
		return false, err
	}
	messages, err := m.store.ReadSource(ctx, span, after, m.rows, partBytes)
	if errors.Is(err, im.NotFound) { // another run has come to the end
		return true, nil
	}
	if err != nil || len(messages) == 0 {
		return err == nil, err
	}
	part, err := m.objects.Write(ctx, span.Starts, number, messages)
	if err != nil {
		return false, err
	}
	err = m.objects.Verify(ctx, part)
	if err == nil {
		err = m.store.AddPart(ctx, part, recalled(messages))
	}
	switch {
	case err == nil:
		m.metrics.rows.Add(float64(part.Rows))
		return false, nil
	case im.KindOf(err) == im.Unavailable: // it may have been noted: who cleans the span knows
		return false, err
	}
	return false, errors.Join(err, m.objects.Delete(ctx, part.Key))
}

func recalled(messages []im.Message) []im.Message {
	var out []im.Message
	for _, m := range messages {
		if m.Recalled {
			out = append(out, m)
		}
	}
	return out
}

// clean deletes the objects of a span that are in no catalog: those of runs
// that were cut off between writing one and noting it.
func (m *mover) clean(ctx context.Context, span im.Span) error {
	there, err := m.objects.List(ctx, span.Starts)
	if err != nil {
		return err
	}
	// Read after that: what is noted meanwhile is in it.
	known, err := m.store.PartKeys(ctx, span.Starts)
	if err != nil {
		return err
	}
	for _, key := range there {
		if !slices.Contains(known, key) {
			if err := m.objects.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// late asks the archive for messages that came after their time was archived:
// what it has is a repeat, and goes; what it has not stays beside it.
func (m *mover) late(ctx context.Context) error {
	for ctx.Err() == nil {
		messages, err := m.store.Unseen(ctx, lateAtOnce)
		if err != nil || len(messages) == 0 {
			return err
		}
		var had row
		archived := make(map[im.Key]bool)
		for _, late := range messages {
			_, ok, err := m.read.archived(ctx, late.Key(), &had)
			if err != nil {
				return fmt.Errorf("asking the archive for message %s, which came late: %w", late.ID, err)
			}
			archived[late.Key()] = ok
		}
		if err := m.store.Seen(ctx, messages, func(m im.Message) bool { return archived[m.Key()] }); err != nil {
			return err
		}
	}
	return nil
}
