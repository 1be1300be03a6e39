package api

import (
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/tidings-im/tidings"
)

func TestThePages(t *testing.T) {
	url, calls := serve(t, tidings.OpenAPI, yes)
	for _, tt := range []struct {
		path, accept string
		status       int
		media, csp   string
		says         string
	}{
		{"/docs", "", 200, "text/html; charset=utf-8", "style-src 'self'", "swagger-ui"},
		{"/docs/page.css", "", 200, "text/css; charset=utf-8", "default-src 'none'", "body"},
		{"/docs/page.js", "", 200, "text/javascript; charset=utf-8", "default-src 'none'", "/openapi.yaml"},
		{"/docs/swagger-ui-bundle.js", "", 200, "text/javascript; charset=utf-8", "default-src 'none'", "SwaggerUIBundle"},
		{"/docs/swagger-ui.css", "", 200, "text/css; charset=utf-8", "default-src 'none'", ".swagger-ui"},
		{"/docs/favicon-32x32.png", "", 200, "image/png", "default-src 'none'", "PNG"},
		{"/openapi.yaml", "", 200, "application/yaml", "default-src 'none'", "openapi: 3.1.0"},
		{"/asyncapi.yaml", "", 200, "application/yaml", "default-src 'none'", "asyncapi: 3.0.0"},
		{"/", "text/html,application/xhtml+xml;q=0.9", 302, "text/html; charset=utf-8", "default-src 'none'", "/docs"},
		{"/", "application/json", 404, problemJSON, "default-src 'none'", "/docs"},
		{"/docs/swagger-ui.js", "", 404, problemJSON, "default-src 'none'", "/docs"},
	} {
		resp, body := do(t, "GET", url+tt.path, "", "Accept", tt.accept)
		h := resp.Header
		if resp.StatusCode != tt.status || h.Get("Content-Type") != tt.media || !strings.Contains(h.Get("Content-Security-Policy"), tt.csp) || !strings.Contains(body, tt.says) {
			t.Errorf("%s for %q: %s %v\n%.200s", tt.path, tt.accept, resp.Status, h, body)
		}
		if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", tt.path, csp)
		}
		if tt.status != http.StatusOK {
			continue
		}
		if resp, _ := do(t, "DELETE", url+tt.path, ""); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "OPTIONS, GET" {
			t.Errorf("deleting %s: %s, %s", tt.path, resp.Status, resp.Header.Get("Allow"))
		}
	}
	if len(*calls) > 0 {
		t.Errorf("called %+v", *calls)
	}
}

// The page asks for nothing but what is served here, and holds no script or style
// itself, which its policy would not let be.
func TestThePageOfTheAPILoadsWhatIsServed(t *testing.T) {
	url, _ := serve(t, tidings.OpenAPI, yes)
	_, page := do(t, "GET", url+"/docs", "")
	loads := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(loads) < 6 {
		t.Errorf("the page loads only %q", loads)
	}
	for _, m := range loads {
		if resp, _ := do(t, "GET", url+m[1], ""); !strings.HasPrefix(m[1], "/") || resp.StatusCode != http.StatusOK {
			t.Errorf("the page loads %s: %s", m[1], resp.Status)
		}
	}
	if regexp.MustCompile(`<style|<script>| on[a-z]+=| style=`).MatchString(page) {
		t.Error("the page holds a script or a style")
	}
}

// Swagger UI is large: whoever takes it compressed is sent a third.
func TestLargeFilesAreSentCompressed(t *testing.T) {
	url, _ := serve(t, tidings.OpenAPI, yes)
	_, plain := do(t, "GET", url+"/docs/swagger-ui-bundle.js", "", "Accept-Encoding", "identity")
	resp, zipped := do(t, "GET", url+"/docs/swagger-ui-bundle.js", "", "Accept-Encoding", "gzip")
	if resp.Header.Get("Content-Encoding") != "gzip" || 2*len(zipped) > len(plain) {
		t.Fatalf("%d bytes of %d, %s", len(zipped), len(plain), resp.Header)
	}
	z, err := gzip.NewReader(strings.NewReader(zipped))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != plain {
		t.Errorf("it unpacks to %d bytes: %v", len(got), err)
	}
}
