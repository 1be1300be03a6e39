package up

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestWhoComesBeforeWhatRunsApartIsToldToComeAgain(t *testing.T) {
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "it is ", r.Host) }))
	defer behind.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &apart{s3: ln.Addr().String(), ready: make(chan struct{}), patience: time.Millisecond}
	stop := a.accept(ln)
	defer stop()
	functions := httptest.NewServer(a)
	defer functions.Close()

	if status, said := get(t, "http://"+a.s3); status != http.StatusServiceUnavailable || !strings.Contains(said, "<Code>SlowDown</Code>") {
		t.Errorf("its S3 says %d %s", status, said)
	}
	if status, said := get(t, functions.URL+"/archive-read"); status != http.StatusServiceUnavailable || !strings.Contains(said, "try again in a minute") {
		t.Errorf("its functions say %d %s", status, said)
	}

	if status, said := get(t, functions.URL+"/file-sweep"); status != http.StatusNoContent {
		t.Errorf("the clock is told %d %s", status, said)
	}

	a.s3At, a.proxy = strings.TrimPrefix(behind.URL, "http://"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "called ", r.URL.Path) })
	close(a.ready)
	if status, said := get(t, "http://"+a.s3); status != http.StatusOK || said != "it is "+a.s3 { // what is signed holds this name
		t.Errorf("its S3 says %d %s", status, said)
	}
	if status, said := get(t, functions.URL+"/archive-read"); status != http.StatusOK || said != "called /archive-read" {
		t.Errorf("its functions say %d %s", status, said)
	}
}

func TestWhatDoesNotStartApartIsNeverThere(t *testing.T) {
	a := &apart{ready: make(chan struct{}), err: io.ErrUnexpectedEOF}
	close(a.ready)
	functions := httptest.NewServer(a)
	defer functions.Close()
	if status, _ := get(t, functions.URL+"/archive-read"); status != http.StatusServiceUnavailable {
		t.Errorf("its functions say %d", status)
	}
}
