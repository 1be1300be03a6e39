package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// ackTimeout is how long a message may go unanswered on a connection before the
// client looks for a better one.
const ackTimeout = 20 * time.Second

// A Receipt says that a message was accepted: it is durable, and has its place
// in the order of its conversation.
type Receipt struct {
	ClientID     string
	ID           string // of the message
	Conversation im.Conversation
	Time         im.Time
}

// A Sending is a message on its way.
type Sending struct {
	draft   im.Draft
	frame   []byte
	after   int64 // see Unsettled
	resumed bool  // from the Store; holds no slot
	unhook  func() bool

	// Guarded by the client's mu.
	written time.Time // on this connection; zero if not
	tried   bool      // written at some time, perhaps by another process
	tries   int       // refusals that were not for good

	done    chan struct{} // closed when what follows is set
	receipt Receipt
	err     error
}

// Done is closed when it is known what became of the message.
func (s *Sending) Done() <-chan struct{} { return s.done }

// Result waits until it is known what became of the message, and returns it as
// Send does.
func (s *Sending) Result() (Receipt, error) {
	<-s.done
	return s.receipt, s.err
}

// Send says text to "u:<user>", "g:<group>" or a conversation. It returns when
// the message is accepted, which is for good, or refused, with an *im.Error.
//
// While the server cannot be reached, or cannot take it now, Send goes on
// trying until ctx is done. A message that it takes in half a minute at the
// earliest, as a slow group may, is refused with an error that has RetryAfter.
// When ctx is done, it is not known whether the message was
// accepted, unless the error says that it was not sent: the Receipt has its
// ClientID, under which SendDraft finds out.
//
// One goroutine's messages are accepted in the order in which it sends them;
// many goroutines may send at once, up to Options.Window messages.
func (c *Client) Send(ctx context.Context, to, text string) (Receipt, error) {
	return c.SendDraft(ctx, im.Draft{To: to, Text: text})
}

// SendDraft is Send for all that a message can have. Without a ClientID, d gets
// a new one; a message sent again under the ClientID of one that was accepted
// is not a second one, and gets the first one's receipt.
func (c *Client) SendDraft(ctx context.Context, d im.Draft) (Receipt, error) {
	s, err := c.SendAsync(ctx, d)
	if err != nil {
		return Receipt{ClientID: d.ClientID}, err
	}
	return s.Result()
}

// SendAsync is SendDraft without the wait for the answer: it returns as soon as
// fewer than Options.Window messages are on their way. Messages are written in
// the order of these calls; one that the server cannot take at the moment may
// come after those that were on their way with it. When ctx is done, the client
// gives up on the message.
func (c *Client) SendAsync(ctx context.Context, d im.Draft) (*Sending, error) {
	if d.ClientID == "" {
		d.ClientID = im.NewID()
	}
	if err := d.Check(c.User()); err != nil {
		return nil, err
	}
	b, err := encodeSend(d)
	if err != nil {
		return nil, err
	}
	if c.ctx.Err() != nil {
		return nil, context.Cause(c.ctx)
	}
	select {
	case c.slots <- struct{}{}:
	case <-c.ctx.Done():
		return nil, context.Cause(c.ctx)
	case <-ctx.Done():
		return nil, fmt.Errorf("not sent, too many messages are on their way: %w", ctx.Err())
	}
	s := &Sending{draft: d, frame: b, after: c.seenHead(), done: make(chan struct{})}
	if err := c.queue(ctx, s); err != nil {
		<-c.slots
		return nil, err
	}
	return s, nil
}

// queue adds s to what is to be written.
func (c *Client) queue(ctx context.Context, s *Sending) error {
	id := s.draft.ClientID
	c.mu.Lock()
	taken := !c.out.reserve(id)
	c.mu.Unlock()
	if taken {
		return im.Errorf(im.Conflict, "a message with the id %s is on its way", id)
	}
	err := c.store.AddUnsettled(ctx, Unsettled{Draft: s.draft, After: s.after})
	if err != nil {
		err = fmt.Errorf("%w: keeping a message: %w", errStore, err)
	}
	c.mu.Lock()
	closed := c.out.closed
	if err != nil || closed != nil {
		delete(c.out.byID, id)
	} else {
		c.out.add(s)
		s.unhook = context.AfterFunc(ctx, func() { c.giveUp(ctx, s) })
	}
	c.mu.Unlock()
	if err == nil && closed != nil {
		err = errors.Join(closed, c.store.RemoveUnsettled(context.WithoutCancel(ctx), id))
	}
	wake(c.wakeWrite)
	return err
}

// encodeSend returns the frame that sends d.
func encodeSend(d im.Draft) ([]byte, error) {
	b, err := im.JSON(frame.FromClient{Type: frame.Send, Draft: d})
	if err != nil {
		return nil, fmt.Errorf("writing the frame: %w", err)
	}
	if len(b) > im.MaxFrame {
		return nil, im.Errorf(im.TooLarge, "written as JSON the message has %d bytes; %d are the most", len(b), im.MaxFrame)
	}
	return b, nil
}

// Typing tells the others in a conversation that the user is writing. It is
// lost if the client is not connected.
func (c *Client) Typing(to string) error {
	return c.pass(frame.FromClient{Type: frame.Typing, Draft: im.Draft{To: to}})
}

// Signal sends data, which is JSON, to those of a conversation who are
// connected now. Nothing keeps it, and no answer tells whether it came.
func (c *Client) Signal(to string, data json.RawMessage) error {
	if len(data) > frame.MaxSignal {
		return im.Errorf(im.TooLarge, "the data of a signal has %d bytes; %d are the most", len(data), frame.MaxSignal)
	}
	return c.pass(frame.FromClient{Type: frame.Signal, Draft: im.Draft{To: to}, Data: data})
}

func (c *Client) pass(f frame.FromClient) error {
	b, err := im.JSON(f)
	if err != nil {
		return im.Wrap(im.Invalid, err, "the data of a signal is JSON")
	}
	const most = 16
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.live {
		return im.Errorf(im.Unavailable, "not connected now")
	}
	if len(c.out.passing) == most {
		return im.Errorf(im.Overloaded, "too many signals at once")
	}
	c.out.passing = append(c.out.passing, b)
	wake(c.wakeWrite)
	return nil
}

// An outbox holds the messages on their way, in the order of sending.
type outbox struct {
	list    []*Sending
	byID    map[string]*Sending // nil while a message is being kept by the Store
	pause   time.Time           // no message is written before
	window  int                 // how many may be written and not answered; 0 is all
	careful bool                // the window stays at one, to find which message the server cannot bear
	token   []byte              // a token frame to be written first
	passing [][]byte            // frames that are lost with the connection
	closed  error
}

// resume adds what the Store had.
func (o *outbox) resume(kept []Unsettled) error {
	for _, u := range kept {
		b, err := encodeSend(u.Draft)
		if err != nil {
			return err
		}
		if o.reserve(u.Draft.ClientID) {
			o.add(&Sending{draft: u.Draft, frame: b, after: u.After, resumed: true, tried: true, done: make(chan struct{})})
		}
	}
	return nil
}

func (o *outbox) reserve(id string) bool {
	if o.byID == nil {
		o.byID = make(map[string]*Sending)
	}
	if _, ok := o.byID[id]; ok {
		return false
	}
	o.byID[id] = nil
	return true
}

func (o *outbox) add(s *Sending) {
	o.byID[s.draft.ClientID] = s
	o.list = append(o.list, s)
}

// remove returns the message with an id, which is no longer on its way, or nil.
func (o *outbox) remove(id string) *Sending {
	s := o.byID[id]
	if s == nil {
		return nil
	}
	delete(o.byID, id)
	o.list = slices.DeleteFunc(o.list, func(t *Sending) bool { return t == s })
	if o.window > 0 && !o.careful {
		o.window++ // doubles with each round of answers, as TCP's slow start
	}
	if len(o.list) == 0 {
		o.window, o.careful = 0, false
	}
	return s
}

// triedAfter returns the seq after which all messages that were written before
// stand in the inbox, if they were accepted; math.MaxInt64 if there are none.
func (o *outbox) triedAfter() int64 {
	after := int64(math.MaxInt64)
	for _, s := range o.list {
		if s.tried {
			after = min(after, s.after)
		}
	}
	return after
}

// next returns the frame to be written now, or nil and when to look again. late
// says that the server has owed an answer for too long.
func (o *outbox) next(now time.Time) (b []byte, wait time.Duration, late bool) {
	if b = o.token; b != nil {
		o.token = nil
		return b, 0, false
	}
	if len(o.passing) > 0 {
		b, o.passing = o.passing[0], o.passing[1:]
		return b, 0, false
	}
	wait = time.Hour
	written := 0
	var first *Sending // of those not written
	for _, s := range o.list {
		if s.written.IsZero() {
			if first == nil {
				first = s
			}
			continue
		}
		written++
		wait = min(wait, s.written.Add(ackTimeout).Sub(now))
	}
	if wait <= 0 {
		return nil, 0, true
	}
	if first == nil || o.window > 0 && written >= o.window {
		return nil, wait, false
	}
	if left := o.pause.Sub(now); left > 0 {
		return nil, min(wait, left), false
	}
	first.written, first.tried = now, true
	return first.frame, 0, false
}

// lost takes back what was written on a connection that has ended. If it was
// closed because a frame was too big, and only one message can have been meant,
// that one is returned: sent again and again it would keep all others from passing.
func (o *outbox) lost(tooBig bool) (culprit *Sending) {
	o.token, o.passing = nil, nil
	written := 0
	for _, s := range o.list {
		if !s.written.IsZero() {
			written++
			culprit = s
			s.written = time.Time{}
		}
	}
	if !tooBig || written != 1 {
		culprit = nil
	}
	if tooBig {
		o.window, o.careful = 1, true
	}
	return culprit
}

// accepted settles the message with a client id, if it is on its way.
func (c *Client) accepted(r Receipt) { c.settle(r.ClientID, r, nil) }

// maxWait is how long the client waits by itself before it sends again what the
// server cannot take: a slow group may ask for more, which is for people to
// decide on.
const maxWait = 30 * time.Second

// refused settles a message, or puts it back if it may be accepted soon.
func (c *Client) refused(f frame.FromServer) {
	wait := time.Duration(f.RetryAfterMS) * time.Millisecond
	if !f.Kind.Transient() || wait > maxWait {
		c.settle(f.ID, Receipt{}, &im.Error{Kind: f.Kind, Msg: f.Detail, RetryAfter: wait})
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.out.byID[f.ID]
	if s == nil {
		return
	}
	s.written = time.Time{}
	wait = max(wait, (&backoff{n: s.tries}).next())
	s.tries++
	c.out.window = 1
	if until := time.Now().Add(wait); until.After(c.out.pause) {
		c.out.pause = until
	}
	c.log.Info("a message was not taken now", "kind", f.Kind, "wait", wait)
	wake(c.wakeWrite)
}

// settle ends a sending for good.
func (c *Client) settle(clientID string, r Receipt, err error) {
	c.mu.Lock()
	s := c.out.remove(clientID)
	c.mu.Unlock()
	c.settled(s, r, err)
}

// settled forgets a sending that is no longer on its way, if there is one, and
// says how it ended.
func (c *Client) settled(s *Sending, r Receipt, err error) {
	if s == nil {
		return
	}
	if serr := c.store.RemoveUnsettled(context.WithoutCancel(c.ctx), s.draft.ClientID); serr != nil {
		c.log.Warn("forgetting a settled message", "err", serr) // it will be sent once more, to no effect
	}
	c.finish(s, r, err)
}

func (c *Client) finish(s *Sending, r Receipt, err error) {
	r.ClientID = s.draft.ClientID
	s.receipt, s.err = r, err
	close(s.done)
	wake(c.wakeWrite)
	if s.unhook != nil {
		s.unhook()
	}
	if s.resumed {
		c.emit(Resent{Draft: s.draft, Receipt: r, Err: err})
	} else {
		<-c.slots
	}
}

// giveUp ends a sending whose context is done. That it was not sent is said of
// what cannot be sent any more: whether it was is read as it is taken away.
func (c *Client) giveUp(ctx context.Context, s *Sending) {
	c.mu.Lock()
	taken, tried := c.out.remove(s.draft.ClientID), s.tried
	c.mu.Unlock()
	err := fmt.Errorf("not sent: %w", ctx.Err())
	if tried {
		err = fmt.Errorf("not answered, it may have been accepted: %w", ctx.Err())
	}
	c.settled(taken, Receipt{}, err)
}

// giveUpAll ends all sendings of a client that has stopped. They stay in the Store.
func (c *Client) giveUpAll(why error) {
	c.mu.Lock()
	c.out.closed = why
	list := c.out.list
	c.out.list = nil
	clear(c.out.byID)
	c.mu.Unlock()
	for _, s := range list {
		c.finish(s, Receipt{}, why)
	}
}
