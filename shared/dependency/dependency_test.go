package dependency

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func TestAnErrorIsGivenItsKindOnce(t *testing.T) {
	store := Product{Name: "store", Shown: map[im.Kind]string{im.Unavailable: "later", im.NotFound: "nowhere"}, Kind: func(err error) im.Kind {
		if Unanswered(err) {
			return im.Unavailable
		}
		return im.NotFound
	}}
	if err := store.Wrap(nil, "reading"); err != nil {
		t.Errorf("of nothing: %v", err)
	}
	for _, tt := range []struct {
		err          error
		kind         im.Kind
		says, blames string
	}{
		{io.EOF, im.Unavailable, "reading 7: later: EOF", "store"},
		{errors.New("none"), im.NotFound, "reading 7: nowhere: none", ""},
		{im.Errorf(im.Denied, "no"), im.Denied, "reading 7: no", ""},
		{store.Wrap(io.EOF, "opening"), im.Unavailable, "reading 7: opening: later: EOF", "store"},
	} {
		err := store.Wrap(tt.err, "reading %d", 7)
		if im.KindOf(err) != tt.kind || err.Error() != tt.says || im.DependencyOf(err) != tt.blames || !errors.Is(err, tt.err) {
			t.Errorf("%v: %v, a %s of %q", tt.err, err, im.KindOf(err), im.DependencyOf(err))
		}
	}
}

func TestWhatWasNotAnsweredIsTold(t *testing.T) {
	for err, want := range map[error]bool{
		context.Canceled: true, context.DeadlineExceeded: true, io.EOF: true, io.ErrUnexpectedEOF: true, net.ErrClosed: true,
		&net.OpError{Op: "dial", Err: errors.New("refused")}: true, errors.New("no"): false,
	} {
		if got := Unanswered(fmt.Errorf("doing it: %w", err)); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

func TestKindsOfS3(t *testing.T) {
	for _, tt := range []struct {
		status int
		code   string
		want   im.Kind
	}{
		{404, "NoSuchKey", im.NotFound}, {404, "NoSuchUpload", im.NotFound}, {404, "", im.NotFound}, {0, "NotFound", im.NotFound},
		{404, "NoSuchBucket", im.Internal}, {404, "XAdminUserNotFound", im.Internal}, {403, "AccessDenied", im.Internal}, {301, "PermanentRedirect", im.Internal}, {0, "", im.Internal},
		{412, "PreconditionFailed", im.Conflict}, {412, "", im.Conflict},
		{500, "", im.Unavailable}, {200, "InternalError", im.Unavailable}, {503, "SlowDown", im.Unavailable}, {429, "", im.Unavailable}, {403, "RequestTimeTooSkewed", im.Unavailable},
	} {
		if got := S3(tt.status, tt.code); got != tt.want {
			t.Errorf("%d %s: %s, want %s", tt.status, tt.code, got, tt.want)
		}
	}
}
