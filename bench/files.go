package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	rangeBytes = 16 << 10
	largeBytes = 32 << 20
	partsAtOne = 2 // parts of one file that are sent at once
)

// A step is one of the things that are done with a file, in their order.
type step int

const (
	stepCreate step = iota
	stepPut
	stepComplete
	stepSend
	stepGet
	stepRange
	steps
)

var stepNames = [steps]struct{ name, note string }{
	stepCreate:   {"– file-create", "100 of a user may be under way, so it is not measured alone"},
	stepPut:      {"– PUT to the object store", "which checks the SHA-256"},
	stepComplete: {"– file-complete", "looks at the type, decodes the picture for its size and preview: FILE_CHECKS (2) at a time"},
	stepSend:     {"– message-send, with the file", ""},
	stepGet:      {"– file-get, by who got the message", ""},
	stepRange:    {fmt.Sprintf("– GET of a range of %d KiB", rangeBytes>>10), ""},
}

// pending is what file-create answers.
type pending struct {
	File   im.File  `json:"file"`
	Upload *im.Link `json:"upload"`
	Parts  []struct {
		Offset int64 `json:"offset"`
		Size   int64 `json:"size"`
		im.Link
	} `json:"parts"`
}

// files measures what it takes to send a picture, and a large file in parts.
func (b *bench) files(ctx context.Context) error {
	users, err := b.crew.muster(ctx, 2*apiCallers)
	if err != nil {
		return err
	}
	picture, err := photo()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("a picture of %d KiB: all of what follows", len(picture)>>10)
	one, alone, err := b.share(ctx, name, picture, users, 1)
	if err != nil {
		return err
	}
	many, among, err := b.share(ctx, name, picture, users, apiCallers)
	if err != nil {
		return err
	}
	b.asked.call(name, one, many, "")
	for s := range steps {
		b.asked.add(stepNames[s].name, spread(&alone[s]), "", spread(&among[s]), "", stepNames[s].note)
	}
	sent, err := b.sendFile(ctx, b.asker(b.api.HTTP), users[0], "photo.jpg", "image/jpeg", picture)
	if err != nil {
		return err
	}
	if err := b.askAll(ctx, []call{
		{"file-get", "by its owner", func(ctx context.Context, ask asker) error {
			a, err := ask(ctx, users[0], http.MethodGet, "/v1/files/"+sent.ID, nil)
			return has(a, err, "url", -1)
		}},
		{"avatar-set", "cuts the middle out of it, as a JPEG of 512 × 512: FILE_CHECKS (2) at a time", func(ctx context.Context, ask asker) error {
			_, err := ask(ctx, users[0], http.MethodPut, "/v1/users/me/avatar", map[string]string{"file": sent.ID})
			return err
		}},
	}); err != nil {
		return err
	}
	return b.largeFiles(ctx, users[0])
}

// share has callers send pictures to others, who look at them, again and again.
func (b *bench) share(ctx context.Context, name string, picture []byte, users []*user, callers int) (*limit, *[steps]histogram, error) {
	hc := callersClient(callers)
	defer hc.CloseIdleConnections()
	ask := b.asker(hc)
	took := make([][steps]histogram, callers)
	l, err := timed(ctx, name, "pictures", callers, max(b.perCall, 300*time.Millisecond), b.use, func(ctx context.Context, w int, note func(int64, time.Duration)) error {
		for ctx.Err() == nil {
			start := time.Now()
			if err := b.shareOne(context.WithoutCancel(ctx), hc, ask, picture, users[2*w], users[2*w+1], &took[w]); err != nil {
				return err
			}
			note(1, time.Since(start))
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	all := new([steps]histogram)
	for w := range took {
		for s := range steps {
			all[s].merge(&took[w][s])
		}
	}
	return l, all, nil
}

func (b *bench) shareOne(ctx context.Context, hc *http.Client, ask asker, picture []byte, from, to *user, took *[steps]histogram) error {
	last := time.Now()
	done := func(s step) {
		now := time.Now()
		took[s].add(now.Sub(last))
		last = now
	}
	p, err := createFile(ctx, ask, from, "photo.jpg", "image/jpeg", picture)
	if err != nil {
		return fmt.Errorf("file-create: %w", err)
	}
	done(stepCreate)
	if err := put(ctx, hc, p.Upload, picture); err != nil {
		return err
	}
	done(stepPut)
	var complete im.File
	answer, err := ask(ctx, from, http.MethodPost, "/v1/files/"+p.File.ID+"/complete", nil)
	if err := into(answer, err, &complete); err != nil {
		return fmt.Errorf("file-complete: %w", err)
	}
	if complete.State != im.FileComplete || complete.Width == 0 || complete.Preview == "" {
		return fmt.Errorf("file-complete: the picture is %+v", complete)
	}
	done(stepComplete)
	if _, err := ask(ctx, from, http.MethodPost, "/v1/messages", map[string]string{"to": "u:" + to.ID, "file": p.File.ID}); err != nil {
		return fmt.Errorf("message-send: %w", err)
	}
	done(stepSend)
	var link struct {
		URL string `json:"url"`
	}
	answer, err = ask(ctx, to, http.MethodGet, "/v1/files/"+p.File.ID, nil)
	if err := into(answer, err, &link); err != nil {
		return fmt.Errorf("file-get: %w", err)
	}
	done(stepGet)
	at := rand.IntN(len(picture) - rangeBytes)
	part, err := getRange(ctx, hc, link.URL, at, rangeBytes)
	if err != nil {
		return err
	}
	if !bytes.Equal(part, picture[at:at+rangeBytes]) {
		b.found.add("damaged: bytes %d and so on of file %s are not what was sent", at, p.File.ID)
	}
	done(stepRange)
	return nil
}

// largeFiles sends large files in parts, one after another.
func (b *bench) largeFiles(ctx context.Context, u *user) error {
	n := 5
	if b.quick {
		n = 1
	}
	ask := b.asker(b.api.HTTP)
	content := make([]byte, largeBytes)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	var sending, completing histogram
	parts := 0
	l, err := counted(ctx, n, 1, b.use, func(ctx context.Context, _ int) error {
		start := time.Now()
		p, err := createFile(ctx, ask, u, "film.bin", "application/octet-stream", content)
		if err != nil {
			return fmt.Errorf("file-create: %w", err)
		}
		parts = len(p.Parts)
		g, within := errgroup.WithContext(ctx)
		g.SetLimit(partsAtOne)
		for i := range p.Parts {
			part := &p.Parts[i]
			g.Go(func() error { return put(within, b.api.HTTP, &part.Link, content[part.Offset:part.Offset+part.Size]) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		sending.add(time.Since(start))
		start = time.Now()
		answer, err := ask(ctx, u, http.MethodPost, "/v1/files/"+p.File.ID+"/complete", nil)
		if err := has(answer, err, "sha256", -1); err != nil {
			return fmt.Errorf("file-complete: %w", err)
		}
		completing.add(time.Since(start))
		return nil
	})
	if err != nil {
		return fmt.Errorf("sending a file in parts: %w", err)
	}
	rate := func(h *histogram) string {
		return fmt.Sprintf("**%s** MB/s, one caller", count(largeBytes/1e6/h.quantile(0.5).Seconds()))
	}
	b.asked.add(fmt.Sprintf("a file of %d MiB in %d parts: file-create and the parts, %d at once", largeBytes>>20, parts, partsAtOne), spread(&sending), rate(&sending), "", costs(l.spent, float64(n)), "CPU is with file-complete")
	b.asked.add("– file-complete", spread(&completing), rate(&completing), "", "", "reads all of it for its SHA-256")
	return nil
}

func createFile(ctx context.Context, ask asker, u *user, name, typ string, content []byte) (p pending, err error) {
	sum := sha256.Sum256(content)
	answer, err := ask(ctx, u, http.MethodPost, "/v1/files", map[string]any{"name": name, "type": typ, "size": len(content), "sha256": hex.EncodeToString(sum[:])})
	if err := into(answer, err, &p); err != nil {
		return p, err
	}
	if p.Upload == nil && len(p.Parts) == 0 {
		return p, fmt.Errorf("the answer says of no way to send the file")
	}
	return p, nil
}

// sendFile sends a small file and completes it.
func (b *bench) sendFile(ctx context.Context, ask asker, u *user, name, typ string, content []byte) (f im.File, err error) {
	p, err := createFile(ctx, ask, u, name, typ, content)
	if err != nil {
		return f, err
	}
	if err := put(ctx, b.api.HTTP, p.Upload, content); err != nil {
		return f, err
	}
	answer, err := ask(ctx, u, http.MethodPost, "/v1/files/"+p.File.ID+"/complete", nil)
	return f, into(answer, err, &f)
}

// put sends bytes by a link to the object store.
func put(ctx context.Context, hc *http.Client, to *im.Link, content []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to.URL, bytes.NewReader(content))
	if err != nil {
		return err
	}
	for k, v := range to.Headers {
		req.Header.Set(k, v)
	}
	_, err = stored(hc, req, http.StatusOK)
	return err
}

// getRange gets a part of what a link leads to.
func getRange(ctx context.Context, hc *http.Client, url string, at, n int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", at, at+n-1))
	return stored(hc, req, http.StatusPartialContent)
}

// stored asks the object store, whose links are not to be shown: they are as
// good as a token.
func stored(hc *http.Client, req *http.Request, want int) ([]byte, error) {
	resp, err := hc.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: the object store at %s does not answer", req.Method, req.URL.Host)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		return nil, fmt.Errorf("%s: the object store answered with status %d: %.200s", req.Method, resp.StatusCode, b)
	}
	return b, nil
}

// photo returns a JPEG of the size that a messenger sends, with as much detail
// as a photograph has.
func photo() ([]byte, error) {
	const width, height, block = 1280, 960, 6
	m := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	random := rand.New(rand.NewPCG(1, 2))
	for y := 0; y < height; y += block {
		for x := 0; x < width; x += block {
			c := color.YCbCr{Y: uint8(x*128/width + y*96/height + random.IntN(32)), Cb: uint8(x * 255 / width), Cr: uint8(y * 255 / height)}
			for dy := range min(block, height-y) {
				for dx := range min(block, width-x) {
					m.Y[m.YOffset(x+dx, y+dy)] = c.Y
					m.Cb[m.COffset(x+dx, y+dy)] = c.Cb
					m.Cr[m.COffset(x+dx, y+dy)] = c.Cr
				}
			}
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 85}); err != nil {
		return nil, fmt.Errorf("making a picture: %w", err)
	}
	return b.Bytes(), nil
}
