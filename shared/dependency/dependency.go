// Package dependency gives errors of what a process depends on, such as a
// database or a store, their kinds. Which errors are special to a product is
// known to its adapter.
package dependency

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/tidings-im/tidings/shared/im"
)

// A Product is what an adapter knows of its errors.
type Product struct {
	Name  string              // in metrics
	Kind  func(error) im.Kind // of an error that has none
	Shown map[im.Kind]string  // what a client reads, by kind
}

// Wrap wraps err, of what was being done, and gives it its kind unless it has
// one. A nil err stays nil.
func (p Product) Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	doing := fmt.Sprintf(format, args...)
	var known *im.Error
	if errors.As(err, &known) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	kind := p.Kind(err)
	e := &im.Error{Kind: kind, Msg: p.Shown[kind], Err: err}
	if kind == im.Unavailable {
		e.Dependency = p.Name
	}
	return fmt.Errorf("%s: %w", doing, e)
}

// Unanswered reports whether err says that there was no whole answer: that the
// network failed, or that a context ended first.
func Unanswered(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// S3 returns the kind of an error that a server of S3 answers, by its status
// and code (Amazon S3 API Reference, Error Responses). NotFound: there is no
// such object. Without its bucket a server is set up wrong: Internal.
func S3(status int, code string) im.Kind {
	switch {
	case code == "NoSuchBucket":
		return im.Internal
	case status == http.StatusNotFound && code == "", code == "NotFound", code == "NoSuchKey", code == "NoSuchUpload":
		return im.NotFound
	case status == http.StatusPreconditionFailed, code == "PreconditionFailed":
		return im.Conflict
	case status >= 500, status == http.StatusTooManyRequests, slices.Contains(passingCodes, code):
		return im.Unavailable
	}
	return im.Internal
}

// passingCodes may come with any status, such as 200 before the answer was known.
var passingCodes = []string{"InternalError", "RequestTimeTooSkewed", "ServiceUnavailable", "SlowDown"}
