package coldstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

const (
	ann = "aaaaaaaaaaaaaaaa"
	bob = "bbbbbbbbbbbbbbbb"
)

func openStore(t testing.TB, vars map[string]string) *Store {
	t.Helper()
	s, err := Open(t.Context(), imtest.Env(t, vars))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func store(t testing.TB) *Store {
	t.Helper()
	return openStore(t, map[string]string{"ARCHIVE_URL": imtest.S3(t) + "/cold/store"})
}

// said returns n messages of each of some conversations, in their order.
func said(conversations, n int) []im.Message {
	var all []im.Message
	for c := range conversations {
		for i := range n {
			at := im.Time(1_700_000_000_000_000 + i*1_000_003)
			all = append(all, im.Message{
				ID: im.NewMessageID(at), Conversation: im.Group(fmt.Sprintf("group%011d", c)), Time: at, From: ann,
				ClientID: fmt.Sprint("c", i), Kind: im.KindText, Text: fmt.Sprintf("message %d of %d", i, c),
			})
		}
	}
	return all
}

// every is messages with every field there is, each at its edges.
func every() []im.Message {
	all := said(1, 6)
	all[0].ReplyTo = all[1].ID
	all[1].Data, all[1].Kind, all[1].Text = json.RawMessage(`{"a": [1.50, null], "é": "\ud83d\ude00"}`), im.KindNotice, ""
	all[2].Revision, all[2].Edited, all[2].Text = 1<<30, all[2].Time+1, strings.Repeat("漢字😀\n\t\"", 20_000)
	all[3].Revision, all[3].Recalled, all[3].Text = 3, true, ""
	all[4].ClientID, all[4].From = "", bob
	all[5].Time++ // its id is of another time
	return all
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	s := store(t)
	want := every()
	part, err := s.Write(t.Context(), 1_700_000_000_000_000, 7, want)
	if err != nil {
		t.Fatal(err)
	}
	if part.Rows != len(want) || part.Number != 7 || !strings.HasPrefix(part.Key, "cold/store/history/2023-11-14T221320/part-00007-") {
		t.Errorf("part = %+v", part)
	}
	if err := s.Verify(t.Context(), part); err != nil {
		t.Error(err)
	}
	got, err := s.Read(t.Context(), part, part.Groups[0])
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%+v, %v\nwant\n%+v", got, err, want)
	}
}

func TestEachRowGroupIsReadByItself(t *testing.T) {
	s := store(t)
	want := said(30, 500)
	part, err := s.Write(t.Context(), 0, 0, want)
	if err != nil {
		t.Fatal(err)
	}
	if len(part.Groups) != 4 {
		t.Errorf("%d messages are in %d row groups", len(want), len(part.Groups))
	}
	for _, g := range part.Groups {
		got, err := s.Read(t.Context(), part, g)
		if err != nil || len(got) != g.Rows || got[0].Key() != g.First || got[len(got)-1].Key() != g.Last {
			t.Fatalf("row group %d: %d messages, %v", g.Number, len(got), err)
		}
		if !reflect.DeepEqual(got, want[:g.Rows]) {
			t.Errorf("row group %d is not what was written", g.Number)
		}
		want = want[g.Rows:]
	}
}

func TestLargeMessagesMakeSmallRowGroups(t *testing.T) {
	all := said(1, 100)
	for i := range all {
		all[i].Text = strings.Repeat("x", 256<<10)
	}
	_, part, err := encode(all)
	if err != nil || len(part.Groups) < 100*256<<10/groupBytes || part.Groups[0].Rows < 2 {
		t.Errorf("%d row groups, %v", len(part.Groups), err)
	}
}

func TestAFilterKeepsRowGroupsFromBeingRead(t *testing.T) {
	_, part, err := encode(said(400, 10))
	if err != nil {
		t.Fatal(err)
	}
	in, out := 0, 0
	for c := range 400 {
		if May(part.Groups[0], im.Group(fmt.Sprintf("group%011d", c))) {
			in++
		}
		if May(part.Groups[0], im.Group(fmt.Sprintf("group%010d!", c))) {
			out++
		}
	}
	if in != 400 || out > 40 {
		t.Errorf("%d of 400 that are in it may be, and %d of 400 that are not", in, out)
	}
	if May(part.Groups[0], im.Direct(ann, bob)) {
		t.Error("what precedes its first conversation may be in it")
	}
}

func TestVerifyFindsWhatIsNotAsItWasWritten(t *testing.T) {
	file, part, err := encode(said(10, 1000))
	if err != nil {
		t.Fatal(err)
	}
	other := said(10, 1000)
	other[1234].Text += "!"
	changed, _, err := encode(other)
	if err != nil {
		t.Fatal(err)
	}
	fewer, _, err := encode(said(10, 1000)[1:])
	if err != nil {
		t.Fatal(err)
	}
	spoilt := bytes.Clone(file)
	spoilt[part.Groups[1].Start+part.Groups[1].Bytes/2] ^= 1
	filter := part
	filter.Groups = slices.Clone(part.Groups)
	filter.Groups[2].Conversations = make([]byte, 32)
	for _, tt := range []struct {
		name string
		file []byte
		part im.Part
		fine bool
	}{
		{"as it was", file, part, true},
		{"a text is another", changed, part, false},
		{"a message is missing", fewer, part, false},
		{"a bit is another", spoilt, part, false},
		{"the end is missing", file[:len(file)-1], part, false},
		{"it is empty", nil, part, false},
		{"it is no Parquet", bytes.Repeat([]byte("PAR1"), 1000), part, false},
		{"a filter would hide a conversation", file, filter, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := verify(tt.file, tt.part); (err == nil) != tt.fine {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestWhatIsInNoOrderIsNotWritten(t *testing.T) {
	all := said(2, 2)
	slices.Reverse(all)
	for _, m := range [][]im.Message{nil, all} {
		if _, _, err := encode(m); im.KindOf(err) != im.Internal {
			t.Errorf("%d messages: %v", len(m), err)
		}
	}
}

func TestObjectsAreListedAndDeleted(t *testing.T) {
	s := store(t)
	var keys []string
	for i := range 3 {
		part, err := s.Write(t.Context(), 0, i, said(1, 1))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, part.Key)
	}
	other, err := s.Write(t.Context(), 1_000_000, 0, said(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Delete(t.Context(), keys[1]); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.List(t.Context(), 0); err != nil || !slices.Equal(got, []string{keys[0], keys[2]}) {
		t.Errorf("there are %q, %v", got, err)
	}
	if got, err := s.List(t.Context(), 1_000_000); err != nil || !slices.Equal(got, []string{other.Key}) {
		t.Errorf("of the other span there are %q, %v", got, err)
	}
	other.Key = keys[1]
	if _, err := s.Read(t.Context(), other, other.Groups[0]); im.KindOf(err) != im.NotFound {
		t.Errorf("what was deleted is read: %v", err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOpen(t *testing.T) {
	const secret = "hunter2"
	for _, tt := range []struct{ name, url string }{
		{"no URL", ""},
		{"no bucket", "http://key:" + secret + "@h/"},
		{"no key", "http://h/bucket"},
		{"no URL of HTTP", "s3://key:" + secret + "@bucket"},
		{"no port", "http://key:" + secret + "@h:x/bucket"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := imtest.Env(t, map[string]string{"ARCHIVE_URL": tt.url})
			_, err := Open(t.Context(), env)
			if err == nil || !strings.Contains(err.Error(), "ARCHIVE_URL") || strings.Contains(err.Error(), secret) {
				t.Errorf("error = %v", err)
			}
			if Configured(env) != (tt.url != "") {
				t.Error("whether it is configured is not told")
			}
		})
	}
}

func TestABucketThatIsNotThereIsMade(t *testing.T) {
	u, err := url.Parse(imtest.S3(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + imtest.Name() + "/cold"
	vars := map[string]string{"ARCHIVE_URL": u.String()}
	for range 2 { // the second time it is there
		if err := EnsureBucket(t.Context(), imtest.Env(t, vars)); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, vars)
	t.Cleanup(func() {
		s.client.DeleteBucket(context.Background(), &s3.DeleteBucketInput{Bucket: &s.bucket})
	})
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := EnsureBucket(t.Context(), imtest.Env(t, nil)); err != nil {
		t.Errorf("without an archive: %v", err)
	}
}

func TestErrorsHaveTheirKinds(t *testing.T) {
	at := imtest.S3(t)
	for _, tt := range []struct {
		name string
		url  string
		want im.Kind
	}{
		{"a store that is down", "http://key:secret@127.0.0.1:1/bucket", im.Unavailable},
		{"a key that is not known", strings.Replace(at, "//", "//x", 1), im.Internal},
		{"a bucket that there is not", at + "x", im.Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := openStore(t, map[string]string{"ARCHIVE_URL": tt.url})
			_, err := s.Write(t.Context(), 0, 0, said(1, 1))
			if im.KindOf(err) != tt.want || strings.Contains(im.ProblemOf(err).Detail, "bucket") {
				t.Errorf("error = %v, of kind %s", err, im.KindOf(err))
			}
		})
	}
}

// A page of history costs two requests, of the metadata and of one row group.
func TestAReadIsTwoRequests(t *testing.T) {
	s := store(t)
	part, err := s.Write(t.Context(), 0, 0, said(30, 500))
	if err != nil {
		t.Fatal(err)
	}
	count := &counting{next: http.DefaultTransport}
	options := s.client.Options()
	options.HTTPClient = &http.Client{Transport: count}
	s.client = s3.New(options)
	if _, err := s.Read(t.Context(), part, part.Groups[2]); err != nil {
		t.Fatal(err)
	}
	if count.requests != 2 || count.bytes >= part.Bytes/2 {
		t.Errorf("%d requests for %d of %d bytes", count.requests, count.bytes, part.Bytes)
	}
}

type counting struct {
	next     http.RoundTripper
	mu       sync.Mutex
	requests int
	bytes    int64
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	if err == nil {
		c.bytes += resp.ContentLength
	}
	return resp, err
}
