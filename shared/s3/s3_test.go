package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func opened(t *testing.T, vars map[string]string) *Store {
	t.Helper()
	if vars["S3_URL"] == "" {
		vars["S3_URL"] = imtest.S3(t)
	}
	s, err := Open(t.Context(), imtest.Env(t, vars))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// follow does what a link says, with changes.
func follow(t *testing.T, link im.Link, body []byte, change ...func(*http.Request)) (status int, answer []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), link.Method, link.URL, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range link.Headers {
		req.Header.Set(k, v)
	}
	for _, c := range change {
		c(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func send(t *testing.T, s *Store, key string, b []byte) im.Object {
	t.Helper()
	sum := sha256.Sum256(b)
	link, err := s.PutLink(t.Context(), key, int64(len(b)), sum[:], time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := follow(t, link, b); status != http.StatusOK {
		t.Fatalf("sending by a link: %d %s", status, answer)
	}
	o, err := s.Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestALinkTakesTheBytesThatItWasMadeForAndNoOthers(t *testing.T) {
	s := opened(t, map[string]string{})
	said := []byte("what was said")
	sum := sha256.Sum256(said)
	for _, tt := range []struct {
		name   string
		body   string
		life   time.Duration
		change func(*http.Request)
		ok     bool
	}{
		{"as it was made", string(said), time.Minute, nil, true},
		{"fewer bytes", "what was sai", time.Minute, nil, false},
		{"more bytes", "what was said.", time.Minute, nil, false},
		{"other bytes", "what was SAID", time.Minute, nil, false},
		{"without the hash", string(said), time.Minute, func(r *http.Request) { r.Header.Del(checksum) }, false},
		{"other bytes and their hash", "what was SAID", time.Minute, func(r *http.Request) {
			r.Header.Set(checksum, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
		}, false},
		{"another key", string(said), time.Minute, func(r *http.Request) { r.URL.Path += "x" }, false},
		{"a longer life", string(said), time.Minute, func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Expires=60", "X-Amz-Expires=6000", 1)
		}, false},
		{"another signature", string(said), time.Minute, func(r *http.Request) {
			q := r.URL.Query()
			q.Set("X-Amz-Signature", strings.Repeat("0", 64))
			r.URL.RawQuery = q.Encode()
		}, false},
		{"no signature", string(said), time.Minute, func(r *http.Request) { r.URL.RawQuery = "" }, false},
		{"another method", "", time.Minute, func(r *http.Request) { r.Method = http.MethodDelete }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key := "uploads/" + imtest.Name()
			link, err := s.PutLink(t.Context(), key, int64(len(said)), sum[:], tt.life)
			if err != nil {
				t.Fatal(err)
			}
			change := tt.change
			if change == nil {
				change = func(*http.Request) {}
			}
			status, answer := follow(t, link, []byte(tt.body), change)
			if ok := status == http.StatusOK; ok != tt.ok {
				t.Errorf("it answers %d %s", status, answer)
			}
			o, err := s.Stat(t.Context(), key)
			if tt.ok {
				if err != nil || o.Size != int64(len(said)) || !bytes.Equal(o.SHA256, sum[:]) {
					t.Errorf("the object is %+v, %v", o, err)
				}
			} else if !errors.Is(err, im.NotFound) {
				t.Errorf("something arrived: %+v, %v", o, err)
			}
		})
	}
}

func TestALinkThatHasRunOutIsOfNoUse(t *testing.T) {
	s := opened(t, map[string]string{})
	send(t, s, "files/a", []byte("here"))
	sum := sha256.Sum256([]byte("b"))
	put, err := s.PutLink(t.Context(), "uploads/b", 1, sum[:], 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	get, err := s.GetLink(t.Context(), "files/a", "a", "text/plain", false, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := follow(t, get, nil); status != http.StatusOK {
		t.Fatalf("before it runs out: %d", status)
	}
	imtest.Until(t, "a link of three seconds has run out", func() bool {
		status, _ := follow(t, get, nil)
		return status == http.StatusForbidden
	})
	if status, _ := follow(t, put, []byte("b")); status != http.StatusForbidden {
		t.Errorf("sending by a link that has run out: %d", status)
	}
	if im.Now() < get.Expires {
		t.Errorf("it says that it works until %s", get.Expires)
	}
}

func TestAnObjectIsHandedOutUnderItsNameAndTypeAndInRanges(t *testing.T) {
	s := opened(t, map[string]string{})
	send(t, s, "files/a", []byte("0123456789"))
	for _, tt := range []struct {
		name, typ   string
		inline      bool
		disposition string
	}{
		{"a.txt", "text/plain", false, `attachment; filename=a.txt`},
		{`x "y"; z.png`, "image/png", true, `inline; filename="x \"y\"; z.png"`},
		{"día 年.pdf", "application/pdf", false, `attachment; filename*=utf-8''d%C3%ADa%20%E5%B9%B4.pdf`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			link, err := s.GetLink(t.Context(), "files/a", tt.name, tt.typ, tt.inline, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			req, _ := http.NewRequestWithContext(t.Context(), link.Method, link.URL, nil)
			req.Header.Set("Range", "bytes=2-4")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != http.StatusPartialContent || string(b) != "234" {
				t.Errorf("a range: %d %q", resp.StatusCode, b)
			}
			if got := resp.Header.Get("Content-Type"); got != tt.typ {
				t.Errorf("type %q", got)
			}
			if got := resp.Header.Get("Content-Disposition"); got != tt.disposition {
				t.Errorf("disposition %q", got)
			}
			for what, change := range map[string]func(url.Values){
				"another name": func(q url.Values) { q.Set("response-content-disposition", "inline") },
				"another type": func(q url.Values) { q.Set("response-content-type", "text/html") },
				"no signature": func(q url.Values) { clear(q) },
			} {
				status, _ := follow(t, link, nil, func(r *http.Request) {
					q := r.URL.Query()
					change(q)
					r.URL.RawQuery = q.Encode()
				})
				if status != http.StatusForbidden {
					t.Errorf("with %s it answers %d", what, status)
				}
			}
		})
	}
}

func TestPartsArriveOneByOneAndBecomeOneObject(t *testing.T) {
	s := opened(t, map[string]string{})
	ctx := t.Context()
	first, second := bytes.Repeat([]byte("1"), 5<<20), []byte("the end")
	id, err := s.StartUpload(ctx, "files/a", "text/plain")
	if err != nil {
		t.Fatal(err)
	}
	put := func(n int, b []byte, size int) int {
		link, err := s.PartLink(ctx, "files/a", id, n, int64(size), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		status, _ := follow(t, link, b)
		return status
	}
	if status := put(2, second, len(second)); status != http.StatusOK {
		t.Fatalf("the second part: %d", status)
	}
	if status := put(1, []byte("short"), len(first)); status == http.StatusOK {
		t.Error("a part of another size was taken")
	}
	parts, err := s.Parts(ctx, "files/a", id)
	if err != nil || len(parts) != 1 || parts[0].Number != 2 || parts[0].Size != int64(len(second)) {
		t.Fatalf("parts are %+v, %v", parts, err)
	}
	if status := put(1, first, len(first)); status != http.StatusOK {
		t.Fatalf("the first part: %d", status)
	}
	if parts, err = s.Parts(ctx, "files/a", id); err != nil || len(parts) != 2 {
		t.Fatalf("parts are %+v, %v", parts, err)
	}
	if err := s.CompleteUpload(ctx, "files/a", id, parts); err != nil {
		t.Fatal(err)
	}
	if status := put(2, []byte("the END"), len(second)); status == http.StatusOK {
		t.Error("a part was taken after the upload was completed")
	}
	o, err := s.Stat(ctx, "files/a")
	if err != nil || o.Size != int64(len(first)+len(second)) || o.SHA256 != nil {
		t.Errorf("the object is %+v, %v", o, err)
	}
	if got := read(t, s, o, 0); !bytes.Equal(got, append(first, second...)) {
		t.Errorf("it has %d other bytes", len(got))
	}
	if _, err := s.Parts(ctx, "files/a", id); !errors.Is(err, im.NotFound) {
		t.Errorf("parts of an upload that was completed: %v", err)
	}
	if err := s.CompleteUpload(ctx, "files/a", id, parts); err != nil && !errors.Is(err, im.NotFound) {
		t.Errorf("completing it again: %v", err)
	}
	if again, err := s.Stat(ctx, "files/a"); err != nil || again.ETag != o.ETag {
		t.Errorf("completed again it is %+v, %v", again, err)
	}
}

func TestAnUploadThatIsEndedLeavesNothing(t *testing.T) {
	s := opened(t, map[string]string{})
	ctx := t.Context()
	id, err := s.StartUpload(ctx, "files/a", "text/plain")
	if err != nil {
		t.Fatal(err)
	}
	if old, last, err := s.Uploads(ctx, "files/", "", 0, 10); err != nil || last != "" || len(old) != 1 || old[0] != (im.Upload{Key: "files/a", ID: id}) {
		t.Errorf("uploads are %v, %v", old, err)
	}
	if old, _, err := s.Uploads(ctx, "files/", "", time.Hour, 10); err != nil || len(old) != 0 {
		t.Errorf("old uploads are %v, %v", old, err)
	}
	for range 2 {
		if err := s.AbortUpload(ctx, "files/a", id); err != nil {
			t.Fatal(err)
		}
	}
	if old, _, err := s.Uploads(ctx, "files/", "", 0, 10); err != nil || len(old) != 0 {
		t.Errorf("uploads are %v, %v", old, err)
	}
}

func TestUploadsAreListedSomeAtATime(t *testing.T) {
	s := opened(t, map[string]string{})
	ctx := t.Context()
	var want []string
	for i := range 7 {
		key := fmt.Sprint("files/", i)
		if _, err := s.StartUpload(ctx, key, "text/plain"); err != nil {
			t.Fatal(err)
		}
		want = append(want, key)
	}
	var got []string
	for after, pages := "", 0; ; pages++ {
		old, last, err := s.Uploads(ctx, "files/", after, 0, 3)
		if err != nil || len(old) > 3 || pages > 3 {
			t.Fatal(old, last, err)
		}
		for _, u := range old {
			got = append(got, u.Key)
		}
		if after = last; last == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("uploads are %v", got)
	}
}

func read(t *testing.T, s *Store, o im.Object, most int64) []byte {
	t.Helper()
	body, err := s.Read(t.Context(), o, most)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhatWasLookedAtIsWhatIsReadAndCopied(t *testing.T) {
	s := opened(t, map[string]string{})
	ctx := t.Context()
	o := send(t, s, "uploads/a", []byte("good"))
	if got := string(read(t, s, o, 2)); got != "go" {
		t.Errorf("its beginning is %q", got)
	}
	if err := s.Copy(ctx, o, "files/a", "text/plain"); err != nil {
		t.Fatal(err)
	}
	send(t, s, "uploads/a", []byte("evil"))
	if _, err := s.Read(ctx, o, 0); !errors.Is(err, im.Conflict) {
		t.Errorf("reading what is there no more: %v", err)
	}
	if err := s.Copy(ctx, o, "files/a", "text/plain"); !errors.Is(err, im.Conflict) {
		t.Errorf("copying what is there no more: %v", err)
	}
	kept, err := s.Stat(ctx, "files/a")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(read(t, s, kept, 0)); got != "good" {
		t.Errorf("the copy is %q", got)
	}
	for range 2 {
		if err := s.Remove(ctx, "uploads/a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Copy(ctx, o, "files/a", "text/plain"); !errors.Is(err, im.Conflict) && !errors.Is(err, im.NotFound) {
		t.Errorf("copying what was removed: %v", err)
	}
}

func TestObjectsAreListedInPagesAndNotTheYoung(t *testing.T) {
	s := opened(t, map[string]string{})
	ctx := t.Context()
	for _, key := range []string{"files/c", "files/a", "files/b", "uploads/a"} {
		send(t, s, key, []byte(key))
	}
	var all []string
	after := ""
	for {
		keys, last, err := s.List(ctx, "files/", after, 0, 2)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, keys...)
		if after = last; last == "" {
			break
		}
	}
	if want := []string{"files/a", "files/b", "files/c"}; !slices.Equal(all, want) {
		t.Errorf("listed %v", all)
	}
	if keys, last, err := s.List(ctx, "files/", "", time.Hour, 10); err != nil || len(keys) != 0 || last != "" {
		t.Errorf("the old are %v, %q, %v", keys, last, err)
	}
}

func TestAnybodyGetsWhatIsPublicAndNothingElse(t *testing.T) {
	vars := map[string]string{"S3_URL": imtest.S3(t)}
	for range 2 {
		if err := EnsureBucket(t.Context(), imtest.Env(t, vars)); err != nil {
			t.Fatal(err)
		}
	}
	s := opened(t, vars)
	ctx := t.Context()
	if err := s.Put(ctx, "avatars/a.jpg", []byte("face"), "image/jpeg"); err != nil {
		t.Fatal(err)
	}
	send(t, s, "files/a", []byte("private"))
	for key, want := range map[string]int{"avatars/a.jpg": http.StatusOK, "files/a": http.StatusForbidden, "avatars/": http.StatusNotFound, "": http.StatusForbidden} {
		at, err := s.PublicURL(ctx, "avatars/a.jpg")
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get(strings.TrimSuffix(at, "avatars/a.jpg") + key)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want && !(want >= 400 && resp.StatusCode >= 400) {
			t.Errorf("anybody who asks for %q gets %d %.200s", key, resp.StatusCode, b)
		}
		if want == http.StatusOK {
			if got := resp.Header.Get("Content-Type"); got != "image/jpeg" || string(b) != "face" {
				t.Errorf("it is %s %q", got, b)
			}
			if got := resp.Header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
				t.Errorf("it is kept for %q", got)
			}
		}
	}
}

func TestABucketThatIsNotThereIsMade(t *testing.T) {
	u, err := url.Parse(imtest.S3(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + imtest.Name()
	vars := map[string]string{"S3_URL": u.String()}
	if err := EnsureBucket(t.Context(), imtest.Env(t, vars)); err != nil {
		t.Fatal(err)
	}
	s := opened(t, vars)
	t.Cleanup(func() { s.core.RemoveBucket(context.Background(), s.bucket) })
	if _, err := s.Stat(t.Context(), "a"); !errors.Is(err, im.NotFound) {
		t.Errorf("asking it for nothing: %v", err)
	}
	if err := EnsureBucket(t.Context(), imtest.Env(t, nil)); err != nil {
		t.Errorf("without a store: %v", err)
	}
}

// Clients reach the store by another name than we do, through something that
// leaves the Host header as it is.
func TestLinksAreMadeForTheAddressThatClientsReach(t *testing.T) {
	at := imtest.S3(t)
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	behind := &url.URL{Scheme: u.Scheme, Host: u.Host}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(behind)
		r.Out.Host = r.In.Host
	}})
	defer proxy.Close()
	public := strings.Replace(proxy.URL, "127.0.0.1", "localhost", 1)
	s := opened(t, map[string]string{"S3_URL": at, "S3_PUBLIC_URL": public})
	send(t, s, "files/a", []byte("here"))
	link, err := s.GetLink(t.Context(), "files/a", "a", "text/plain", false, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(link.URL, public+"/") {
		t.Errorf("the link is %s", link.URL)
	}
	if status, b := follow(t, link, nil); status != http.StatusOK || string(b) != "here" {
		t.Errorf("it gets %d %s", status, b)
	}
}

func TestSettingsThatMakeNoSenseAreToldWithoutTheirSecret(t *testing.T) {
	for _, vars := range []map[string]string{
		{},
		{"S3_URL": "s3.example.org/bucket"},
		{"S3_URL": "https://key:hush@s3.example.org"},
		{"S3_URL": "https://key:hush@s3.example.org/a/b"},
		{"S3_URL": "https://s3.example.org/bucket?hush"},
		{"S3_URL": "https://key:hush@s3.example.org/bucket", "S3_PUBLIC_URL": "files.example.org"},
		{"S3_URL": "https://key:hush@s3.example.org/bucket", "S3_PUBLIC_URL": "https://files.example.org/path"},
	} {
		_, err := Open(t.Context(), imtest.Env(t, vars))
		if err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%v: %v", vars, err)
		}
	}
}

func TestAStoreThatIsDownIsUnavailable(t *testing.T) {
	s := opened(t, map[string]string{"S3_URL": fmt.Sprintf("http://key:secret@127.0.0.1:%d/bucket", imtest.FreePort(t))})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := s.Stat(ctx, "a")
	if !errors.Is(err, im.Unavailable) || im.DependencyOf(err) != "s3" {
		t.Errorf("it says %v", err)
	}
	if _, err := s.PutLink(ctx, "a", 1, make([]byte, 32), time.Minute); err != nil {
		t.Errorf("a link needs no store: %v", err)
	}
}
