package abuse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/shared/frame"
)

// A slowLine is a connection over which little arrives, until it is mended.
type slowLine struct {
	*net.TCPConn
	mended *atomic.Bool
}

func (c slowLine) mend() { c.mended.Store(true) }

func (c slowLine) Read(b []byte) (int, error) {
	if !c.mended.Load() {
		time.Sleep(50 * time.Millisecond) // that is the line
		b = b[:min(len(b), 512)]
	}
	return c.TCPConn.Read(b)
}

// signals has three accounts, to whom somebody on a slow line has once
// answered, send them signals as large as they may be.
func signals(ctx context.Context, s *Site, _ *Bystanders) (assault, error) {
	people, err := s.joinAll(ctx, 4)
	if err != nil {
		return assault{}, err
	}
	slow, hostile := people[0], people[1:]
	for _, h := range hostile {
		if err := errors.Join(h.write(ctx, "u:"+slow.ID, "hello"), slow.write(ctx, "u:"+h.ID, "yes?")); err != nil {
			return assault{}, err
		}
	}
	var line slowLine
	ws, err := slow.dial(ctx, func(c net.Conn) net.Conn {
		line = slowLine{c.(*net.TCPConn), new(atomic.Bool)}
		line.SetReadBuffer(64 << 10) // with less, little would come for long after it is mended
		return line
	})
	if err != nil {
		return assault{}, err
	}
	t := newTally()
	heard := listen(ws, t)
	return assault{
		run: func(ctx context.Context) {
			work(ctx, len(hostile), time.Second, func(ctx context.Context, i int) {
				if err := hostile[i].signal(ctx, slow.ID); ctx.Err() == nil {
					t.status(0, err)
				}
			})
		},
		held: func(ctx context.Context) error {
			defer ws.Close()
			line.mend()
			return heard(ctx)
		},
		tally: t,
	}, nil
}

// signal sends signals until the socket is closed.
func (p *Person) signal(ctx context.Context, to string) error {
	ws, err := p.dial(ctx, nil)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { ws.Close() })()
	defer ws.Close()
	go func() { // or the server takes it for a slow reader
		for {
			if _, _, err := ws.NextReader(); err != nil {
				return
			}
		}
	}()
	data := strings.Repeat("s", frame.MaxSignal-2)
	for ctx.Err() == nil {
		if err := send(ws, map[string]string{"type": frame.Signal, "to": "u:" + to, "data": data}); err != nil {
			return err
		}
		rest(ctx, 40*time.Millisecond)
	}
	return nil
}

// listen counts what comes over a socket, and returns what says, after the
// attack, whether it is open still.
func listen(ws *websocket.Conn, t *tally) func(context.Context) error {
	ponged, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		for {
			var f frame.FromServer
			if err := ws.ReadJSON(&f); err != nil {
				ended <- err
				return
			}
			switch f.Type {
			case frame.Pong:
				ponged <- struct{}{}
			case frame.Signal, frame.Bye:
				t.add(f.Type)
			}
		}
	}()
	return func(ctx context.Context) error {
		if err := send(ws, map[string]string{"type": frame.Ping}); err != nil {
			return fmt.Errorf("the slow reader was disconnected: %w", err)
		}
		select {
		case <-ponged:
			return t.most(frame.Bye, 0)
		case err := <-ended:
			return fmt.Errorf("the slow reader was disconnected: %w", err)
		case <-time.After(patience):
			return errors.New("nothing is said to the slow reader any more")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pings has three accounts send control frames as fast as they can, and come
// again when they are disconnected.
func pings(ctx context.Context, s *Site, _ *Bystanders) (assault, error) {
	people, err := s.joinAll(ctx, 3)
	t := newTally()
	return assault{
		run: func(ctx context.Context) {
			work(ctx, 6, 500*time.Millisecond, func(ctx context.Context, i int) {
				op := byte(websocket.PingMessage)
				if i%2 == 1 {
					op = websocket.PongMessage
				}
				t.status(0, ended(ctx, people[i%3].control(ctx, op)))
			})
		},
		held:  func(context.Context) error { return t.some("cut off") },
		tally: t,
	}, err
}

// control sends empty control frames, many at a time, until the socket is closed.
func (p *Person) control(ctx context.Context, op byte) error {
	ws, err := p.dial(ctx, nil)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { ws.Close() })()
	defer ws.Close()
	c := ws.NetConn()
	go io.Copy(io.Discard, c)
	frames := bytes.Repeat([]byte{0x80 | op, 0x80, 0, 0, 0, 0}, 1000) // empty, masked by zeros (RFC 6455, 5.2)
	for {
		c.SetWriteDeadline(time.Now().Add(patience))
		if _, err := c.Write(frames); err != nil {
			return err
		}
		rest(ctx, time.Millisecond)
	}
}
