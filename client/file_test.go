package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

// depot is a gateway and a store for one file, of parts of four bytes if it is
// in parts.
type depot struct {
	*httptest.Server
	t       *testing.T
	inParts bool
	fails   string // number of a part that does not arrive
	said    map[string]any
	file    im.File
	arrived map[string]string // by part, or ""
}

const someFile = "ffffffffffffffff"

func newDepot(t *testing.T, inParts bool) *depot {
	d := &depot{t: t, inParts: inParts, arrived: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/files", func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&d.said); err != nil {
			t.Error(err)
		}
		size, _ := d.said["size"].(float64)
		d.file = im.File{ID: someFile, Size: int64(size), State: im.FilePending}
		d.missing(w)
	})
	mux.HandleFunc("GET /v1/files/"+someFile, func(w http.ResponseWriter, _ *http.Request) { d.missing(w) })
	mux.HandleFunc("POST /v1/files/"+someFile+"/complete", func(w http.ResponseWriter, _ *http.Request) {
		d.file.State = im.FileComplete
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(d.file)
	})
	mux.HandleFunc("PUT /store", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		part := r.URL.Query().Get("part")
		if r.Header.Get("X-Signed") != "yes" || r.ContentLength != int64(len(b)) || r.Header.Get("Authorization") != "" {
			t.Errorf("sent with %v", r.Header)
		}
		if part == d.fails && part != "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		d.arrived[part] = string(b)
	})
	d.Server = httptest.NewServer(mux)
	t.Cleanup(d.Close)
	return d
}

func (d *depot) missing(w http.ResponseWriter) {
	out := map[string]any{"file": d.file}
	signed := map[string]string{"X-Signed": "yes"}
	if d.file.State == im.FilePending && !d.inParts {
		out["upload"] = im.Link{Method: "PUT", URL: d.URL + "/store", Headers: signed}
	}
	var parts []any
	for at := int64(0); d.inParts && at < d.file.Size; at += 4 {
		number := strconv.FormatInt(at/4+1, 10)
		if d.arrived[number] == "" {
			parts = append(parts, map[string]any{
				"number": at/4 + 1, "offset": at, "size": min(4, d.file.Size-at), "url": d.URL + "/store?part=" + number, "headers": signed,
			})
		}
	}
	out["parts"] = parts
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(out)
}

func TestAFileIsUploadedWholeOrInParts(t *testing.T) {
	for _, inParts := range []bool{false, true} {
		d := newDepot(t, inParts)
		api := &API{URL: d.URL}
		f, err := api.Upload(t.Context(), "token", "a.txt", "text/plain", strings.NewReader("0123456789"), 10)
		if err != nil || f.State != im.FileComplete {
			t.Fatalf("it is %+v, %v", f, err)
		}
		const hash = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882" // of 0123456789
		if d.said["name"] != "a.txt" || d.said["type"] != "text/plain" || d.said["sha256"] != hash {
			t.Errorf("it said %v", d.said)
		}
		if got := d.arrived[""] + d.arrived["1"] + d.arrived["2"] + d.arrived["3"]; got != "0123456789" {
			t.Errorf("arrived has %q", d.arrived)
		}
	}
}

func TestAnUploadThatIsCutOffIsResumed(t *testing.T) {
	d := newDepot(t, true)
	d.fails = "2"
	api := &API{URL: d.URL}
	content := bytes.NewReader([]byte("0123456789"))
	f, err := api.Upload(t.Context(), "token", "a.txt", "", content, 10)
	if !errors.Is(err, im.Unavailable) || f.ID != someFile || f.State != im.FilePending {
		t.Fatalf("cut off it is %+v, %v", f, err)
	}
	d.fails = ""
	d.arrived["1"] = "sent" // and is not sent again
	for range 2 {
		f, err = api.Resume(t.Context(), "token", f.ID, content)
		if err != nil || f.State != im.FileComplete {
			t.Fatalf("resumed it is %+v, %v", f, err)
		}
	}
	if d.arrived["1"] != "sent" || d.arrived["2"] != "4567" || d.arrived["3"] != "89" {
		t.Errorf("arrived has %q", d.arrived)
	}
}
