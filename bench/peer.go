package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// A lazyConn keeps what is written until it is read from, or flushed. Who
// answers what it reads as it reads it thereby writes once for all that had
// arrived, which is what makes the load cheap.
type lazyConn struct {
	net.Conn
	mu  sync.Mutex
	buf []byte
}

func (c *lazyConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = append(c.buf, p...)
	return len(p), nil
}

func (c *lazyConn) Read(p []byte) (int, error) {
	if err := c.flush(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *lazyConn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.buf) == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}

// A peer is one user's connection, bare: it neither retries nor reconnects,
// because the load is to see what happens.
type peer struct {
	user *user
	ws   *websocket.Conn
	conn *lazyConn
	head int64 // of the welcome

	buf   []byte // of the reader
	ended chan struct{}
	err   error // why it ended; nil if we closed it
	bye   string

	closing atomic.Bool
}

// connect opens a socket and waits for the welcome.
func connect(ctx context.Context, url string, u *user) (*peer, error) {
	p := &peer{user: u, buf: make([]byte, 0, 1024), ended: make(chan struct{})}
	d := websocket.Dialer{
		Subprotocols:     []string{frame.Subprotocol},
		HandshakeTimeout: 20 * time.Second,
		ReadBufferSize:   4096,
		WriteBufferSize:  1024,
		NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			p.conn = &lazyConn{Conn: c}
			return p.conn, nil
		},
	}
	ws, resp, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(url, "http")+"/ws", http.Header{"Authorization": {"Bearer " + u.AccessToken}})
	if err != nil {
		if resp != nil {
			b, _ := io.ReadAll(resp.Body)
			var problem im.Problem
			if json.Unmarshal(b, &problem) == nil && problem.Kind == im.Overloaded {
				return nil, fmt.Errorf("connecting %s: %s (raise MAX_CONNECTIONS of the gateway)", u.Account, problem.Detail)
			}
			return nil, fmt.Errorf("connecting %s: status %d: %s", u.Account, resp.StatusCode, b)
		}
		return nil, fmt.Errorf("connecting %s: %w", u.Account, err)
	}
	p.ws = ws
	ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	in, err := p.read()
	ws.SetReadDeadline(time.Time{})
	if err == nil && in.kind != frame.Welcome {
		err = fmt.Errorf("the first frame is %q", in.kind)
	}
	if err != nil {
		ws.Close()
		return nil, fmt.Errorf("connecting %s: %w", u.Account, err)
	}
	p.head = in.rest.Head
	return p, nil
}

// read returns the next frame. What it points to is good until the next call.
func (p *peer) read() (incoming, error) {
	_, r, err := p.ws.NextReader()
	if err != nil {
		return incoming{}, err
	}
	b := p.buf[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return incoming{}, err
		}
	}
	p.buf = b
	return scan(b)
}

// listen reads until the connection ends.
func (p *peer) listen(handle func(incoming)) {
	defer close(p.ended)
	for {
		in, err := p.read()
		if err != nil {
			if !p.closing.Load() {
				p.err = fmt.Errorf("the connection of %s ended: %w", p.user.Account, err)
				if p.bye != "" {
					p.err = fmt.Errorf("the server closed the connection of %s: %s", p.user.Account, p.bye)
				}
			}
			return
		}
		if in.kind == frame.Bye {
			p.bye = in.rest.Reason
			if in.rest.Code == frame.CloseFlooding.Code {
				p.bye += " (raise SEND_RATE and SEND_BURST of the gateway)"
			}
			continue
		}
		handle(in)
	}
}

func (p *peer) close() {
	p.closing.Store(true)
	p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	p.conn.flush()
	p.ws.Close()
}

// connectAll connects many users, a few at a time.
func connectAll(ctx context.Context, url string, users []*user) ([]*peer, error) {
	peers := make([]*peer, len(users))
	err := each(ctx, len(users), 32, func(ctx context.Context, i int) error {
		p, err := connect(ctx, url, users[i])
		if err == nil && p.head < 0 {
			err = errors.Join(errors.New("the server does not know the head of an inbox now"), p.ws.Close())
		}
		peers[i] = p
		return err
	})
	if err != nil {
		for _, p := range peers {
			if p != nil && p.ws != nil {
				p.ws.Close()
			}
		}
		return nil, err
	}
	return peers, nil
}
