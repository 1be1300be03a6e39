package file

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/s3"
)

// mortal is a process that is killed before one of its steps: that and each
// later one is not done. With after it dies after the step instead, so that it is done
// and nobody hears of it.
type mortal struct {
	db    *pgtest.DB
	store *s3.Store
	old   archiver
	left  int
	after bool
}

var errKilled = errors.New("killed")

func step[T any](m *mortal, f func() (T, error)) (T, error) {
	var none T
	if m.left < 0 {
		return none, errKilled
	}
	m.left--
	if m.left >= 0 {
		return f()
	}
	if m.after {
		f()
	}
	return none, errKilled
}

func do(m *mortal, f func() error) error {
	_, err := step(m, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

func (m *mortal) File(ctx context.Context, id string) (im.StoredFile, error) {
	return step(m, func() (im.StoredFile, error) { return m.db.File(ctx, id) })
}
func (m *mortal) CompleteFile(ctx context.Context, f im.File) (im.File, error) {
	return step(m, func() (im.File, error) { return m.db.CompleteFile(ctx, f) })
}
func (m *mortal) RefuseFile(ctx context.Context, id string) (bool, error) {
	return step(m, func() (bool, error) { return m.db.RefuseFile(ctx, id) })
}
func (m *mortal) CreateFile(ctx context.Context, f im.StoredFile, quota int64, pending int) (im.StoredFile, error) {
	return step(m, func() (im.StoredFile, error) { return m.db.CreateFile(ctx, f, quota, pending) })
}
func (m *mortal) SetUpload(ctx context.Context, id, upload string) (string, error) {
	return step(m, func() (string, error) { return m.db.SetUpload(ctx, id, upload) })
}
func (m *mortal) Parts(ctx context.Context, key, upload string) ([]im.UploadPart, error) {
	return step(m, func() ([]im.UploadPart, error) { return m.store.Parts(ctx, key, upload) })
}
func (m *mortal) Stat(ctx context.Context, key string) (im.Object, error) {
	return step(m, func() (im.Object, error) { return m.store.Stat(ctx, key) })
}
func (m *mortal) Read(ctx context.Context, o im.Object, most int64) (io.ReadCloser, error) {
	return step(m, func() (io.ReadCloser, error) { return m.store.Read(ctx, o, most) })
}
func (m *mortal) Copy(ctx context.Context, o im.Object, key, typ string) error {
	return do(m, func() error { return m.store.Copy(ctx, o, key, typ) })
}
func (m *mortal) CompleteUpload(ctx context.Context, key, upload string, parts []im.UploadPart) error {
	return do(m, func() error { return m.store.CompleteUpload(ctx, key, upload, parts) })
}
func (m *mortal) StartUpload(ctx context.Context, key, typ string) (string, error) {
	return step(m, func() (string, error) { return m.store.StartUpload(ctx, key, typ) })
}
func (m *mortal) AbortUpload(ctx context.Context, key, upload string) error {
	return do(m, func() error { return m.store.AbortUpload(ctx, key, upload) })
}
func (m *mortal) Remove(ctx context.Context, key string) error {
	return do(m, func() error { return m.store.Remove(ctx, key) })
}
func (m *mortal) PutLink(ctx context.Context, key string, size int64, sum []byte, life time.Duration) (im.Link, error) {
	return m.store.PutLink(ctx, key, size, sum, life)
}
func (m *mortal) PartLink(ctx context.Context, key, upload string, number int, size int64, life time.Duration) (im.Link, error) {
	return m.store.PartLink(ctx, key, upload, number, size, life)
}
func (m *mortal) GetLink(ctx context.Context, key, name, typ string, inline bool, life time.Duration) (im.Link, error) {
	return m.store.GetLink(ctx, key, name, typ, inline, life)
}
func (m *mortal) Put(ctx context.Context, key string, b []byte, typ string) error {
	return do(m, func() error { return m.store.Put(ctx, key, b, typ) })
}
func (m *mortal) PublicURL(ctx context.Context, key string) (string, error) {
	return m.store.PublicURL(ctx, key)
}
func (m *mortal) AddAvatar(ctx context.Context, key, user string) error {
	return do(m, func() error { return m.db.AddAvatar(ctx, key, user) })
}
func (m *mortal) SetAvatar(ctx context.Context, key, url, user string) (im.Self, error) {
	return step(m, func() (im.Self, error) { return m.db.SetAvatar(ctx, key, url, user) })
}
func (m *mortal) ExpireFiles(ctx context.Context, age time.Duration, limit int) (int, error) {
	return step(m, func() (int, error) { return m.db.ExpireFiles(ctx, age, limit) })
}
func (m *mortal) UnseenGrants(ctx context.Context, after string, before im.Time, limit int) (unseen []im.FileGrant, last string, looked int, err error) {
	unseen, err = step(m, func() (unseen []im.FileGrant, err error) {
		unseen, last, looked, err = m.db.UnseenGrants(ctx, after, before, limit)
		return unseen, err
	})
	return unseen, last, looked, err
}
func (m *mortal) StoredGrants(ctx context.Context, grants []im.FileGrant) error {
	return do(m, func() error { return m.db.StoredGrants(ctx, grants) })
}
func (m *mortal) RevokeFile(ctx context.Context, g im.FileGrant) error {
	return do(m, func() error { return m.db.RevokeFile(ctx, g) })
}
func (m *mortal) Archived(ctx context.Context, at im.Time) (bool, error) {
	return step(m, func() (bool, error) { return m.db.Archived(ctx, at) })
}
func (m *mortal) RemovedFiles(ctx context.Context, after string, limit int) ([]im.StoredFile, error) {
	return step(m, func() ([]im.StoredFile, error) { return m.db.RemovedFiles(ctx, after, limit) })
}
func (m *mortal) ForgetFile(ctx context.Context, id string) error {
	return do(m, func() error { return m.db.ForgetFile(ctx, id) })
}
func (m *mortal) FilesOf(ctx context.Context, ids []string) (map[string]im.StoredFile, error) {
	return step(m, func() (map[string]im.StoredFile, error) { return m.db.FilesOf(ctx, ids) })
}
func (m *mortal) UnusedAvatars(ctx context.Context, _ time.Duration, limit int) ([]string, error) {
	return step(m, func() ([]string, error) { return m.db.UnusedAvatars(ctx, 0, limit) })
}
func (m *mortal) ClaimAvatar(ctx context.Context, key string) (bool, error) {
	return step(m, func() (bool, error) { return m.db.ClaimAvatar(ctx, key) })
}
func (m *mortal) ForgetAvatar(ctx context.Context, key string) error {
	return do(m, func() error { return m.db.ForgetAvatar(ctx, key) })
}
func (m *mortal) AvatarsOf(ctx context.Context, keys []string) (map[string]bool, error) {
	return step(m, func() (map[string]bool, error) { return m.db.AvatarsOf(ctx, keys) })
}
func (m *mortal) SweptTo(ctx context.Context, prefix string) (string, error) {
	return step(m, func() (string, error) { return m.db.SweptTo(ctx, prefix) })
}
func (m *mortal) SetSweptTo(ctx context.Context, prefix, after string) error {
	return do(m, func() error { return m.db.SetSweptTo(ctx, prefix, after) })
}

// What is old to a sweep is what is there already.
func (m *mortal) List(ctx context.Context, prefix, after string, _ time.Duration, limit int) ([]string, string, error) {
	var last string
	keys, err := step(m, func() (keys []string, err error) {
		keys, last, err = m.store.List(ctx, prefix, after, 0, limit)
		return keys, err
	})
	return keys, last, err
}
func (m *mortal) Uploads(ctx context.Context, prefix, after string, _ time.Duration, limit int) ([]im.Upload, string, error) {
	var last string
	old, err := step(m, func() (old []im.Upload, err error) {
		old, last, err = m.store.Uploads(ctx, prefix, after, 0, limit)
		return old, err
	})
	return old, last, err
}

const immortal = 1 << 30

func (s *system) process(left int, after bool) *mortal {
	return &mortal{db: s.db, store: s.store, left: left, after: after}
}

func (m *mortal) sweeper() *sweeper {
	return &sweeper{rows: m, times: m, store: m, old: m.old, comes: comes, metrics: newMetrics()}
}

func (m *mortal) completer() *completer {
	return &completer{files: m, store: m, check: newChecker(m, 1, 1).check, log: func(context.Context, string, ...any) {}, metrics: newMetrics()}
}

// killed calls f with a process that is killed before, or after, each of the
// steps of f in turn, until it outlives f.
func (s *system) killed(t *testing.T, f func(*mortal) error, then func()) {
	t.Helper()
	for _, after := range []bool{false, true} {
		for n := 0; ; n++ {
			if n > 100 {
				t.Fatal("it never ends")
			}
			m := s.process(n, after)
			err := f(m)
			if err != nil && !errors.Is(err, errKilled) {
				t.Fatalf("killed at step %d: %v", n, err)
			}
			then()
			if m.left >= 0 {
				break
			}
		}
	}
}

func TestAFileIsCompletedWhateverStepTheFirstTryDiedAt(t *testing.T) {
	s := newSystem(t, map[string]string{"FILE_PART_BYTES": "5242880"}, ann)
	for _, tt := range []struct {
		name string
		b    []byte
	}{
		{"sent whole", []byte("hello")},
		{"sent in parts", bytes.Repeat([]byte("hello, "), 5<<20/7+10)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var id string
			next := func() { id = s.send(ann, "a.txt", "text/plain", tt.b).ID }
			next()
			s.killed(t, func(m *mortal) error {
				_, err := m.completer().call(t.Context(), im.Caller{User: ann}, completeRequest{File: id})
				return err
			}, func() {
				if _, err := s.complete(ann, id); err != nil {
					t.Fatalf("completed again: %v", err)
				}
				have, err := s.get(ann, id)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, b := s.follow(im.Link{Method: "GET", URL: have.URL}, nil); !bytes.Equal(b, tt.b) {
					t.Errorf("it has %d bytes", len(b))
				}
				next()
			})
		})
	}
}

func TestAFileIsBegunWhateverStepTheFirstTryDiedAt(t *testing.T) {
	s := newSystem(t, map[string]string{"FILE_PART_BYTES": "5242880"}, ann)
	b := bytes.Repeat([]byte("hello, "), 5<<20/7+10)
	in := newFile("a.txt", "text/plain", b)
	s.killed(t, func(m *mortal) error {
		c := &creator{files: m, store: m, limit: anything{}, max: 1 << 30, part: minPart, quota: 1 << 30, life: time.Hour, linkLife: time.Hour, now: im.Now, metrics: newMetrics()}
		_, err := c.call(t.Context(), im.Caller{User: ann}, in)
		return err
	}, func() {})
	sweepAll(t, s)
	// Two outlived it, and one died when all was done.
	if old, _, err := s.store.Uploads(t.Context(), "", "", 0, 1000); err != nil || len(old) != 3 {
		t.Errorf("there are %d uploads, %v", len(old), err)
	}
}

// An operator sees what becomes of files.
func TestFilesAreCounted(t *testing.T) {
	s := newSystem(t, nil, ann)
	ctx, m, counted := t.Context(), s.process(immortal, false), newMetrics()
	c := &creator{files: m, store: m, limit: anything{}, max: 1 << 30, part: minPart, quota: 1 << 30, life: time.Hour, linkLife: time.Hour, now: im.Now, metrics: counted}
	done := m.completer()
	done.metrics = counted
	for i, body := range []string{"hello, ann", "something else"} {
		out, err := c.call(ctx, im.Caller{User: ann}, newFile("a.txt", "text/plain", []byte("hello, ann")))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.store.Put(ctx, uploads+out.File.ID, []byte(body), "text/plain"); err != nil {
			t.Fatal(err)
		}
		for range 2 { // again is nothing new
			if _, err := done.call(ctx, im.Caller{User: ann}, completeRequest{File: out.File.ID}); (err != nil) != (i == 1) {
				t.Errorf("%q: %v", body, err)
			}
		}
	}
	if err := (&sweeper{rows: m, times: m, store: m, metrics: counted}).sweep(ctx); err != nil {
		t.Fatal(err)
	}
	for outcome, want := range map[string]float64{"created": 2, "completed": 1, "refused": 1, "swept": 1} {
		if got := testutil.ToFloat64(counted.files.WithLabelValues(outcome)); got != want {
			t.Errorf("%s: %g, want %g", outcome, got, want)
		}
	}
	if got := testutil.ToFloat64(counted.bytes); got != float64(len("hello, ann")) {
		t.Errorf("%g bytes", got)
	}
}

func sweepAll(t *testing.T, s *system) {
	t.Helper()
	m := s.process(immortal, false)
	if err := m.sweeper().sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestSweepingLeavesWhatIsNeededAndNothingElseWhereverItDies(t *testing.T) {
	s := newSystem(t, map[string]string{"FILE_PART_BYTES": "5242880"}, ann, bob)
	ctx := t.Context()
	parts := bytes.Repeat([]byte("hello, "), 5<<20/7+10)
	sent := s.file(ann, "sent.txt", "text/plain", []byte("sent"))
	s.grant(sent, im.Direct(ann, bob))
	picture := s.file(ann, "a.png", "image/png", drawn(t, 600, 300, "image/png"))
	s.grant(picture, im.Direct(ann, bob))
	face, err := call[im.Self](s, ann, SetAvatar, avatarRequest{File: picture.ID})
	if err != nil {
		t.Fatal(err)
	}
	waiting := s.send(ann, "waiting.txt", "text/plain", []byte("waiting"))
	inParts := s.send(ann, "parts.txt", "text/plain", parts)
	litter := func() {
		t.Helper()
		for _, key := range []string{kept + "nobodys", uploads + "nobodys", avatars + "nobodys.jpg", uploads + sent.ID} {
			if err := s.store.Put(ctx, key, []byte("x"), "text/plain"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.store.StartUpload(ctx, kept+"nobodys", "text/plain"); err != nil {
			t.Fatal(err)
		}
		for _, f := range []im.File{
			s.send(ann, "refused.txt", "text/plain", []byte("refused")),
			s.send(ann, "refused-parts.txt", "text/plain", parts),
		} {
			if _, err := s.db.RefuseFile(ctx, f.ID); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.db.AddAvatar(ctx, avatars+im.NewID()+".jpg", ann); err != nil {
			t.Fatal(err)
		}
	}
	litter()
	s.killed(t, func(m *mortal) error { return m.sweeper().sweep(ctx) }, func() {
		sweepAll(t, s)
		for _, f := range []im.File{sent, picture} {
			if have, err := s.get(bob, f.ID); err != nil {
				t.Fatal(err)
			} else if status, _, _ := s.follow(im.Link{Method: "GET", URL: have.URL}, nil); status != 200 {
				t.Errorf("%s is gone: %d", f.Name, status)
			}
		}
		if status, _, _ := s.follow(im.Link{Method: "GET", URL: face.Avatar}, nil); status != 200 {
			t.Errorf("the avatar is gone: %d", status)
		}
		if n := len(s.keys(kept)); n != 2 {
			t.Errorf("there are %d files: %v", n, s.keys(kept))
		}
		if n := len(s.keys(uploads)); n != 1 {
			t.Errorf("there are %d uploads: %v", n, s.keys(uploads))
		}
		if n := len(s.keys(avatars)); n != 1 {
			t.Errorf("there are %d avatars: %v", n, s.keys(avatars))
		}
		if old, _, err := s.store.Uploads(ctx, "", "", 0, 100); err != nil || len(old) != 1 {
			t.Errorf("there are uploads in parts: %v, %v", old, err)
		}
		litter()
	})
	for _, f := range []im.File{waiting, inParts} {
		if _, err := s.complete(ann, f.ID); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}
