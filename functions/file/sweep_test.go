package file

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// attic is rows and a store of uploads in parts that are all old. Pending files
// know of those with an even number.
type attic struct {
	sweepStore
	sweepBucket
	uploads []im.Upload // in order
	stuck   string      // key of one that cannot be ended
	after   string
	looked  int // at most at a time
}

func (a *attic) SweptTo(context.Context, string) (string, error) { return a.after, nil }

func (a *attic) SetSweptTo(_ context.Context, _, after string) error {
	a.after = after
	return nil
}

func (a *attic) FilesOf(_ context.Context, ids []string) (map[string]im.StoredFile, error) {
	known := map[string]im.StoredFile{}
	for _, id := range ids {
		if n := id[len(id)-1]; n%2 == 0 {
			known[id] = im.StoredFile{File: im.File{ID: id, State: im.FilePending}, Upload: "of " + id}
		}
	}
	return known, nil
}

func (a *attic) Uploads(_ context.Context, _, after string, _ time.Duration, limit int) (old []im.Upload, last string, err error) {
	for _, u := range a.uploads {
		if u.Key > after {
			if old = append(old, u); len(old) == limit {
				last = u.Key
				break
			}
		}
	}
	a.looked = max(a.looked, len(old))
	return old, last, nil
}

func (a *attic) AbortUpload(_ context.Context, key, _ string) error {
	if key == a.stuck {
		return errors.New("it is stuck")
	}
	for i, u := range a.uploads {
		if u.Key == key {
			a.uploads = append(a.uploads[:i:i], a.uploads[i+1:]...)
			break
		}
	}
	return nil
}

// Those that are needed, and one that cannot be ended, keep nobody from what is
// behind them.
func TestP7UploadsAreSweptHoweverManyThereAre(t *testing.T) {
	a := &attic{}
	const many = 3 * lookAt
	for i := range many {
		id := fmt.Sprintf("%016d", i)
		a.uploads = append(a.uploads, im.Upload{Key: kept + id, ID: "of " + id})
	}
	a.stuck = a.uploads[1].Key
	s := &sweeper{rows: a, store: a, metrics: newMetrics()}
	stuck := 0
	for range 2 * many / lookAt {
		if err := s.uploads(t.Context()); err != nil {
			stuck++
		}
	}
	if len(a.uploads) != many/2+1 || a.looked > lookAt || stuck == 0 {
		t.Errorf("%d uploads are left, of which %d are needed and 1 is stuck, which is said %d times", len(a.uploads), many/2, stuck)
	}
}
