package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	archiving "github.com/tidings-im/tidings/functions/archive"
	"github.com/tidings-im/tidings/shared/archive"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// comes is for how long messages come in these tests.
const comes = 50 * 24 * time.Hour

// granted has a file in a message of an age.
func (s *system) granted(f im.File, age time.Duration) im.FileGrant {
	s.t.Helper()
	g := im.FileGrant{File: f.ID, Conversation: im.Direct(ann, bob), Message: im.NewMessageID(im.TimeOf(time.Now().Add(-age)))}
	if err := s.db.GrantFiles(s.t.Context(), []im.FileGrant{g}); err != nil {
		s.t.Fatal(err)
	}
	return g
}

// said has the messages of grants come to history.
func (s *system) said(grants ...im.FileGrant) {
	s.t.Helper()
	var messages []im.Message
	for _, g := range grants {
		at, _ := im.TimeOfMessageID(g.Message)
		messages = append(messages, im.Message{ID: g.Message, Conversation: g.Conversation, Time: at, From: ann, ClientID: "c", Kind: im.KindFile, Data: json.RawMessage(`{}`)})
	}
	if err := s.db.AppendHistory(s.t.Context(), messages); err != nil {
		s.t.Fatal(err)
	}
}

// archiveMonth archives the month of an age, as far as it is in no object yet.
func (s *system) archiveMonth(age time.Duration) {
	s.t.Helper()
	at := time.Now().Add(-age).UTC()
	month := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	span := im.Span{Starts: im.TimeOf(month), Ends: im.TimeOf(month.AddDate(0, 1, 0)), Source: month.Format("messages_2006_01")}
	_, err := s.db.MakePartition(s.t.Context(), span)
	if err := errors.Join(err, s.db.Detach(s.t.Context(), span)); err != nil {
		s.t.Fatal(err)
	}
}

// withArchive returns a system on which archive-read answers, and a client of it.
func withArchive(t *testing.T, users ...string) (*system, *archive.Client) {
	t.Helper()
	var h http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	s := newSystem(t, map[string]string{"FUNCTION_URL": srv.URL + "/{function}"}, users...)
	var err1, err2 error
	h, err1 = fn.Mount(t.Context(), s.env, archiving.Read)
	client, err2 := archive.Open(t.Context(), s.env)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return s, client
}

func TestAFileIsSweptWhoseMessageNeverCame(t *testing.T) {
	const month = 30 * 24 * time.Hour
	s, client := withArchive(t, ann, bob)
	s.archiveMonth(4 * month)
	file := func(name string) im.File { return s.file(ann, name, "text/plain", []byte(name)) }
	kept := map[string]im.File{}
	keep := func(name string, age time.Duration, came bool) {
		kept[name] = file(name)
		if g := s.granted(kept[name], age); came {
			s.said(g)
		}
	}
	keep("of a message that came", 2*time.Hour, true)
	keep("of an old message", 2*month, true)
	keep("of a message that may still come", comes-24*time.Hour, false)
	keep("of a message that may be under way", 0, false)
	keep("of a message that came after its month was archived", 4*month, true)
	keep("of a message that is archived", 7*month, true)
	s.archiveMonth(7 * month)
	twice := file("in a message that never came, and in one that did")
	kept[twice.Name] = twice
	s.granted(twice, 2*month)
	s.said(s.granted(twice, 2*month))
	gone := []im.File{file("of a message that never came"), file("of one of a month that is archived")}
	s.granted(gone[0], 2*month)
	s.granted(gone[1], 4*month)

	sweep := func(old archiver) error {
		m := s.process(immortal, false)
		m.old = old
		return m.sweeper().grants(t.Context())
	}
	if err := sweep(nowhere{}); !errors.Is(err, errNowhere) {
		t.Errorf("while the archive cannot be asked: %v", err)
	}
	if f, err := s.get(bob, gone[1].ID); err != nil {
		t.Errorf("while the archive cannot be asked, what it may have is gone: %+v, %v", f, err)
	}
	for range 2 { // once it is known, nothing is asked
		if err := sweep(client); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range kept {
		if _, err := s.get(bob, f.ID); err != nil {
			t.Errorf("a file %s is gone: %v", name, err)
		}
	}
	for _, f := range gone {
		if _, err := s.get(bob, f.ID); !errors.Is(err, im.NotFound) {
			t.Errorf("a file %s is there: %v", f.Name, err)
		}
	}
	if n, err := s.db.ExpireFiles(t.Context(), 0, 100); err != nil || n != len(gone) {
		t.Errorf("%d files are to be swept, %v", n, err)
	}
	if err := sweep(forbidden{t}); err != nil {
		t.Error(err)
	}
}

var errNowhere = errors.New("the archive cannot be asked")

type nowhere struct{}

func (nowhere) Find(context.Context, im.Conversation, []string) ([]im.Message, error) {
	return nil, errNowhere
}

// forbidden is an archive that nobody has to ask.
type forbidden struct{ t *testing.T }

func (f forbidden) Find(_ context.Context, _ im.Conversation, ids []string) ([]im.Message, error) {
	f.t.Errorf("the archive is asked for %v", ids)
	return nil, nil
}

// ledger is grants of messages that are not in history, in order.
type ledger struct {
	sweepStore
	grants  []im.FileGrant
	after   string
	most    int // looked at at a time
	revoked map[string]int
}

func (l *ledger) SweptTo(context.Context, string) (string, error) { return l.after, nil }
func (l *ledger) SetSweptTo(_ context.Context, _, after string) error {
	l.after = after
	return nil
}
func (l *ledger) Archived(context.Context, im.Time) (bool, error) { return false, nil }
func (l *ledger) UnseenGrants(_ context.Context, after string, _ im.Time, limit int) (unseen []im.FileGrant, last string, looked int, err error) {
	for _, g := range l.grants {
		if g.Message > after && len(unseen) < limit {
			unseen, last = append(unseen, g), g.Message
		}
	}
	l.most = max(l.most, len(unseen))
	return unseen, last, len(unseen), nil
}
func (l *ledger) RevokeFile(ctx context.Context, g im.FileGrant) error {
	l.revoked[g.File]++
	return ctx.Err()
}

// cut is a context that is done once so many grants were taken back.
type cut struct {
	context.Context
	in   *ledger
	left int
}

func (c *cut) Err() error {
	if len(c.in.revoked) >= c.left {
		return context.DeadlineExceeded
	}
	return nil
}

func TestP7GrantsAreLookedThroughHoweverManyThereAre(t *testing.T) {
	l := &ledger{revoked: map[string]int{}}
	const many = 10*sweepBatch + 3
	for i := range many {
		at := im.TimeOf(time.Now().Add(-2 * comes).Add(time.Duration(i) * time.Millisecond))
		l.grants = append(l.grants, im.FileGrant{File: fmt.Sprint(i), Message: im.NewMessageID(at)})
	}
	s := &sweeper{rows: l, times: l, comes: comes, metrics: newMetrics()}
	runs := 0
	for ; len(l.revoked) < many && runs < 20; runs++ { // each is cut off
		s.grants(&cut{t.Context(), l, len(l.revoked) + 3*sweepBatch - 1})
	}
	if len(l.revoked) != many || runs < 3 || l.most > sweepBatch {
		t.Errorf("of %d grants %d are taken back in %d runs, %d at a time", many, len(l.revoked), runs, l.most)
	}
	if n := testutil.ToFloat64(s.metrics.files.WithLabelValues("ungranted")); n < many-20 || n > many+20*sweepBatch {
		t.Errorf("%v are counted", n)
	}
}
