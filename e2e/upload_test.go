package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"testing"
)

// picture returns a PNG of so many pixels, each unlike the next.
func picture(t *testing.T, width, height int) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for x := range width {
		for y := range height {
			img.Set(x, y, color.NRGBA{uint8(x * 7), uint8(y * 5), uint8(x ^ y), 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fileOf is what is said of a file before it is uploaded.
func fileOf(name, typ string, content []byte) request {
	sum := sha256.Sum256(content)
	return request{"name": name, "size": len(content), "type": typ, "sha256": hex.EncodeToString(sum[:])}
}

// An upload is where the bytes of a file go, as file-create says.
type upload struct {
	File   struct{ ID, State string }
	Upload struct {
		Method, URL string
		Headers     map[string]string
	}
}

// put sends the bytes of a file to the storage and returns how that answers.
func (u upload) put(t *testing.T, content []byte) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), u.Upload.Method, u.Upload.URL, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range u.Upload.Headers {
		req.Header.Set(name, v)
	}
	resp, b := send(t, req)
	return resp.StatusCode, string(b)
}

// begin says what is to be uploaded.
func (v visitor) begin(name, typ string, content []byte) (u upload) {
	v.t.Helper()
	if err := json.Unmarshal([]byte(v.must("POST", "/v1/files", fileOf(name, typ, content))), &u); err != nil {
		v.t.Fatal(err)
	}
	return u
}

// uploads uploads a file and returns its id.
func (v visitor) uploads(name, typ string, content []byte) string {
	v.t.Helper()
	u := v.begin(name, typ, content)
	if status, answer := u.put(v.t, content); status != http.StatusOK {
		v.t.Fatalf("uploading %s: %d %s", name, status, answer)
	}
	v.must("POST", "/v1/files/"+u.File.ID+"/complete", nil)
	return u.File.ID
}

// opens returns where the bytes of a file are.
func (v visitor) opens(file string) (url string) {
	v.t.Helper()
	var at struct{ URL string }
	if err := json.Unmarshal([]byte(v.must("GET", "/v1/files/"+file, nil)), &at); err != nil || at.URL == "" {
		v.t.Fatalf("the file %s is at %+v, %v", file, at, err)
	}
	return at.URL
}

// fetch gets what is at a URL, as nobody in particular.
func fetch(t *testing.T, url string, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

// sends sends a file and returns the message.
func (v visitor) sends(to, file, caption string) (id string) {
	v.t.Helper()
	var sent struct{ ID string }
	if err := json.Unmarshal([]byte(v.must("POST", "/v1/messages", request{"to": to, "kind": "file", "file": file, "text": caption})), &sent); err != nil {
		v.t.Fatal(err)
	}
	return sent.ID
}
