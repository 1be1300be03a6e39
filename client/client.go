package client

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/retry"
)

// Options say whom to connect, and what to do with what comes.
type Options struct {
	URL  string       // of the gateway, such as https://im.example.org
	HTTP *http.Client // nil is http.DefaultClient; its *http.Transport's dialing and TLS are the socket's too

	// How to sign in: by the Store's refresh token if it has one that is good,
	// else by Tokens, else by Account and Password. The password is used in
	// Connect only, never later.
	Tokens            Tokens
	Account, Password string
	Code              string // of the second factor, for a user who has one: without it Connect returns im.SecondFactor
	Device, Platform  string // for signing in by password; see im.CheckDevice, im.Platforms

	// Store is where state is kept; nil is a new Memory.
	Store Store

	// FromNewest makes a Store that is new start at the newest message, rather
	// than be given all that is in the inbox.
	FromNewest bool

	// OnMessage is called with each message of the inbox, the user's own among
	// them, once, in order of seq and one at a time, possibly before Connect
	// returns. While it runs, messages wait; it may send. If it returns an
	// error, the client stops with that error, and the message comes again when
	// the Store is used next. ctx ends when the client stops; do not call Close
	// in it. Nil passes over all messages.
	OnMessage func(ctx context.Context, c *Client, m Message) error

	// OnEvent is called with what else happens, on the same goroutine as OnMessage.
	OnEvent func(Event)

	// Window is how many messages may be on their way at once. 0 is 64.
	Window int

	Log *slog.Logger // nil logs nothing
}

// ErrClosed is why a client stopped that was closed.
var ErrClosed = errors.New("the client is closed")

// A Client is a user's connection from one device, which comes back when it is
// lost. It is safe for concurrent use.
type Client struct {
	api    API
	opt    Options
	store  Store
	log    *slog.Logger
	tokens *keeper

	ctx  context.Context // ends when the client stops, with the reason as its cause
	stop context.CancelCauseFunc
	wg   sync.WaitGroup
	done chan struct{}

	ready     chan struct{} // closed at the first welcome
	slots     chan struct{} // one is held by each message on its way
	wakeWrite chan struct{}
	wakeInbox chan struct{}

	mu     sync.Mutex
	user   string
	live   bool // between welcome and the end of a connection
	out    outbox
	in     inbox
	events []Event
}

// Connect signs in, connects and returns when the server has said welcome. It
// keeps trying what may succeed later until ctx is done; ctx counts until
// Connect returns and not after. What can never succeed is an error at once,
// of kind im.Unauthenticated if the user must sign in (again).
func Connect(ctx context.Context, opt Options) (*Client, error) {
	if u, err := url.Parse(opt.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, im.Errorf(im.Invalid, "%q is not the URL of a server, such as https://im.example.org", opt.URL)
	}
	if opt.Store == nil {
		opt.Store = new(Memory)
	}
	if opt.Window <= 0 {
		opt.Window = 64
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	state, err := opt.Store.Load(ctx)
	if err != nil {
		return nil, err
	}
	c := &Client{
		api:       API{URL: opt.URL, HTTP: opt.HTTP},
		opt:       opt,
		store:     opt.Store,
		log:       opt.Log,
		done:      make(chan struct{}),
		ready:     make(chan struct{}),
		slots:     make(chan struct{}, opt.Window),
		wakeWrite: make(chan struct{}, 1),
		wakeInbox: make(chan struct{}, 1),
		user:      state.User,
		in:        newInbox(state, opt.FromNewest),
	}
	c.ctx, c.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	c.tokens = newKeeper(&c.api, c.store, c.stop)
	if err := c.out.resume(state.Unsettled); err != nil {
		return nil, err
	}
	if err := c.signIn(ctx, state); err != nil {
		c.stop(err)
		return nil, err
	}
	c.wg.Add(2)
	go c.run()
	go c.deliver()
	go func() {
		c.wg.Wait()
		c.giveUpAll(context.Cause(c.ctx))
		close(c.done)
	}()
	select {
	case <-c.ready:
		return c, nil
	case <-c.done:
		return nil, c.Err()
	case <-ctx.Done():
		c.Close()
		return nil, ctx.Err()
	}
}

// signIn gets the first tokens.
func (c *Client) signIn(ctx context.Context, state State) error {
	var wait backoff
	for {
		err := c.signInOnce(ctx, state)
		if err == nil || ctx.Err() != nil || !im.KindOf(err).Transient() || errors.Is(err, errStore) {
			return err
		}
		c.log.Info("signing in did not work", "err", err)
		if err := retry.Sleep(ctx, max(retryAfter(err), wait.next())); err != nil {
			return err
		}
	}
}

func (c *Client) signInOnce(ctx context.Context, state State) error {
	if state.RefreshToken != "" {
		t, err := c.api.Refresh(ctx, state.RefreshToken)
		if err == nil || !signedOut(err) {
			return c.tokens.adopt(ctx, t, err)
		}
	}
	if t := c.opt.Tokens; t.AccessToken != "" {
		return c.tokens.adopt(ctx, t, nil)
	} else if t.RefreshToken != "" {
		t, err := c.api.Refresh(ctx, t.RefreshToken)
		if err == nil || !signedOut(err) {
			return c.tokens.adopt(ctx, t, err)
		}
	}
	if c.opt.Account == "" {
		return im.Errorf(im.Unauthenticated, "the session has ended, or there was none: sign in with account and password")
	}
	t, err := c.api.SignIn(ctx, Credentials{
		Account: c.opt.Account, Password: c.opt.Password, Code: c.opt.Code,
		Device: c.opt.Device, Platform: c.opt.Platform, DeviceProof: state.DeviceProof,
	})
	return c.tokens.adopt(ctx, t, err)
}

// Close disconnects and returns when all that the client does has ended. What
// was not yet accepted or refused stays in the Store, and the sends that wait
// for it return ErrClosed.
func (c *Client) Close() error {
	c.stop(ErrClosed)
	<-c.done
	return nil
}

// Done is closed when the client has stopped and will not come back.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns why the client stopped: nil if it has not, ErrClosed, a
// *StoppedError, the error of OnMessage, or what was wrong with the Store.
func (c *Client) Err() error {
	select {
	case <-c.done:
		return context.Cause(c.ctx)
	default:
		return nil
	}
}

// User returns the id of the user.
func (c *Client) User() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.user
}

// Cursor returns the seq of the last message that was handled.
func (c *Client) Cursor() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.cursor
}

// Do makes calls of the API with an access token that is good, and makes them
// again with a new one if it was refused:
//
//	err := c.Do(ctx, func(api *client.API, token string) (err error) {
//		group, err = api.CreateGroup(ctx, token, "lunch", members)
//		return err
//	})
func (c *Client) Do(ctx context.Context, calls func(api *API, accessToken string) error) error {
	t, err := c.tokens.access(ctx)
	if err != nil {
		return err
	}
	err = calls(&c.api, t)
	if !errors.Is(err, im.Unauthenticated) {
		return err
	}
	if t, err = c.tokens.renew(ctx, t); err != nil {
		return err
	}
	return calls(&c.api, t)
}

// Call makes any call of the contract as the user, see API.Call:
//
//	var page struct{ Friends []struct{ User im.Profile } }
//	err := c.Call(ctx, "GET", "/v1/friends?limit=100", nil, &page)
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	return c.Do(ctx, func(api *API, token string) error { return api.Call(ctx, method, path, token, in, out) })
}

// FindUser returns the user with an account, or an error of kind im.NotFound.
func (c *Client) FindUser(ctx context.Context, account string) (u im.User, err error) {
	err = c.Do(ctx, func(api *API, token string) (err error) {
		u, err = api.FindUser(ctx, token, account)
		return err
	})
	return u, err
}

// CreateGroup makes a group of the user and members, given by their ids.
func (c *Client) CreateGroup(ctx context.Context, name string, members []string) (g im.GroupInfo, err error) {
	err = c.Do(ctx, func(api *API, token string) (err error) {
		g, err = api.CreateGroup(ctx, token, name, members)
		return err
	})
	return g, err
}

// History returns part of a conversation that the user takes part in.
func (c *Client) History(ctx context.Context, conv im.Conversation, r HistoryRange) (p HistoryPage, err error) {
	err = c.Do(ctx, func(api *API, token string) (err error) {
		p, err = api.History(ctx, token, conv, r)
		return err
	})
	return p, err
}

// Logout ends the session, and with it the client.
func (c *Client) Logout(ctx context.Context) error {
	err := c.Do(ctx, func(api *API, token string) error { return api.Logout(ctx, token) })
	if err != nil && !errors.Is(err, im.Unauthenticated) {
		return err
	}
	if err := c.Close(); err != nil {
		return err
	}
	return c.store.SaveSession(ctx, c.User(), "")
}

// emit queues an event for OnEvent.
func (c *Client) emit(e Event) {
	const most = 64
	if c.opt.OnEvent == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.events) == most {
		c.events = append(c.events[:0], c.events[1:]...)
	}
	c.events = append(c.events, e)
	wake(c.wakeInbox)
}

// wake tells whoever waits on a channel of capacity one to look again.
func wake(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
