package file

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	sweepBatch = 200
	lookAt     = 2000 // objects that are looked at in one sweep, under each prefix

	// unsentAge is how long a complete file may be in no message.
	unsentAge = 24 * time.Hour

	// strayAge is how old something in the store is that is not somebody's who
	// is about to note it.
	strayAge = time.Hour

	// inParts stands for uploads in parts where it is noted how far they are swept.
	inParts = "parts of " + kept
)

type sweepStore interface {
	// ExpireFiles removes, so that they can be swept, pending files that have
	// run out and complete ones that were in no message for age.
	ExpireFiles(ctx context.Context, age time.Duration, limit int) (int, error)
	// RemovedFiles returns files that were removed, after one of them.
	RemovedFiles(ctx context.Context, after string, limit int) ([]im.StoredFile, error)
	// ForgetFile deletes the row of a file that was removed.
	ForgetFile(ctx context.Context, id string) error
	// UnseenGrants returns which of at most limit grants, of messages after one
	// and before a time, history has no message of, and how far it looked.
	UnseenGrants(ctx context.Context, after string, before im.Time, limit int) (unseen []im.FileGrant, last string, looked int, err error)
	// StoredGrants notes that the messages of grants were found.
	StoredGrants(ctx context.Context, grants []im.FileGrant) error
	// RevokeFile takes a grant back.
	RevokeFile(ctx context.Context, g im.FileGrant) error
	// FilesOf returns those of files that there are, in whatever state.
	FilesOf(ctx context.Context, ids []string) (map[string]im.StoredFile, error)

	// UnusedAvatars returns the keys of pictures that have been nobody's for age.
	UnusedAvatars(ctx context.Context, age time.Duration, limit int) ([]string, error)
	// ClaimAvatar makes sure that nobody uses a picture from now on; false if
	// somebody does.
	ClaimAvatar(ctx context.Context, key string) (bool, error)
	// ForgetAvatar deletes the row of a picture that is not in the store.
	ForgetAvatar(ctx context.Context, key string) error
	// AvatarsOf returns which of these keys are noted.
	AvatarsOf(ctx context.Context, keys []string) (map[string]bool, error)

	// SweptTo returns how far the store was looked through under a prefix.
	SweptTo(ctx context.Context, prefix string) (after string, err error)
	// SetSweptTo notes it.
	SetSweptTo(ctx context.Context, prefix, after string) error
}

type archives interface {
	// Archived reports whether the messages of a time have left history.
	Archived(ctx context.Context, at im.Time) (bool, error)
}

type sweepBucket interface {
	// Remove removes an object, if it is there.
	Remove(ctx context.Context, key string) error
	// AbortUpload ends an upload, if it is there.
	AbortUpload(ctx context.Context, key, upload string) error
	// List returns the keys of objects that were not touched for age, after
	// one of them, and the key to go on after, "" if there are no more.
	List(ctx context.Context, prefix, after string, age time.Duration, limit int) (keys []string, last string, err error)
	// Uploads returns uploads under prefix that were begun age ago, after one
	// key, and the key to go on after, "" if there are no more.
	Uploads(ctx context.Context, prefix, after string, age time.Duration, limit int) (old []im.Upload, last string, err error)
}

type sweeper struct {
	rows    sweepStore
	times   archives
	store   sweepBucket
	old     archiver
	comes   time.Duration // for how long after its time a message can come to history
	metrics *metrics
}

// sweep removes what nobody has a use for: files that were not completed in
// time, that are in no message for a day, whose owner is gone before they were
// sent; what was granted by messages that never came; pictures that are nobody's any more; and what is in the store without a
// row, of which it looks through a part each time. It goes on with the rest if
// one of these fails. It may be done twice at once, and be cut off at any step:
// a row goes after all that it stands for.
func (s *sweeper) sweep(ctx context.Context) error {
	return errors.Join(
		doing("expiring files", inBatches(ctx, func(ctx context.Context) (int, error) { return s.rows.ExpireFiles(ctx, unsentAge, sweepBatch) })),
		doing("sweeping files", s.removed(ctx)),
		doing("sweeping avatars", s.unused(ctx)),
		doing("sweeping uploads", s.uploads(ctx)),
		doing("looking through what was sent", s.strays(ctx, uploads, s.ofNoPending)),
		doing("looking through files", s.strays(ctx, kept, s.ofNoFile)),
		doing("looking through avatars", s.strays(ctx, avatars, s.ofNobody)),
		doing("looking for messages that carry files", s.grants(ctx)),
	)
}

func doing(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// inBatches calls f until there was less to do for it than a batch, or it
// failed, or until ctx is done: what is left then is of the next time.
func inBatches(ctx context.Context, f func(context.Context) (done int, err error)) error {
	for ctx.Err() == nil {
		n, err := f(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if n < sweepBatch {
			return nil
		}
	}
	return nil
}

// removed sweeps what was removed, whole: the parts of an upload and what they
// became, what was sent and what was copied of it.
func (s *sweeper) removed(ctx context.Context) error {
	var failed error
	after := ""
	return errors.Join(inBatches(ctx, func(ctx context.Context) (int, error) {
		batch, err := s.rows.RemovedFiles(ctx, after, sweepBatch)
		for _, f := range batch {
			if ctx.Err() != nil {
				break
			}
			after = f.ID
			if err := s.forget(ctx, f); err != nil && failed == nil {
				failed = err // one says it
			}
		}
		return len(batch), err
	}), failed)
}

func (s *sweeper) forget(ctx context.Context, f im.StoredFile) error {
	if f.Upload != "" {
		if err := s.store.AbortUpload(ctx, kept+f.ID, f.Upload); err != nil {
			return err
		}
	}
	for _, key := range []string{uploads + f.ID, kept + f.ID} {
		if err := s.store.Remove(ctx, key); err != nil {
			return err
		}
	}
	err := s.rows.ForgetFile(ctx, f.ID)
	if err == nil {
		s.metrics.count("swept")
	}
	return err
}

func (s *sweeper) unused(ctx context.Context) error {
	return inBatches(ctx, func(ctx context.Context) (int, error) {
		keys, err := s.rows.UnusedAvatars(ctx, strayAge, sweepBatch)
		for _, key := range keys {
			mine, err := s.rows.ClaimAvatar(ctx, key)
			if err == nil && mine {
				err = s.store.Remove(ctx, key)
			}
			if err == nil && mine {
				err = s.rows.ForgetAvatar(ctx, key)
			}
			if err != nil {
				return 0, err
			}
		}
		return len(keys), err
	})
}

// uploads ends uploads in parts of which no pending file knows: of a call that
// was cut off before it could note them. It looks at some at a time, as strays
// does.
func (s *sweeper) uploads(ctx context.Context) error {
	after, err := s.rows.SweptTo(ctx, inParts)
	if err != nil {
		return err
	}
	old, last, err := s.store.Uploads(ctx, kept, after, strayAge, lookAt)
	if err != nil {
		return err
	}
	ids := make([]string, len(old))
	for i, u := range old {
		ids[i] = strings.TrimPrefix(u.Key, kept)
	}
	known, err := s.rows.FilesOf(ctx, ids)
	if err != nil {
		return err
	}
	var failed error
	for i, u := range old {
		if f := known[ids[i]]; f.State == im.FilePending && f.Upload == u.ID {
			continue
		}
		if err := s.store.AbortUpload(ctx, u.Key, u.ID); err != nil && failed == nil {
			failed = err // one says it
		}
	}
	return errors.Join(failed, s.sweptTo(ctx, inParts, after, last))
}

// sweptTo notes how far it was looked, unless there was no time to. What could
// not be removed is met again on the next way round, and keeps nobody from what
// is behind it.
func (s *sweeper) sweptTo(ctx context.Context, prefix, after, last string) error {
	if err := ctx.Err(); err != nil || last == after {
		return err
	}
	return s.rows.SetSweptTo(ctx, prefix, last)
}

// strays removes what stray returns of the keys of objects, some at a time: the
// next sweep goes on where this one ends, and begins anew after the last.
func (s *sweeper) strays(ctx context.Context, prefix string, stray func(context.Context, []string) ([]string, error)) error {
	after, err := s.rows.SweptTo(ctx, prefix)
	if err != nil {
		return err
	}
	keys, last, err := s.store.List(ctx, prefix, after, strayAge, lookAt)
	if err != nil {
		return err
	}
	remove, err := stray(ctx, keys)
	if err != nil {
		return err
	}
	var failed error
	for _, key := range remove {
		if err := s.store.Remove(ctx, key); err != nil && failed == nil {
			failed = err
		}
	}
	return errors.Join(failed, s.sweptTo(ctx, prefix, after, last))
}

// ofNoPending returns which keys of what was sent are of no file that is
// pending.
func (s *sweeper) ofNoPending(ctx context.Context, keys []string) ([]string, error) {
	return s.without(ctx, uploads, keys, func(f im.StoredFile) bool { return f.State == im.FilePending })
}

// ofNoFile returns which keys of files are of none.
func (s *sweeper) ofNoFile(ctx context.Context, keys []string) ([]string, error) {
	return s.without(ctx, kept, keys, func(f im.StoredFile) bool { return f.ID != "" })
}

func (s *sweeper) without(ctx context.Context, prefix string, keys []string, needed func(im.StoredFile) bool) ([]string, error) {
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = strings.TrimPrefix(key, prefix)
	}
	known, err := s.rows.FilesOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	var stray []string
	for i, key := range keys {
		if !needed(known[ids[i]]) {
			stray = append(stray, key)
		}
	}
	return stray, nil
}

// ofNobody returns which keys of pictures nobody has noted.
func (s *sweeper) ofNobody(ctx context.Context, keys []string) ([]string, error) {
	known, err := s.rows.AvatarsOf(ctx, keys)
	if err != nil {
		return nil, err
	}
	var stray []string
	for _, key := range keys {
		if !known[key] {
			stray = append(stray, key)
		}
	}
	return stray, nil
}
