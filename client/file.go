package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/tidings-im/tidings/shared/im"
)

// A FileLink is a file, and where it is to be had for a while.
type FileLink struct {
	File    im.File `json:"file"`
	URL     string  `json:"url"` // for one GET or more, whole or in ranges; "" while the file is pending
	Expires im.Time `json:"expires"`
}

// pendingFile is a file and what the store does not have of it.
type pendingFile struct {
	File   im.File  `json:"file"`
	Upload *im.Link `json:"upload"`
	Parts  []struct {
		Offset  int64             `json:"offset"`
		Size    int64             `json:"size"`
		URL     string            `json:"url"`
		Headers map[string]string `json:"headers"`
	} `json:"parts"`
}

// Upload makes a file of size bytes of content, which are read twice: for their
// hash, and to be sent. An empty typ is told by the content. What it returns is
// complete and can be sent in messages.
//
// If it fails after the file was created, the file is returned beside the error:
// Resume goes on with it.
func (a *API) Upload(ctx context.Context, accessToken, name, typ string, content io.ReaderAt, size int64) (im.File, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(content, 0, size)); err != nil {
		return im.File{}, fmt.Errorf("reading %s: %w", name, err)
	}
	in := struct {
		Name   string `json:"name"`
		Size   int64  `json:"size"`
		Type   string `json:"type,omitempty"`
		SHA256 string `json:"sha256"`
	}{name, size, typ, hex.EncodeToString(h.Sum(nil))}
	var p pendingFile
	if _, err := a.call(ctx, "POST", "/v1/files", accessToken, in, &p); err != nil {
		return im.File{}, err
	}
	return a.send(ctx, accessToken, p, content)
}

// Resume goes on with an upload that was cut off: it sends of content what has
// not arrived of the file, and completes it. Of a file that is complete it does
// nothing.
func (a *API) Resume(ctx context.Context, accessToken, file string, content io.ReaderAt) (im.File, error) {
	var p pendingFile
	if _, err := a.call(ctx, "GET", "/v1/files/"+url.PathEscape(file), accessToken, nil, &p); err != nil {
		return im.File{}, err
	}
	return a.send(ctx, accessToken, p, content)
}

func (a *API) send(ctx context.Context, accessToken string, p pendingFile, content io.ReaderAt) (im.File, error) {
	if p.File.State == im.FileComplete {
		return p.File, nil
	}
	if p.Upload != nil {
		if err := a.put(ctx, p.Upload.URL, p.Upload.Headers, io.NewSectionReader(content, 0, p.File.Size)); err != nil {
			return p.File, err
		}
	}
	for _, part := range p.Parts {
		if err := a.put(ctx, part.URL, part.Headers, io.NewSectionReader(content, part.Offset, part.Size)); err != nil {
			return p.File, err
		}
	}
	var f im.File
	if _, err := a.call(ctx, "POST", "/v1/files/"+p.File.ID+"/complete", accessToken, nil, &f); err != nil {
		return p.File, err
	}
	return f, nil
}

// put sends bytes by a link to the store.
func (a *API) put(ctx context.Context, url string, headers map[string]string, b *io.SectionReader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, io.NopCloser(b))
	if err != nil {
		return im.Wrap(im.Internal, err, "the server gave a link that is none")
	}
	req.ContentLength = b.Size()
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	hc := a.HTTP
	if hc == nil {
		hc = http.DefaultClient
	}
	resp, err := hc.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return im.Wrap(im.Unavailable, err, "the store of files does not answer")
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode != http.StatusOK {
		return im.Errorf(kindOf(resp.StatusCode), "the store of files answered with status %d", resp.StatusCode)
	}
	return nil
}

// File returns a file that the caller may have, and a link to it: with download
// set, one that browsers save.
func (a *API) File(ctx context.Context, accessToken, file string, download bool) (FileLink, error) {
	path := "/v1/files/" + url.PathEscape(file)
	if download {
		path += "?download=true"
	}
	var l FileLink
	_, err := a.call(ctx, "GET", path, accessToken, nil, &l)
	return l, err
}
