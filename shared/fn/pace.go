package fn

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// Who reads an answer or sends a body has paceGrace for it, and as long as it
// takes at MinPace; a slower one is cut off, since what is read or written for
// it is held meanwhile.
const (
	MinPace   = 4 << 10 // bytes per second
	paceGrace = 10 * time.Second

	unreadGrace = time.Second // for a body that nobody reads

	writtenAtOnce = 16 << 10 // bytes after which it is looked how fast they went
)

// paced returns when so many bytes are to be through that began to flow at start.
func paced(start time.Time, n int) time.Time {
	return start.Add(paceGrace + time.Duration(n)*time.Second/MinPace)
}

// WritePaced writes the body of an answer, and fails as soon as the reader is
// slower than MinPace.
func WritePaced(w http.ResponseWriter, body []byte) error {
	c, start := http.NewResponseController(w), time.Now()
	for done := 0; done < len(body); {
		n := min(writtenAtOnce, len(body)-done)
		c.SetWriteDeadline(paced(start, done+n)) // only what is no network connection has none
		if _, err := w.Write(body[done : done+n]); err != nil {
			return err
		}
		done += n
	}
	return nil
}

// BoundUnread sets how long at most the answer of r waits for the rest of its
// body, of which net/http reads much before it answers, however slowly it comes
// (https://pkg.go.dev/net/http#ResponseWriter). Whoever reads the body sets
// another time.
func BoundUnread(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 { // else what is read meanwhile is whether the client is gone
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(unreadGrace)) // only what is no network connection has none
	}
}

// A PacedReader reads the body of a request, and fails as soon as the sender is
// slower than MinPace.
type PacedReader struct {
	body  io.Reader
	conn  *http.ResponseController
	start time.Time
	n     int
}

// NewPacedReader returns a reader of the body of r, which w answers.
func NewPacedReader(w http.ResponseWriter, r *http.Request) *PacedReader {
	return &PacedReader{body: r.Body, conn: http.NewResponseController(w), start: time.Now()}
}

// Read implements io.Reader.
func (p *PacedReader) Read(b []byte) (int, error) {
	p.conn.SetReadDeadline(paced(p.start, p.n)) // only what is no network connection has none
	n, err := p.body.Read(b)
	p.n += n
	if errors.Is(err, io.EOF) {
		p.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}
