package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/shared/answer"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/retry"
)

const (
	dialTimeout  = 10 * time.Second // for the handshake, and then for the welcome
	writeTimeout = 10 * time.Second
	idleDefault  = 60 * time.Second // if the server does not say
	idleSlack    = 5 * time.Second  // for a ping on its way
	maxRead      = 1 << 20          // bytes of a frame of the server
	settled      = 10 * time.Second // after this long a connection counts as having worked
)

// An ending is how a connection, or the attempt at one, came to its end.
type ending struct {
	close     frame.Close // of the bye or the close frame; Code 0 if there was neither
	reconnect string      // one of frame.Reconnect…
	wait      time.Duration
	err       error
	lasted    time.Duration // since welcome
}

// run keeps the client connected until it stops.
func (c *Client) run() {
	defer c.wg.Done()
	var failures backoff
	for {
		end := c.connection()
		if c.ctx.Err() != nil {
			return
		}
		if end.reconnect == frame.ReconnectNo {
			c.stop(end.stopped())
			return
		}
		if end.lasted >= settled {
			failures = backoff{}
		}
		wait, jitter := end.wait, failures.next()
		if wait == 0 || end.close.Code == 0 { // a bye's wait is spread by the server already
			wait += jitter
		}
		if end.reconnect == frame.ReconnectRefresh {
			c.expireToken()
		}
		c.log.Info("disconnected", "err", end.err, "wait", wait)
		c.emit(Offline{Err: end.err, Wait: wait})
		if retry.Sleep(c.ctx, wait) != nil {
			return
		}
	}
}

// stopped returns the error for the program.
func (e ending) stopped() error {
	if e.close.Code == 0 {
		return e.err
	}
	return &StoppedError{Close: e.close}
}

// expireToken gets a new token, which the next connection uses. If that fails
// for now, the next connection tries again.
func (c *Client) expireToken() {
	old, _, err := c.tokens.current(c.ctx)
	if err == nil {
		_, err = c.tokens.renew(c.ctx, old)
	}
	if err != nil {
		c.log.Info("refreshing did not work", "err", err)
	}
}

// connection makes one connection and returns when it has ended.
func (c *Client) connection() ending {
	ctx, cancel := context.WithTimeout(c.ctx, dialTimeout)
	ws, token, err := c.dial(ctx)
	cancel()
	if err != nil {
		end := ending{reconnect: frame.ReconnectYes, wait: retryAfter(err), err: err}
		select {
		case <-c.ready:
		default:
			// A first connection fails for good where a later one would wait for
			// the server to be mended.
			if !im.KindOf(err).Transient() {
				end.reconnect = frame.ReconnectNo
			}
		}
		return end
	}
	return c.converse(ws, token)
}

// dial opens a socket with the token it returns. A token that is refused is
// replaced, once.
func (c *Client) dial(ctx context.Context) (ws *websocket.Conn, token string, err error) {
	if token, err = c.tokens.access(ctx); err != nil {
		return nil, "", err
	}
	ws, err = c.dialWith(ctx, token)
	if !errors.Is(err, im.Unauthenticated) {
		return ws, token, err
	}
	if token, err = c.tokens.renew(ctx, token); err != nil {
		return nil, "", err
	}
	ws, err = c.dialWith(ctx, token)
	return ws, token, err
}

func (c *Client) dialWith(ctx context.Context, accessToken string) (*websocket.Conn, error) {
	url := "ws" + strings.TrimPrefix(strings.TrimSuffix(c.opt.URL, "/"), "http") + "/ws"
	d := websocket.Dialer{Proxy: http.ProxyFromEnvironment, Subprotocols: []string{frame.Subprotocol}}
	if c.opt.HTTP != nil {
		if t, ok := c.opt.HTTP.Transport.(*http.Transport); ok {
			d.Proxy, d.NetDialContext, d.TLSClientConfig = t.Proxy, t.DialContext, t.TLSClientConfig
		}
	}
	ws, resp, err := d.DialContext(ctx, url, http.Header{"Authorization": {"Bearer " + accessToken}})
	switch {
	case err != nil && resp != nil && resp.StatusCode >= 400:
		return nil, notUpgraded(resp)
	case err != nil:
		return nil, im.Wrap(im.Unavailable, err, "no socket to the server")
	case ws.Subprotocol() != frame.Subprotocol:
		ws.Close()
		return nil, im.Errorf(im.Unsupported, "the server does not speak %s", frame.Subprotocol)
	}
	return ws, nil
}

// notUpgraded returns the error for an answer that is no socket. An address where
// there is no server is told by the status, so that who has it wrong learns so
// from the first connection.
func notUpgraded(resp *http.Response) error {
	a, err := answer.Read(resp, maxAnswer) // what gorilla has read already
	if err != nil || a.Problem == nil {
		return &im.Error{Kind: kindOf(resp.StatusCode), Msg: fmt.Sprintf("the server answered with status %d", resp.StatusCode), RetryAfter: a.RetryAfter}
	}
	return failure(a)
}

// A conn is one connection.
type conn struct {
	c     *Client
	ctx   context.Context // ends with the connection
	ws    *websocket.Conn
	token string        // access token that the server has
	idle  time.Duration // the longest silence
	began time.Time     // of the welcome
	bye   *frame.FromServer
	wg    sync.WaitGroup
}

// converse reads from a socket until it ends.
func (c *Client) converse(ws *websocket.Conn, token string) ending {
	ctx, cancel := context.WithCancel(c.ctx)
	k := &conn{c: c, ctx: ctx, ws: ws, token: token, idle: dialTimeout}
	unhook := context.AfterFunc(ctx, k.hangUp)
	err := k.read()
	cancel()
	if unhook() {
		ws.Close()
	}
	k.wg.Wait()

	end := k.ending(err)
	c.mu.Lock()
	c.live = false
	culprit := c.out.lost(end.close.Code == websocket.CloseMessageTooBig)
	c.mu.Unlock()
	if culprit != nil {
		c.settle(culprit.draft.ClientID, Receipt{}, im.Errorf(im.TooLarge, "the message is too large for the server"))
	}
	return end
}

// hangUp ends the connection in good form.
func (k *conn) hangUp() {
	if k.c.ctx.Err() != nil {
		k.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	}
	k.ws.Close()
}

// read handles what the server says. The server pings, so silence for as long
// as it lets its clients be silent means that it is gone.
func (k *conn) read() error {
	k.ws.SetReadLimit(maxRead)
	k.alive()
	k.ws.SetPingHandler(func(data string) error {
		k.alive()
		err := k.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
		if err != nil {
			k.c.log.Debug("answering a ping", "err", err) // the server will notice
		}
		return nil
	})
	for {
		typ, r, err := k.ws.NextReader()
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		k.alive()
		if typ != websocket.TextMessage {
			continue
		}
		var f frame.FromServer
		if err := json.Unmarshal(b, &f); err != nil {
			k.c.log.Warn("reading a frame", "err", err)
			continue
		}
		if err := k.handle(f); err != nil {
			return err
		}
	}
}

func (k *conn) alive() { k.ws.SetReadDeadline(time.Now().Add(k.idle)) }

// handle does what a frame asks.
func (k *conn) handle(f frame.FromServer) error {
	c := k.c
	switch f.Type {
	case frame.Welcome:
		return k.welcome(f)
	case frame.Accepted:
		c.accepted(Receipt{ClientID: f.ID, ID: f.MessageID, Conversation: f.Conversation, Time: f.Time})
	case frame.Refused:
		c.refused(f)
	case frame.Message:
		c.pushed(f.Seq, f.Message)
	case frame.Behind:
		c.behind(f.Head)
	case frame.Typing:
		c.emit(Typing{From: f.From, Conversation: f.Conversation})
	case frame.Signal:
		c.emit(Signal{From: f.From, Conversation: f.Conversation, Data: f.Data})
	case frame.Presence:
		c.emit(Presence{User: f.User, Online: f.Online, LastSeen: f.LastSeen})
	case frame.Bye:
		k.bye = &f
	case frame.Error:
		c.log.Warn("the server did not understand a frame", "kind", f.Kind, "err", f.Detail)
	}
	return nil
}

// welcome begins the conversation.
func (k *conn) welcome(f frame.FromServer) error {
	c := k.c
	if !k.began.IsZero() {
		return nil
	}
	c.mu.Lock()
	if c.user != "" && c.user != f.User {
		c.mu.Unlock()
		err := im.Errorf(im.Conflict, "the store belongs to user %s, and %s is signed in", c.user, f.User)
		c.stop(err)
		return err
	}
	c.user = f.User
	c.live = true
	c.in.settles = c.out.triedAfter() < math.MaxInt64 // before deliver looks whether to pull
	c.mu.Unlock()

	k.began = time.Now()
	k.idle = idleDefault
	if f.IdleSecs > 0 {
		k.idle = time.Duration(f.IdleSecs) * time.Second
	}
	k.idle += idleSlack
	k.alive()
	c.emit(Online{User: f.User, Head: f.Head})
	c.startAt(f.Head)
	c.behind(f.Head)
	k.wg.Add(2)
	go k.write()
	go k.keepToken()
	select {
	case <-c.ready:
	default:
		close(c.ready)
	}
	return nil
}

// write sends what is on its way, after finding out what had arrived before.
func (k *conn) write() {
	defer k.wg.Done()
	c := k.c
	if c.settlePending(k.ctx) != nil {
		return
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for k.ctx.Err() == nil {
		c.mu.Lock()
		b, wait, late := c.out.next(time.Now())
		c.mu.Unlock()
		switch {
		case late:
			c.log.Warn("the server owes an answer for too long")
			k.ws.Close()
			return
		case b != nil:
			k.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
			if err := k.ws.WriteMessage(websocket.TextMessage, b); err != nil {
				c.log.Debug("writing a frame", "err", err)
				k.ws.Close() // read returns
				return
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-c.wakeWrite:
		case <-timer.C:
		case <-k.ctx.Done():
		}
	}
}

// keepToken replaces the access token in place before it expires.
func (k *conn) keepToken() {
	defer k.wg.Done()
	c := k.c
	var wait backoff
	for {
		token, due, err := c.tokens.current(k.ctx)
		if err != nil {
			return
		}
		if token == k.token {
			if retry.Sleep(k.ctx, time.Until(due)) != nil {
				return
			}
			token, err = c.tokens.renew(k.ctx, k.token)
		}
		if err != nil {
			c.log.Info("refreshing did not work", "err", err)
			if retry.Sleep(k.ctx, max(retryAfter(err), wait.next())) != nil {
				return
			}
			continue
		}
		wait = backoff{}
		k.token = token
		b, err := im.JSON(map[string]string{"type": frame.Token, "token": token})
		if err != nil {
			return
		}
		c.mu.Lock()
		c.out.token = b
		c.mu.Unlock()
		wake(c.wakeWrite)
	}
}

// ending says how the connection ended.
func (k *conn) ending(err error) ending {
	end := ending{reconnect: frame.ReconnectYes, err: err}
	if !k.began.IsZero() {
		end.lasted = time.Since(k.began)
	}
	if ce, ok := errors.AsType[*websocket.CloseError](err); ok {
		end.close = frame.Close{Code: ce.Code, Reason: ce.Text}
		end.reconnect = end.close.Reconnect()
	}
	if k.bye != nil {
		end.close = frame.Close{Code: k.bye.Code, Reason: k.bye.Reason}
		end.reconnect = end.close.Reconnect()
		end.wait = time.Duration(k.bye.RetryAfterMS) * time.Millisecond
		if k.bye.Reconnect != "" {
			end.reconnect = k.bye.Reconnect
		}
	}
	if end.close.Code != 0 {
		end.err = fmt.Errorf("the server closed the connection: %s (%d)", end.close.Reason, end.close.Code)
	}
	return end
}
