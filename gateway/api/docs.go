package api

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/swaggest/swgui/v5/static"
)

// The page of the API is Swagger UI (https://github.com/swagger-api/swagger-ui),
// told what to show by docs.js. All of it is served from here.
var (
	//go:embed docs.html
	docsPage []byte
	//go:embed docs.css
	docsCSS []byte
	//go:embed docs.js
	docsJS []byte
)

// docsPolicy lets the page load nothing from elsewhere, run no script that is in
// it, and call this server alone. Pictures in data URLs are Swagger UI's own.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// assets are the files of Swagger UI that the page loads, and what they are.
var assets = map[string]string{
	"swagger-ui-bundle.js": "text/javascript; charset=utf-8",
	"swagger-ui.css":       "text/css; charset=utf-8",
	"favicon-32x32.png":    "image/png",
}

// docs adds the page to a mux.
func (a *api) docs(mux *http.ServeMux) error {
	page := a.text("text/html; charset=utf-8", docsPage)
	mux.HandleFunc("GET /docs", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", docsPolicy)
		page(w, r)
	})
	mux.HandleFunc("GET /docs/page.css", a.text("text/css; charset=utf-8", docsCSS))
	mux.HandleFunc("GET /docs/page.js", a.text("text/javascript; charset=utf-8", docsJS))
	for name, media := range assets {
		serve, err := a.asset(name, media)
		if err != nil {
			return fmt.Errorf("reading the page of the API: %w", err)
		}
		mux.HandleFunc("GET /docs/"+name, serve)
	}
	return nil
}

// asset serves a file of Swagger UI, as gzip has it to whoever takes that.
func (a *api) asset(name, media string) (http.HandlerFunc, error) {
	plain, err := static.FS.ReadFile(name)
	if err == nil {
		return cached(a.text(media, plain)), nil
	}
	zipped, err := static.FS.ReadFile(name + ".gz")
	if err != nil {
		return nil, err
	}
	whole := sync.OnceValues(func() ([]byte, error) {
		z, err := gzip.NewReader(bytes.NewReader(zipped))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(z)
	})
	return cached(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			a.text(media, zipped)(w, r)
			return
		}
		b, err := whole()
		if err != nil {
			http.Error(w, "the file cannot be unpacked", http.StatusInternalServerError)
			return
		}
		a.text(media, b)(w, r)
	}), nil
}

// cached lets answers be kept for an hour.
func cached(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		next(w, r)
	}
}
